#!/usr/bin/env bash
# A cluster to try things on: a ZooKeeper and two brokers on loopback, with all their data below one directory.
#
#   scripts/cluster.sh [DIRECTORY]      metaq-cluster when nothing is given; METAQ names another binary than bin/metaq
#
# ZK_PORT (2181) and PORT (8123) choose other ports; the second broker has the next one after PORT, and HTTP is at PORT-3 and PORT+7. TOPICS
# (greetings) names the topics, each of which has two partitions on each broker. A broker that ends is started again after 5 seconds, so that it
# may be killed. Ctrl-C stops everything in order; what is stored stays for the next start.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-metaq-cluster}
metaq=${METAQ:-bin/metaq}
zk_port=${ZK_PORT:-2181}
port=${PORT:-8123}
topics=${TOPICS:-greetings}
topic=${topics%% *} # the first one, to try things with
jar=/usr/share/java/zookeeper.jar
zk=127.0.0.1:$zk_port
patience=60 # seconds until something has to be up

fail() {
	echo "cluster: $*" >&2
	exit 1
}

[ -x "$metaq" ] || fail "no $metaq: run 'make build' first"
[ -e "$jar" ] && command -v java >/dev/null ||
	fail "ZooKeeper is not installed. On Debian and Ubuntu: sudo apt-get install zookeeper default-jre-headless (or sudo scripts/test-setup.sh)"

# open PORT: whether somebody listens there.
open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

http_port() { echo $((port + $1 * 10 - 3)); }
for p in "$zk_port" $((port)) $((port + 1)) "$(http_port 0)" "$(http_port 1)"; do
	if open "$p"; then fail "somebody listens on port $p already: choose others with ZK_PORT=... PORT=..."; fi
done

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Each program is its own process group, so that Ctrl-C comes to this script alone, which stops them in order.
set -m
zookeeper=
brokers=("" "")
pause=
stop() {
	trap '' INT TERM
	[ -z "$pause" ] || kill "$pause" 2>/dev/null || true
	for pid in "${brokers[@]}"; do [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true; done
	for pid in "${brokers[@]}"; do [ -z "$pid" ] || wait "$pid" 2>/dev/null || true; done
	[ -z "$zookeeper" ] || kill -TERM "$zookeeper" 2>/dev/null || true
	[ -z "$zookeeper" ] || wait "$zookeeper" 2>/dev/null || true
}
trap stop EXIT
trap 'echo; echo "stopping"; exit 0' INT TERM

# await WHAT LOG PID COMMAND...: until the command succeeds, as long as the program runs.
await() {
	local what=$1 log=$2 pid=$3 until=$((SECONDS + patience))
	shift 3
	until "$@"; do
		kill -0 "$pid" 2>/dev/null || { tail -5 "$log" >&2; fail "$what has ended; its log is $log"; }
		[ "$SECONDS" -lt "$until" ] || { tail -5 "$log" >&2; fail "$what is not up after $patience s; its log is $log"; }
		sleep 0.1
	done
}

cat >"$dir/zoo.cfg" <<END
tickTime=1000
dataDir=$dir/zookeeper
clientPort=$zk_port
clientPortAddress=127.0.0.1
admin.enableServer=false
END
java -Xmx256m -XX:+UseSerialGC -cp "$jar" org.apache.zookeeper.server.quorum.QuorumPeerMain "$dir/zoo.cfg" >"$dir/zookeeper.log" 2>&1 &
zookeeper=$!
await ZooKeeper "$dir/zookeeper.log" "$zookeeper" open "$zk_port"

# start ID: starts a broker.
start() {
	local id=$1
	cat >"$dir/broker$id.ini" <<END
[system]
brokerId=$id
hostName=127.0.0.1
serverPort=$((port + id))
dashboardHttpPort=$(http_port "$id")
dataPath=$dir/data$id
numPartitions=2

[zookeeper]
zk.zkEnable=true
zk.zkConnect=$zk
zk.zkSessionTimeoutMs=6000
zk.zkSyncTimeMs=500

$(printf '[topic=%s]\n' $topics)
END
	rm -f "$dir/broker$id.ready"
	"$metaq" serve -c "$dir/broker$id.ini" --ready-file "$dir/broker$id.ready" >>"$dir/broker$id.log" 2>&1 &
	brokers[id]=$!
}

for id in 0 1; do
	start "$id"
	await "broker $id" "$dir/broker$id.log" "${brokers[id]}" test -e "$dir/broker$id.ready"
done

registered() { "$metaq" route "$topic" --zk "$zk" -q 2>/dev/null | grep -q "^$1-0 "; }
for id in 0 1; do
	await "the registration of broker $id" "$dir/broker$id.log" "${brokers[id]}" registered "$id"
done

cat <<END

ZooKeeper  $zk
broker 0   127.0.0.1:$port  (pid ${brokers[0]}, http://127.0.0.1:$(http_port 0))
broker 1   127.0.0.1:$((port + 1))  (pid ${brokers[1]}, http://127.0.0.1:$(http_port 1))
data and logs are in $dir

In another terminal:
  $metaq put $topic hello "how are you" --zk $zk
  $metaq get $topic -f --zk $zk
  $metaq route $topic --zk $zk
  $metaq topics --zk $zk
  $metaq groups --zk $zk
  $metaq zk show --zk $zk
  kill -9 ${brokers[1]}  # broker 1 comes back after 5 seconds

Ctrl-C stops it.
END

# rest SECONDS: sleeps, until Ctrl-C.
rest() {
	sleep "$1" &
	pause=$!
	wait "$pause"
	pause=
}

# They are looked at: `wait -n` does not tell of one that ended before it was called.
while rest 0.5; do
	kill -0 "$zookeeper" 2>/dev/null || fail "ZooKeeper has ended; its log is $dir/zookeeper.log"
	for id in 0 1; do
		! kill -0 "${brokers[id]}" 2>/dev/null || continue
		brokers[id]=
		echo "broker $id has ended; it is started again in 5 seconds (its log: $dir/broker$id.log)"
		rest 5
		start "$id"
		echo "broker $id is started again (pid ${brokers[id]})"
	done
done
