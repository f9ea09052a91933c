"""The connections that all readers of a consumer share."""

from __future__ import annotations

import asyncio
import time

import pytest

from metaq.core import ways
from metaq.core.connection import Connection, connect
from metaq.errors import ClosedError, ConnectionLostError


def test_a_broker_that_cannot_be_reached_is_dialed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    dials: list[float] = []

    async def connect(address: str) -> Connection:
        dials.append(time.monotonic())
        await asyncio.sleep(0.2)  # it says nothing
        raise ConnectionLostError(f"no connection to {address}")

    monkeypatch.setattr(ways, "connect", connect)

    async def main() -> None:
        shared = ways.Ways()
        errors = await asyncio.gather(*(shared.to("broker:8123") for _ in range(100)), return_exceptions=True)
        assert {str(e) for e in errors} == {"no connection to broker:8123"}
        assert len(dials) == 1
        # Each partition comes back after a pause of its own.
        until = time.monotonic() + 1.0

        async def again(after: float) -> None:
            await asyncio.sleep(after)
            while time.monotonic() < until:
                with pytest.raises(ConnectionLostError):
                    await shared.to("broker:8123")
                await asyncio.sleep(0.01)

        await asyncio.gather(*(again(n / 1000) for n in range(100)))
        assert 2 <= len(dials) <= 1 + 1.5 / 0.2
        await shared.close()
        with pytest.raises(ClosedError, match="it is closed"):
            await shared.to("broker:8123")

    asyncio.run(main())


def test_a_connection_that_comes_after_the_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            gone.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        dialing, closed = asyncio.Event(), asyncio.Event()

        async def slow(address: str) -> Connection:
            dialing.set()
            await closed.wait()
            return await connect(address)

        monkeypatch.setattr(ways, "connect", slow)
        shared = ways.Ways()
        asking = asyncio.ensure_future(shared.to(f"{host}:{port}"))
        await dialing.wait()
        await shared.close()
        closed.set()
        with pytest.raises(ClosedError):
            await asking
        await asyncio.wait_for(gone.wait(), 20)
        server.close()

    asyncio.run(main())
