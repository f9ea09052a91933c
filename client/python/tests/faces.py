"""Both faces behind the same calls, so that a test is written once: the asyncio one runs on a loop in a thread, and its calls are waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from typing import Any, Callable, Optional

import metaq
from metaq import aio


class Loop:
    """An event loop of a program that uses metaq.aio."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work: Awaitable[Any], timeout: Optional[float] = 60) -> Any:
        async def wait() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(timeout)

    def make(self, what: Callable[[], Any]) -> Any:
        async def make() -> Any:
            return what()

        return self.run(make())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class AsyncioDelivery:
    def __init__(self, face: AsyncioFace, delivery: aio.Delivery) -> None:
        self._face, self._delivery = face, delivery

    def done(self) -> bool:
        return self._delivery.done()

    def result(self) -> metaq.Receipt:
        return self._face.loop.run(self._delivery)  # type: ignore[no-any-return]

    def exception(self) -> Optional[BaseException]:
        try:
            self.result()
        except metaq.MetaQError as err:
            return err
        return None

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        self._face.loop.make(lambda: self._delivery.add_done_callback(fn))


class AsyncioWrapped:
    """Waits for what a method returns, if it is to be waited for."""

    def __init__(self, face: AsyncioFace, inner: Any) -> None:
        self._face, self._inner = face, inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(method):
            return lambda *a, **k: self._face.loop.make(lambda: method(*a, **k))

        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._face.loop.run(method(*args, **kwargs))
            return AsyncioDelivery(self._face, result) if isinstance(result, aio.Delivery) else result

        return call

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                yield self._face.loop.run(self._inner.__anext__())
            except StopAsyncIteration:
                return

    def __enter__(self) -> AsyncioWrapped:
        return self

    def __exit__(self, *error: object) -> None:
        self._face.loop.run(self._inner.close())


class AsyncioFace:
    name = "asyncio"

    def __init__(self) -> None:
        self.loop = Loop()

    def producer(self, *args: Any, **kwargs: Any) -> Any:
        return AsyncioWrapped(self, self.loop.make(lambda: aio.Producer(*args, **kwargs)))

    def consumer(self, *args: Any, **kwargs: Any) -> Any:
        return AsyncioWrapped(self, self.loop.make(lambda: aio.Consumer(*args, **kwargs)))

    def connection(self, *args: Any, **kwargs: Any) -> Any:
        return AsyncioWrapped(self, self.loop.make(lambda: aio.Connection(*args, **kwargs)))

    def close(self) -> None:
        self.loop.close()


class BlockingFace:
    name = "blocking"

    def producer(self, *args: Any, **kwargs: Any) -> Any:
        return metaq.Producer(*args, **kwargs)

    def consumer(self, *args: Any, **kwargs: Any) -> Any:
        return metaq.Consumer(*args, **kwargs)

    def connection(self, *args: Any, **kwargs: Any) -> Any:
        return metaq.Connection(*args, **kwargs)

    def close(self) -> None:
        pass


FACES: dict[str, Callable[[], Any]] = {"blocking": BlockingFace, "asyncio": AsyncioFace}
