"""Does with the Python client what a test tells it, as the Agent in Java does with the Java client: a command a line on standard input, an answer or an event a
line on standard output, all JSON. Commands run side by side. It ends with its input, so that nothing is left of a test that died.

The argument is the face that it uses, `blocking` or `asyncio`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Optional, Protocol, Union

import metaq
from metaq import aio
from metaq.offsetfile import FileOffsets

log = logging.getLogger("agent")

COMMIT_EVERY = 0.3

Fields = dict[str, Any]


class Output:
    """Writes answers and events, a JSON object a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, fields: Fields) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()

    def received(self, consumer: str, m: metaq.Message, failed: bool) -> None:
        """Tells of a message that a handler was given."""
        data = base64.b64encode(m.body).decode()
        message = {"topic": m.topic, "id": m.id, "partition": str(m.partition), "attribute": m.attribute, "data": data}
        self.write({"consumer": consumer, "failed": failed, "message": message})


class HandlerError(Exception):
    """The test wants a message to fail."""


class Face(Protocol):
    """The blocking face or that of asyncio, as the commands use them."""

    def produce(self, address: str) -> Any: ...

    def send(self, producer: Any, topic: str, body: bytes, attribute: str) -> metaq.Receipt: ...

    def consume(self, handler: Handler, *args: Any, **options: Any) -> Any: ...

    def close(self, what: Any) -> None: ...


@dataclass
class Handler:
    """Tells of each message it is given, and fails for those with one text."""

    consumer: str
    failing: Optional[str]
    pause: float  # seconds that a message takes
    output: Output

    def __call__(self, m: metaq.Message) -> None:
        fails = self.failing is not None and m.body == self.failing.encode()
        self.output.received(self.consumer, m, fails)
        if fails:
            raise HandlerError("the test wants this message to fail")


class BlockingFace:
    """`metaq`: a consumer runs its handler in a thread."""

    def __init__(self) -> None:
        self._running: dict[int, threading.Thread] = {}

    def produce(self, address: str) -> metaq.Producer:
        return metaq.Producer(address)

    def send(self, producer: metaq.Producer, topic: str, body: bytes, attribute: str) -> metaq.Receipt:
        return producer.send(topic, body, attribute=attribute)

    def consume(self, handler: Handler, *args: Any, **options: Any) -> metaq.Consumer:
        def handle(m: metaq.Message) -> None:
            handler(m)
            time.sleep(handler.pause)

        consumer = metaq.Consumer(*args, **options)
        thread = threading.Thread(target=consumer.run, args=(handle,))
        thread.start()
        self._running[id(consumer)] = thread
        return consumer

    def close(self, what: Union[metaq.Producer, metaq.Consumer]) -> None:
        what.close()
        thread = self._running.pop(id(what), None)
        if thread is not None:
            thread.join()


class AsyncioFace:
    """`metaq.aio`: everything on one loop, a consumer is iterated over."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._running: dict[int, asyncio.Task[None]] = {}
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def produce(self, address: str) -> aio.Producer:
        async def make() -> aio.Producer:
            return aio.Producer(address)

        made: aio.Producer = self._do(make())
        return made

    def send(self, producer: aio.Producer, topic: str, body: bytes, attribute: str) -> metaq.Receipt:
        receipt: metaq.Receipt = self._do(producer.send(topic, body, attribute=attribute))
        return receipt

    def consume(self, handler: Handler, *args: Any, **options: Any) -> aio.Consumer:
        async def iterate(consumer: aio.Consumer) -> None:
            async for m in consumer:
                handler(m)
                await asyncio.sleep(handler.pause)

        async def make() -> aio.Consumer:
            consumer = aio.Consumer(*args, **options)
            self._running[id(consumer)] = asyncio.ensure_future(iterate(consumer))
            return consumer

        made: aio.Consumer = self._do(make())
        return made

    def close(self, what: Union[aio.Producer, aio.Consumer]) -> None:
        async def end() -> None:
            await what.close()
            task = self._running.pop(id(what), None)
            if task is not None:
                await task

        self._do(end())


class Commands:
    """The commands. What they make has a name, by which later commands find it."""

    def __init__(self, face: Face, output: Output) -> None:
        self._face = face
        self._output = output
        self._named: dict[str, Any] = {}
        self._stores: dict[int, Optional[FileOffsets]] = {}  # of offsets, by the consumer

    def run(self, r: Fields) -> None:
        """Runs a command and answers it. What the client raises is the answer."""
        try:
            answer = getattr(self, "do_" + r["verb"])(r)
        except Exception as e:
            log.exception("%s", r["verb"])
            answer = {"error": repr(e)}
        self._output.write({**answer, "number": r["number"]})

    def do_host(self, r: Fields) -> Fields:
        """The client does not ask which machine it is on."""
        return {}

    def do_open(self, r: Fields) -> Fields:
        """Remembers where the cluster is: there is no session factory."""
        self._named[r["name"]] = "zk://" + r["zookeeper"]
        return {}

    def do_produce(self, r: Fields) -> Fields:
        self._named[r["name"]] = self._face.produce(self._named[r["factory"]])
        return {}

    def do_publish(self, r: Fields) -> Fields:
        """A topic is known when it is sent to."""
        return {}

    def do_send(self, r: Fields) -> Fields:
        receipt = self._face.send(self._named[r["producer"]], r["topic"], base64.b64decode(r["data"]), r.get("attribute", ""))
        return {"success": True, "partition": str(receipt.partition), "offset": receipt.offset, "id": receipt.id}

    def do_subscribe(self, r: Fields) -> Fields:
        options: Fields = {"consumer_id": r["consumer"].replace(" ", "-"), "fetch_size": r["maxSize"], "commit_every": COMMIT_EVERY}
        if r.get("hash"):
            options["assignment"] = "hash"
        if r.get("newest"):
            options["start"] = "latest"
        if r["offsets"] != "zookeeper":
            options.update(broadcast=r["offsets"] == "broadcast", offsets=FileOffsets(r["folder"]))
        handler = Handler(r["name"], r.get("failOn"), r.get("pause", 0) / 1000, self._output)
        consumer = self._face.consume(handler, self._named[r["factory"]], r["group"], r["topics"], **options)
        self._named[r["name"]] = consumer
        self._stores[id(consumer)] = options.get("offsets")
        return {}

    def do_close(self, r: Fields) -> Fields:
        what = self._named.pop(r["name"])
        if not isinstance(what, str):
            self._face.close(what)
        store = self._stores.pop(id(what), None)
        if store is not None:
            store.close()
        return {}


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    face: Face = AsyncioFace() if sys.argv[1] == "asyncio" else BlockingFace()
    commands = Commands(face, Output())
    for line in sys.stdin:
        threading.Thread(target=commands.run, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


main()
