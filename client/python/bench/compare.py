"""Sets the Python client beside kafka-python and nats-py on the same work, and writes the page: `make bench-python`.

compare.py --metaq BINARY --peers SCRIPTS --root FOLDER --doc PAGE [--rounds N] [--count N]

Every round starts the brokers one after the other, on an empty directory, and lets their clients do the work in a process of its own. All brokers acknowledge once
a message is written, and flush as they are shipped; every topic has one partition."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PORT = 22940
# The client, the broker it talks to, and how the page calls it.
CLIENTS = [
    ("metaq", "metaq", "metaq, blocking"),
    ("asyncio", "metaq", "metaq.aio"),
    ("kafka", "kafka", "kafka-python"),
    ("nats", "nats", "nats-py"),
]


@contextmanager
def ours(binary: str, data: Path) -> Iterator[str]:
    ready = data / "ready"
    command = [binary, "serve", "--data", str(data / "log"), "--port", "0", "--http-port", "-1", "--ready-file", str(ready), "--set", "unflushThreshold=1000"]
    with (data / "out").open("wb") as out:
        broker = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while not ready.exists():
            if broker.poll() is not None or time.monotonic() > until:
                sys.exit((data / "out").read_text())
            time.sleep(0.05)
        yield ready.read_text().split("METAQ_BROKER=")[1].split()[0]
    finally:
        broker.terminate()
        broker.wait()


@contextmanager
def peer(name: str, scripts: Path, root: Path, data: Path) -> Iterator[str]:
    env = {**os.environ, "PEER_DATA": str(data), "PEER_PORT": str(PORT), "PEER_SYNC": "os"}
    subprocess.run([scripts / "start.sh", name, root / name], env=env, check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{PORT}"
    finally:
        subprocess.run([scripts / "stop.sh", name, root / name], env=env, check=True)


def measure(given: argparse.Namespace, results: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    for broker in dict.fromkeys(b for _, b, _ in CLIENTS):
        data = Path(tempfile.mkdtemp(prefix="metaq-bench-python-"))
        try:
            running = ours(given.metaq, data) if broker == "metaq" else peer(broker, Path(given.peers), Path(given.root), data)
            with running as address:
                for client in [c for c, b, _ in CLIENTS if b == broker]:
                    for what in ("put", "get"):
                        command = [sys.executable, str(HERE / "work.py"), client, what, address, f"bench-{client}", str(given.count)]
                        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                        if done.returncode != 0:
                            sys.exit(f"{client} {what} fails")
                        took, cpu = (float(w) for w in done.stdout.split())
                        results.setdefault((client, what), []).append((given.count / took, cpu / given.count * 1e6))
                        print(f"{client} {what}: {given.count / took:,.0f} messages/s, {cpu / given.count * 1e6:.1f} us of processor a message", flush=True)
        finally:
            shutil.rmtree(data)


def cell(values: list[float], digits: int = 0) -> str:
    middle, low, high = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    return f"{middle} [{low}-{high}]"


def page(given: argparse.Namespace, results: dict[tuple[str, str], list[tuple[float, float]]], load: tuple[float, float]) -> str:
    lines = [
        "### The Python client",
        "",
        f"Messages of 1 KiB in one partition, {given.count:,} at a time, from one process. `make bench-python` sets up the other brokers (test/peers), does the",
        f"work in {given.rounds} rounds, broker after broker, and writes this page: medians [smallest-largest]. All brokers acknowledge once a message is",
        f"written. CPU is that of the client's process. Python {platform.python_version()}, {os.cpu_count()} processors,",
        f"kafka-python {version('kafka-python')} with crc32c, nats-py {version('nats-py')} with JetStream (puts: `publish_async`, 4,096 under way; gets: an",
        "ordered consumer). Load of the machine before",
        f"{load[0]:.1f}, after {load[1]:.1f}: what other programs ran is in the figures.",
        "",
        "| client | puts/s | us CPU a put | gets/s | us CPU a get |",
        "|---|---:|---:|---:|---:|",
    ]
    for client, _, name in CLIENTS:
        put, get = results[client, "put"], results[client, "get"]
        row = (cell([r for r, _ in put]), cell([c for _, c in put], 1), cell([r for r, _ in get]), cell([c for _, c in get], 1))
        lines.append("| " + " | ".join((name, *row)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--metaq", "--peers", "--root", "--doc"):
        parser.add_argument(name, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200_000)
    given = parser.parse_args()
    results: dict[tuple[str, str], list[tuple[float, float]]] = {}
    before = os.getloadavg()[0]
    for _ in range(given.rounds):
        measure(given, results)
    Path(given.doc).write_text(page(given, results, (before, os.getloadavg()[0])))


main()
