"""Real brokers for the tests: the binary `metaq`, which TEST_METAQ names (test/python sets it), or the one that `make build` makes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from hypothesis import settings

from faces import FACES

# Other programs may keep a machine busy, which is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REPOSITORY = Path(__file__).parents[3]


def eventually(condition: Callable[[], object], what: str, within: float = 20.0) -> None:
    """Waits until something holds."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, f"not within {within:g} s: {what}"
        time.sleep(0.01)


def binary() -> str:
    path = os.environ.get("TEST_METAQ", str(REPOSITORY / "bin" / "metaq"))
    assert Path(path).exists(), f"{path} is missing: run `make build`, or name a binary in TEST_METAQ"
    return path


class Broker:
    """A broker on a port that stays its own."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.settings = settings
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.start()

    def start(self) -> None:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        sets = [a for k, v in self.settings.items() for a in ("--set", f"{k}={v}")]
        command = [binary(), "serve", "--data", str(self.folder / "data"), "--port", str(self.port), "--http-port", "-1", "--ready-file", str(ready), *sets]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        process = self.process
        eventually(lambda: ready.exists() or process.poll() is not None, "the broker is ready")
        assert process.poll() is None, (self.folder / "log").read_text()

    def kill(self) -> None:
        """kill -9"""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """It says nothing any more, and its connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        eventually(lambda: all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks.iterdir()), "all threads of the broker have stopped")

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def run(self, *args: str) -> str:
        """A tool of the binary."""
        return subprocess.run([binary(), *args, "--broker", self.address], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers of a test's own."""
    brokers: list[Broker] = []

    def start(**settings: object) -> Broker:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        broker = Broker(folder, **{"logSegmentSize": "4M", **settings})
        brokers.append(broker)
        return broker

    yield start
    for broker in brokers:
        broker.resume()
        broker.kill()
        shutil.rmtree(broker.folder)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of four partitions a topic for tests that leave it alone. Each test has topics of its own."""
    broker = Broker(tmp_path_factory.mktemp("shared"), numPartitions=4, logSegmentSize="16M")
    yield broker
    broker.kill()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic, and a group, that no other test has."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[:200].strip("-")


def python(*args: str, **more: str) -> subprocess.Popen[str]:
    """Another Python with this package."""
    env = {**os.environ, **more}
    return subprocess.Popen([sys.executable, *args], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(params=list(FACES))
def face(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both faces, one after the other."""
    made = FACES[request.param]()
    yield made
    made.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from played import Played  # which asks this module for what it needs itself

    played = Played()
    zk = types.ModuleType("metaq.zk")
    zk.open_cluster = played.open  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "metaq.zk", zk)
    yield played
    assert played.closed
