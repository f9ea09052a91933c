# Targets that carry a comment after two hashes are printed by `make help`.

GO         ?= go
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X github.com/metaq/metaq/server.Version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# How long one fuzz target runs, and how often one benchmark.
FUZZTIME   ?= 30s
BENCHCOUNT ?= 1
# Kills of `make kill9`, megabytes of `make ship-logs`, `make ship-logs-cluster` and `make bench-ship`.
KILLS      ?= 200
MEGABYTES  ?= 200

# Where `make cluster` keeps its data, its ports and its topics.
DIR        ?= metaq-cluster
PORT       ?= 8123
ZK_PORT    ?= 2181
TOPICS     ?= greetings

# Packages of `make chaos`; empty: all.
CHAOS      ?=

# What `make bench-peers` measures (test/peers/bench.sh explains each), and where the peers are installed.
MODE       ?= quick
PEERS      ?=
WORKLOADS  ?=
ROUNDS     ?=
COUNT      ?=
PHYS       ?= 1
PLAN       ?=
ROOT       ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/metaq-peers
OUT        ?=
DOC        ?= docs/performance.md

.DEFAULT_GOAL := help
.PHONY: help build run cluster test check vet fmt-check lint race fuzz bench bench-peers report-peers cover chaos kill9 ship-logs ship-logs-cluster bench-python ship-proof bench-ship clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## one static binary at bin/metaq
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/metaq ./tools/metaq

run: build ## start a broker in the foreground, on the defaults
	./bin/metaq serve

cluster: build ## a ZooKeeper and two brokers on loopback, data below metaq-cluster; DIR, PORT, ZK_PORT, TOPICS choose others
	@PORT='$(PORT)' ZK_PORT='$(ZK_PORT)' TOPICS='$(TOPICS)' ./scripts/cluster.sh $(DIR)

test: check ## format, vet, lint and all tests
	./scripts/test-setup.sh
	$(GO) test ./...
	cd test/peers && $(GO) test ./...
	cd test/sql && $(GO) test ./...

check: fmt-check vet lint

fmt-check:
	@files="$$(gofmt -l .)"; if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...
	cd test/peers && $(GO) vet ./...
	cd test/sql && $(GO) vet ./...
	GOOS=darwin $(GO) build ./client ./client/offsetfile ./client/offsetsql ./protocol ./tools/metaq
	GOOS=windows $(GO) build ./client ./client/offsetfile ./client/offsetsql ./protocol ./tools/metaq

lint: ## staticcheck, at the version this file names
	$(GO) run $(STATICCHECK) ./...
	cd test/peers && $(GO) run $(STATICCHECK) ./...
	cd test/sql && $(GO) run $(STATICCHECK) ./...

race: ## all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$target in $$(dirname "$$file")"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
		done; \
	done

bench: ## the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) ./...

bench-peers: build ## docs/performance.md: ours beside other brokers; MODE=quick (40 min) or full, PEERS, WORKLOADS, ROUNDS; PLAN=1 estimates
	@ROOT='$(ROOT)' MODE='$(MODE)' PEERS='$(PEERS)' WORKLOADS='$(WORKLOADS)' ROUNDS='$(ROUNDS)' PHYS='$(PHYS)' PLAN='$(PLAN)' OUT='$(OUT)' DOC='$(DOC)' \
		./test/peers/bench.sh

bench-python: build ## docs/performance.d/python.md: the Python client beside kafka-python and nats-py; ROUNDS (5), COUNT (200000)
	@ROOT='$(ROOT)' ROUNDS='$(ROUNDS)' COUNT='$(COUNT)' DOC=docs/performance.d/python.md ./client/python/bench/run.sh

report-peers: ## render DOC (docs/performance.md) again from OUT, result files separated by commas
	cd test/peers && CGO_ENABLED=0 $(GO) build -o ../../bin/ ./driver
	./bin/driver report --in '$(OUT)' --doc '$(DOC)' --tried docs/performance.d $(if $(wildcard $(ROOT)/phys.json),--phys '$(ROOT)/phys.json')

cover: ## test coverage, by function and as cover.html
	$(GO) test -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -1
	$(GO) tool cover -html=cover.out -o cover.html

chaos: ## the long form of the tests of faults (most of an hour); writes the table of docs/reliability.md
	./scripts/chaos.sh $(CHAOS)

kill9: ## kill -9 the broker KILLS (200) times under load, and count what is lost
	$(GO) test -count=1 -v -timeout 60m -run TestKill9 ./test/crash -kills $(KILLS)

ship-logs: build ## ship MEGABYTES (200) of this machine's log lines through a broker that is killed on the way
	./scripts/ship-real-logs.sh $(MEGABYTES)

ship-logs-cluster: build ## the same into a cluster of two brokers, one of which is killed, and out of it by a group in Go
	./scripts/ship-real-logs-cluster.sh $(MEGABYTES)

ship-proof: ## 10 minutes of rotation with kill -9 of the shipper every second and of the broker every 20 s; no line may be lost
	METAQ_CHAOS=long $(GO) test -count=1 -v -timeout 20m -run TestShip_LosesNothing ./test/shipper

bench-ship: build ## MEGABYTES (200) of lines through `metaq ship` and `metaq put --file`, in turns, ROUNDS (5) times each
	MEGABYTES='$(MEGABYTES)' ROUNDS='$(or $(ROUNDS),5)' ./scripts/bench-ship.sh

clean: ## remove what was built
	rm -rf bin cover.out cover.html
	$(GO) clean -testcache
