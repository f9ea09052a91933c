#!/usr/bin/env bash
# Measures our broker beside its peers, interleaved round by round in one run, and renders docs/performance.md.
# `make bench-peers` calls it; everything is set in the environment:
#   ROOT       folder of the installed peers and of the data (it needs some 15 GB)
#   MODE       quick | full            PEERS      names of setup.sh, +nofl and +linger5 variants; "none": ours alone
#   WORKLOADS  w1,w2,... (all)         ROUNDS     runs of each cell (by mode)
#   OUT        file of results         DOC        document to render ("" for none)
#   PHYS       1: the limits of the machine first       PLAN  1: only print how long it would take
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
mode=${MODE:-quick}
peers=${PEERS-}
if [ -z "$peers" ]; then
	peers=metaq-java,kafka,rocketmq,nats
	[ "$mode" != full ] || peers=metaq-java,metaq-java+nofl,kafka,kafka+linger5,rocketmq,nats
fi
[ "$peers" != none ] || peers=
root=${ROOT:?}
mkdir -p "$root/bin"
root=$(cd "$root" && pwd)
out=${OUT:-$root/results.jsonl}
workloads=${WORKLOADS-}
phys=${PHYS-}
doc=${DOC-}
BENCH_COMMAND="make bench-peers MODE=$mode${PEERS:+ PEERS=$PEERS}${WORKLOADS:+ WORKLOADS=$WORKLOADS}${ROUNDS:+ ROUNDS=$ROUNDS}"
export BENCH_COMMAND
ulimit -n "$(ulimit -Hn)"

(cd "$here" && CGO_ENABLED=0 go build -o "$root/bin/" ./driver ./gnetecho)
ours="$here/ours.sh $project/bin/metaq"
matrix=(--scripts "$here" --root "$root" --peers "$peers" --mode "$mode" --workloads "$workloads" --rounds "${ROUNDS:-0}"
	--gnet "$root/bin/gnetecho" --ours-cmd "$ours" --out "$out")
if [ -n "${PLAN-}" ]; then exec "$root/bin/driver" matrix "${matrix[@]}" --plan; fi

case ,$peers, in *,metaq-java*|*,kafka*|*,rocketmq*) "$project/scripts/bench-setup.sh" ;; esac
installed=" "
for peer in ${peers//,/ }; do
	name=${peer%%+*}
	case $installed in *" $name "*) continue ;; esac
	installed+="$name "
	"$here/setup.sh" "$name" "$root/$name" >&2
done
if [ -n "$phys" ]; then
	rounds=3 seconds=1 mb=512 sweep=0
	[ "$mode" != full ] || { rounds=5 seconds=2 mb=1024 sweep=8; }
	"$root/bin/driver" phys --dir "$root/phys" --rounds $rounds --seconds $seconds --mb $mb --sweep $sweep \
		--gnet "$root/bin/gnetecho" --out "$root/phys.json" >"$root/phys.md"
fi
failed=
"$root/bin/driver" matrix "${matrix[@]}" || failed=1
if [ -n "$doc" ]; then
	report=(--in "$out" --doc "$doc" --tried "$project/docs/performance.d")
	[ ! -f "$root/phys.json" ] || report+=(--phys "$root/phys.json")
	"$root/bin/driver" report "${report[@]}"
	echo "results in $out, rendered into $doc"
fi
[ -z "$failed" ] || { echo "a workload failed, see above" >&2; exit 1; }
