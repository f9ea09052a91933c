#!/usr/bin/env bash
# ours.sh BINARY   run our broker in the foreground, the way the driver's environment asks for:
#   PORT, HTTP_PORT  text protocol, metrics        DATA      folder of the log
#   TOPICS           "name:partitions ..."         SETTINGS  more "key=value", one a line, optional
#   SYNC             os: acknowledged once written, flushed each 1,000 messages of a partition, as the sample
#                    configuration of the original does; fsync: acknowledged once on disk (group commit, our default)
set -euo pipefail
binary=${1:?usage: ours.sh BINARY}
case ${SYNC:?} in
  os) threshold=1000 ;;
  fsync) threshold=0 ;;
  *) echo "ours.sh: SYNC=$SYNC, it is os or fsync" >&2; exit 2 ;;
esac
ulimit -n "$(ulimit -Hn)"
set -- serve --data "${DATA:?}" --port "${PORT:?}" --http-port "${HTTP_PORT:?}" --log-level warn \
  --set hostName=127.0.0.1 --set "unflushThreshold=$threshold"
for topic in ${TOPICS:?}; do set -- "$@" --set "topic.${topic%%:*}.numPartitions=${topic##*:}"; done
while IFS= read -r setting; do [ -z "$setting" ] || set -- "$@" --set "$setting"; done <<<"${SETTINGS-}"
exec "$binary" "$@"
