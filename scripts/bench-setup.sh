#!/usr/bin/env bash
# What `make bench-peers` needs beside Go: a JDK and Maven for the Java brokers. On Debian, missing packages are installed
# with apt-get; elsewhere the script says what is missing. Repeated calls do nothing.
set -euo pipefail

missing=()
command -v java >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "install a JDK (17 or newer) and Maven, or leave the Java brokers out: make bench-peers PEERS=nats" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "missing: ${missing[*]}; run this as root: apt-get install ${missing[*]}" >&2
	exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
