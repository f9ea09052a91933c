#!/usr/bin/env bash
# Throughput of `metaq ship` beside `metaq put --file`: one file of lines of 200 bytes into a broker on this machine, in turns. It prints the table of
# docs/performance.d/shipping.md: medians of the rounds, with the least and the most.
#   MEGABYTES=200 ROUNDS=5 bench-ship.sh
# UNDER is a command that runs broker and tool: on a machine with other work, `UNDER="chrt -r 1"` gives them the processors.
set -euo pipefail
cd "$(dirname "$0")/.."
megabytes=${MEGABYTES:-200} rounds=${ROUNDS:-5}
metaq=$PWD/bin/metaq
dir=$(mktemp -d)
broker=
cleanup() {
	[ -z "$broker" ] || kill "$broker" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

# Lines of a web server, no two of them equal.
awk -v n=$((megabytes * 5000)) 'BEGIN {
	for (i = 0; i < n; i++) {
		s = sprintf("10.%d.%d.%d - - [21/Nov/2026:%02d:%02d:%02d +0000] \"GET /items/%d?page=%d HTTP/1.1\" 200 %d \"-\" \"client/%d\" ", i % 256, i % 199, i % 251, i / 3600 % 24, i / 60 % 60, i % 60, i, i % 97, i * 7 % 100000, i % 31)
		while (length(s) < 199) s = s "."
		print substr(s, 1, 199)
	}
}' >"$dir/lines.log"
size=$(stat -c %s "$dir/lines.log")

# Seconds of processor that a process has used.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"; }

one() { # settings of the broker, then the command
	local settings=$1 began ended before after words
	shift
	rm -rf "$dir/data" "$dir/ready" "$dir/checkpoint"
	# shellcheck disable=SC2086
	${UNDER:-} "$metaq" serve --data "$dir/data" --port 0 --http-port 0 --ready-file "$dir/ready" $settings 2>/dev/null &
	broker=$!
	until [ -s "$dir/ready" ]; do sleep 0.05; done
	METAQ_BROKER=$(sed -n 's/^METAQ_BROKER=//p' "$dir/ready")
	export METAQ_BROKER
	"$metaq" put bench warm -q
	sync
	before=$(cpu "$broker")
	began=$(date +%s.%N)
	TIMEFORMAT='%U %S'
	words=$({ time ${UNDER:-} "$@" >/dev/null 2>&1; } 2>&1)
	ended=$(date +%s.%N)
	after=$(cpu "$broker")
	kill "$broker"
	wait "$broker" || true
	broker=
	awk -v b="$began" -v e="$ended" -v s="$size" -v w="$words" -v x="$before" -v y="$after" 'BEGIN { split(w, t, " "); n = s / 200 / 1e6; printf "%.1f %.2f %.2f\n", s / (e - b) / 1e6, (t[1] + t[2]) / n, (y - x) / n }'
}

for ((r = 1; r <= rounds; r++)); do
	for settings in "" "--set unflushThreshold=1000"; do
		echo "round $r of $rounds, broker ${settings:-on its defaults}" >&2
		echo "ship|$settings $(one "$settings" "$metaq" ship --topic bench --checkpoint "$dir/checkpoint" --once "$dir/lines.log")"
		echo "put|$settings $(one "$settings" "$metaq" put bench --file "$dir/lines.log")"
	done
done | tee "$dir/results" >&2

middle() { sort -n | awk '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; printf "%.4g [%.4g – %.4g]", m, v[1], v[NR] }'; }
echo "| broker | tool | MB/s: median [min – max] | tool's CPU s/M lines | broker's CPU s/M lines |"
echo "|---|---|---:|---:|---:|"
for settings in "" "--set unflushThreshold=1000"; do
	for tool in ship put; do
		key="$tool|$settings "
		column() { awk -v k="$key" -v c="$1" 'index($0, k) == 1 { print $(NF - 3 + c) }' "$dir/results"; }
		name="group commit"
		[ -z "$settings" ] || name="unflushThreshold=1000"
		command="metaq ship"
		[ "$tool" = ship ] || command="metaq put --file"
		echo "| $name | \`$command\` | $(column 1 | middle) | $(column 2 | middle) | $(column 3 | middle) |"
	done
done
