"""The loop of the blocking face: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

from metaq.errors import ClosedError, TimedOutError, UsageError

T = TypeVar("T")

_loops: weakref.WeakSet[LoopThread] = weakref.WeakSet()


class LoopThread:
    """Runs an event loop until it is stopped. The thread does not keep the program alive."""

    def __init__(self, name: str) -> None:
        self.forked = False  # this is a child of the process that has the thread
        self.loop = asyncio.new_event_loop()
        self._ending = False
        self._submitting = threading.RLock()  # after _ending was set, nothing more is submitted
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _loops.add(self)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:  # threads wait for some of them
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def soon(self, fn: Callable[..., object], *args: object) -> None:
        """Has a function called on the loop; nothing happens when it has ended."""
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def check(self) -> None:
        """Refuses what would wait for ever: for a thread that this process does not have, or for the thread that waits."""
        if self.forked:
            raise ClosedError("it was made before os.fork, and its thread is the parent's: make another one in the child")
        if threading.current_thread() is self._thread:
            raise UsageError("a callback of the client must not wait for the client: what it waits for would come after it; let another thread do that")

    def call(self, work: Coroutine[Any, Any, T], timeout: Optional[float] = None) -> T:
        """Has a coroutine run on the loop and waits for what it returns. When the caller is interrupted meanwhile, or the time is over, it is cancelled."""
        return self._wait(self._submit(work, last=False), timeout)

    def end(self, work: Coroutine[Any, Any, T], timeout: Optional[float] = None) -> T:
        """Has a last coroutine run, ends the loop, and waits for the thread. When the time is over first, or the caller is interrupted, the coroutine is
        cancelled and the loop ends after what it does then. Those who still wait for others get ClosedError."""

        async def last() -> T:
            try:
                return await work
            finally:
                self.loop.stop()

        try:
            future = self._submit(last(), last=True)
        except BaseException:
            work.close()
            raise
        try:
            result = self._wait(future, timeout)
        except TimedOutError:
            raise  # and the thread is not waited for any longer
        except BaseException:
            self._thread.join()
            raise
        self._thread.join()
        return result

    @property
    def ending(self) -> bool:
        """Whether there is nothing left to end: `end` or `stop` was called, or the thread is that of the process that has forked this one."""
        return self._ending or self.forked

    def _submit(self, work: Coroutine[Any, Any, T], last: bool) -> concurrent.futures.Future[T]:
        try:
            self.check()
            with self._submitting:
                if self._ending:
                    raise ClosedError()
                self._ending = last
                return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:  # a signal handler has ended it meanwhile
            work.close()
            raise ClosedError() from None
        except BaseException:
            work.close()
            raise

    def _wait(self, future: concurrent.futures.Future[T], timeout: Optional[float]) -> T:
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise ClosedError() from None
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            raise TimedOutError(f"not done within {timeout:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """Ends the loop and waits for the thread."""
        with self._submitting:
            self._ending = True
        self.soon(self.loop.stop)
        self._thread.join()


def _forked() -> None:
    for thread in _loops:
        thread.forked = True
        thread.loop.set_exception_handler(lambda loop, context: None)  # its tasks do not end here, and nobody need be told


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)


async def made(factory: Callable[[], T]) -> T:
    """Makes something on the loop that belongs there."""
    return factory()
