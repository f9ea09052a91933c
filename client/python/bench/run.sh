#!/usr/bin/env bash
# `make bench-python`: installs the peers' brokers (test/peers/setup.sh) into ROOT and their Python clients into an environment of its own, and measures.
#   ROOT  where the peers are   ROUNDS, COUNT  rounds and messages   DOC  the page
set -euo pipefail
cd "$(dirname "$0")/../../.."
root=${ROOT:?} doc=${DOC:?}
for peer in kafka nats; do test/peers/setup.sh "$peer" "$root/$peer"; done
tools=$root/python-clients
if [ ! -x "$tools/bin/python" ]; then python3 -m venv "$tools"; fi
"$tools/bin/python" -m pip install -q kafka-python==3.0.12 crc32c==2.9.post0 nats-py==2.16.0
PYTHONPATH=client/python/src "$tools/bin/python" client/python/bench/compare.py --metaq bin/metaq --peers test/peers --root "$root" --doc "$doc" \
	--rounds "${ROUNDS:-5}" --count "${COUNT:-200000}"
