"""A real ZooKeeper for tests, of Debian's package, which scripts/test-setup.sh installs."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from metaq.zk.session import ZooKeeperError

JAR = Path("/usr/share/java/zookeeper.jar")
TICK = 0.25  # a session gets 2 to 20 of them, in seconds: enough for a busy machine
PATIENCE = 60.0


def eventually(right: Callable[[], object], what: str) -> None:
    """Waits until something that has to be asked for is right. That ZooKeeper does not answer just now is not."""
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ZooKeeperError):
            if right():
                return
        assert time.monotonic() < until, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)


class ZooKeeper:
    """A server on its address and data: it can be killed, stopped for a while, and started again, also empty."""

    root: str

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.servers = f"127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.log = folder / "log"
        self.config = folder / "zoo.cfg"
        self.config.write_text(
            f"tickTime={TICK * 1000:.0f}\ndataDir={self.data}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n"
        )
        self.start()

    def start(self) -> None:
        assert JAR.exists(), f"{JAR} is not there: run scripts/test-setup.sh as root"
        main = ["-cp", str(JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *main], stdout=log, stderr=log)
        eventually(self.answers, "ZooKeeper answers")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(b"ruok")
                return s.recv(4) == b"imok"
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def empty(self) -> None:
        """Takes away everything that a server which does not run knew."""
        shutil.rmtree(self.data)

    def pause(self) -> None:
        """Stops it as it is: it answers nothing, and nothing is refused."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    """One for all tests."""
    server = ZooKeeper(tmp_path_factory.mktemp("zookeeper"))
    yield server
    server.kill()


_roots = itertools.count(1)


@pytest.fixture
def zookeeper(server: ZooKeeper) -> Iterator[ZooKeeper]:
    """It runs, whatever the test before has done to it, and `root` is a path of the test's own."""
    server.root = f"/test{next(_roots)}"
    yield server
    server.resume()
    if server.process.poll() is not None:
        server.start()
