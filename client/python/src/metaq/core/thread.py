"""The loop of the blocking face: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

from metaq.errors import ClosedError, TimedOutError

T = TypeVar("T")


class LoopThread:
    """Runs an event loop until it is stopped. The thread does not keep the program alive."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def soon(self, fn: Callable[..., object], *args: object) -> None:
        """Has a function called on the loop; nothing happens when it has ended."""
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def call(self, work: Coroutine[Any, Any, T], timeout: Optional[float] = None) -> T:
        """Has a coroutine run on the loop and waits for what it returns. When the caller is interrupted meanwhile, or the time is over, it is cancelled."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            raise ClosedError() from None
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            raise TimedOutError(f"not done within {timeout:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """Ends the loop and waits for the thread."""
        self.soon(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()


async def made(factory: Callable[[], T]) -> T:
    """Makes something on the loop that belongs there."""
    return factory()
