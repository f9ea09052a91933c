"""Calls that may block."""

from __future__ import annotations

import asyncio
from typing import Callable, TypeVar

T = TypeVar("T")


async def in_thread(fn: Callable[..., T], *args: object) -> T:
    """Calls a function that may block in a worker thread."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(None, fn, *args)
    except RuntimeError as err:
        if "shutdown" not in str(err):
            raise
        return fn(*args)  # the interpreter is ending and gives no threads any more; nothing else waits then
