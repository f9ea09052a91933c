#!/bin/sh
# Installs what the tests need of the machine and it does not have yet. It may be run again and again; `make test` does.
set -eu

# A package, and a command or a file that it brings.
need() {
	if [ -e "$2" ] || command -v "$2" >/dev/null 2>&1; then return; fi
	if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
		echo "the tests need $2: install the package $1 (this script does it as root where there is apt-get)" >&2
		exit 1
	fi
	apt-get install -y --no-install-recommends "$1" >/dev/null 2>&1 || { apt-get update >/dev/null && apt-get install -y --no-install-recommends "$1" >/dev/null; }
}

need strace strace # faults of system calls
need iproute2 ip # network name spaces, for cut connections
need zookeeper /usr/share/java/zookeeper.jar
need default-jdk-headless javac # java for it, and to compile what drives the Java client (test/interop)
need maven mvn # fetches that client, and Apache Storm (test/storm)
need python3 python3 # its client (test/python)
ensurepip=$(python3 -c 'import ensurepip; print(ensurepip.__file__)' 2>/dev/null || echo ensurepip)
need python3-venv "$ensurepip"
# Databases that may keep offsets.
postgres=$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -1)
need postgresql "${postgres:-postgres}"
need mariadb-server mariadbd
