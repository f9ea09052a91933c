#!/usr/bin/env bash
# The long form of the tests of faults, one package after the other, and the table of docs/reliability.md from what they report.
#   chaos.sh [PACKAGE...]     METAQ_SEED=N repeats a run
set -uo pipefail
cd "$(dirname "$0")/.."
packages=("$@")
[ $# -gt 0 ] || packages=(./store ./test/crash ./test/damage ./test/retention ./test/disk ./test/slowdisk ./test/faults ./test/many ./test/cluster ./test/partition ./test/hostile ./test/shipper ./test/storm ./test/mutants ./test/soak)
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
failed=()
n=0
for p in "${packages[@]}"; do
	n=$((n + 1))
	began=$SECONDS
	echo "== $n of ${#packages[@]}: $p"
	METAQ_CHAOS=long METAQ_FIGURES=$figures go test -count=1 -timeout 40m "$p" || failed+=("$p")
	echo "== $p took $((SECONDS - began)) s, $((SECONDS / 60)) minutes in all"
done
if [ ${#failed[@]} -gt 0 ]; then
	echo "failed: ${failed[*]}; docs/reliability.md is as it was" >&2
	exit 1
fi
go run ./test/chaos/page "$figures" docs/reliability.md
