#!/usr/bin/env bash
# The main job on real input: ships log files of this machine line by line into a topic of four partitions, kills the
# broker with kill -9 on the way and starts it again, reads everything back as a consumer group, and compares.
#
#   scripts/ship-real-logs.sh [MEGABYTES]      200 when nothing is given; METAQ names another binary than bin/metaq
#
# It prints figures and exits with 0 only when no line is lost, altered or out of order in its partition. The producer
# sends again what the killed broker did not answer: lines may be stored twice there, and are counted.
set -euo pipefail
cd "$(dirname "$0")/.."

megabytes=${1:-200}
metaq=${METAQ:-bin/metaq}
partitions=4
wanted=$((megabytes * 1000 * 1000))

[ -x "$metaq" ] || { echo "no $metaq: run 'make build' first" >&2; exit 2; }

work=$(mktemp -d)
broker=
shipper=
cleanup() {
	for pid in $shipper $broker; do
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
	echo "FAILED: $*" >&2
	tail -5 "$work/broker.log" "$work/put.log" >&2 2>/dev/null || true
	exit 1
}
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.2f", to - from }'; }

scripts/real-logs.sh > "$work/real"
size=$(stat -c %s "$work/real")
[ "$size" -gt 1000 ] || fail "no log files to read in /var/log"
while [ "$(stat -c %s "$work/lines" 2>/dev/null || echo 0)" -lt "$wanted" ]; do
	cat "$work/real" >> "$work/lines"
done
lines=$(wc -l < "$work/lines")
echo "input: $lines lines, $(stat -c %s "$work/lines") bytes: $size bytes of /var/log, repeated"

port=0
http=0
start() {
	rm -f "$work/ready"
	"$metaq" serve --data "$work/data" --set numPartitions=$partitions --port $port --http-port $http \
		--ready-file "$work/ready" 2>> "$work/broker.log" &
	broker=$!
	for _ in $(seq 600); do
		[ -e "$work/ready" ] && break
		kill -0 $broker 2>/dev/null || fail "the broker ended while it started"
		sleep 0.05
	done
	[ -e "$work/ready" ] || fail "the broker was not ready within 30 seconds"
	# shellcheck disable=SC1091
	. "$work/ready"
	export METAQ_BROKER
	port=${METAQ_BROKER##*:}
	http=${HTTP_ADDRESS##*:}
}

# How many lines the topic holds.
stored() { "$metaq" stats logs 2>/dev/null | awk '$1 == "message_count" { print $2 }'; }

start
begin=$(now)
"$metaq" put logs --file "$work/lines" 2> "$work/put.log" &
shipper=$!
half=$((lines / 2))
while have=$(stored) && [ "${have:-0}" -lt $half ]; do
	kill -0 $shipper 2>/dev/null || fail "the producer ended before half of the lines were stored"
	sleep 0.02
done
kill -0 $shipper 2>/dev/null || fail "the kill came too late: everything was stored already"
kill -9 $broker
wait $broker 2>/dev/null || true
broker=
echo "kill -9 with $have lines stored and the producer at work"
restart=$(now)
start
echo "broker back after $(since "$restart") s"
wait $shipper || fail "the producer: $(tail -1 "$work/put.log")"
shipper=
echo "shipped in $(since "$begin") s, the kill included: $(tail -1 "$work/put.log")"

begin=$(now)
files=()
for p in $(seq 0 $((partitions - 1))); do
	"$metaq" get logs --group backup --partition "$p" > "$work/got.$p" 2> "$work/get.log" || fail "get: $(tail -1 "$work/get.log")"
	files+=("$work/got.$p")
done
echo "read back by group backup in $(since "$begin") s"
# The group has read everything: there is nothing left for it.
code=0
"$metaq" get logs --group backup > "$work/more" 2>/dev/null || code=$?
[ $code -eq 3 ] && [ ! -s "$work/more" ] || fail "a second get of the group printed $(stat -c %s "$work/more") bytes and exited with $code"

go run ./test/shiplogs -lines "$work/lines" -kills 1 "${files[@]}" || fail "what was read back is not what was sent"
kill -TERM $broker
wait $broker || fail "the broker did not stop in order"
broker=
