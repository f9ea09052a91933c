#!/usr/bin/env bash
# The main job of a cluster on real input: starts what `make cluster` starts, ships log lines of this machine into both brokers, reads them with a group of two
# consumers in Go, kills one broker with kill -9 on the way, which is started again, and compares.
#
#   scripts/ship-real-logs-cluster.sh [MEGABYTES]      200 when nothing is given; METAQ names another binary than bin/metaq
#
# It prints figures and exits with 0 only when no line is lost, altered or out of order in its partition, and nothing is left for the group. See test/shipcluster.
set -euo pipefail
cd "$(dirname "$0")/.."

megabytes=${1:-200}
metaq=${METAQ:-bin/metaq}
patience=90 # seconds until the cluster is up

[ -x "$metaq" ] || { echo "no $metaq: run 'make build' first" >&2; exit 2; }

work=$(mktemp -d)
cluster=
stop() {
	[ -n "$cluster" ] || return 0
	kill -INT "$cluster" 2>/dev/null || true
	local code=0
	wait "$cluster" || code=$?
	cluster=
	return $code
}
cleanup() {
	stop || true
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
	echo "FAILED: $*" >&2
	tail -5 "$work"/cluster.log "$work"/data/*.log >&2 2>/dev/null || true
	exit 1
}

scripts/real-logs.sh > "$work/lines"
size=$(stat -c %s "$work/lines")
[ "$size" -gt 1000 ] || fail "no log files to read in /var/log"
echo "input: $(wc -l < "$work/lines") lines, $size bytes of /var/log, repeated up to $megabytes MB"

# Ports below those that the kernel gives to connections, which could take one while its broker is away.
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
while port=$((20000 + RANDOM % 10000)) && zk_port=$((port + 20)); do
	taken "$port" || taken $((port + 1)) || taken $((port - 3)) || taken $((port + 7)) || taken "$zk_port" || break
done
set -m # its own process group: Ctrl-C comes to this script, which stops it in order
PORT=$port ZK_PORT=$zk_port TOPICS="logs ordered-logs" METAQ=$metaq scripts/cluster.sh "$work/data" > "$work/cluster.log" 2>&1 &
cluster=$!
set +m
deadline=$((SECONDS + patience))
until grep -q '^Ctrl-C stops it' "$work/cluster.log"; do
	kill -0 "$cluster" 2>/dev/null || fail "the cluster ended while it started"
	[ $SECONDS -lt $deadline ] || fail "the cluster is not up after $patience s"
	sleep 0.1
done
pid=$(sed -n 's/^broker 1 .*(pid \([0-9]*\),.*/\1/p' "$work/cluster.log")

go run ./test/shipcluster -cluster "zk://127.0.0.1:$zk_port" -lines "$work/lines" -megabytes "$megabytes" -broker 1 -pid "$pid" ||
	fail "what the group was given is not what was sent"

# The group has read and committed everything, as the brokers count it.
"$metaq" lag backup --zk "127.0.0.1:$zk_port" > "$work/lag" || fail "lag: $(cat "$work/lag")"
grep -Eq '^total +0 +0 ' "$work/lag" || fail "something is left for the group: $(cat "$work/lag")"
echo "left for the group: 0 lines, as metaq lag counts"
stop || fail "the cluster did not stop in order"
