"""The work of one client: stores COUNT messages of 1 KiB, pipelined from one process, or reads them back. Prints seconds of the clock and of its processor.

work.py CLIENT put|get ADDRESS TOPIC COUNT"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, Callable

BODY = b"x" * 1024


def metaq_put(address: str, topic: str, count: int) -> Callable[[], int]:
    import metaq

    producer = metaq.Producer(address)
    producer.send(topic, BODY)

    def work() -> int:
        deliveries = [producer.send_async(topic, BODY) for _ in range(count - 1)]
        producer.close()
        return 1 + sum(d.exception() is None for d in deliveries)

    return work


def metaq_get(address: str, topic: str, count: int) -> Callable[[], int]:
    import metaq

    def work() -> int:
        read = 0
        with metaq.Consumer(address, "bench", [topic]) as consumer:
            for message in consumer:
                read += len(message.body) == len(BODY)
                if read == count:
                    break
        return read

    return work


def asyncio_put(address: str, topic: str, count: int) -> Callable[[], int]:
    from metaq import aio

    async def put() -> int:
        async with aio.Producer(address) as producer:
            deliveries = [await producer.send_async(topic, BODY) for _ in range(count)]
            await producer.flush()
            return sum(d.exception() is None for d in deliveries)

    return lambda: asyncio.run(put())


def asyncio_get(address: str, topic: str, count: int) -> Callable[[], int]:
    from metaq import aio

    async def get() -> int:
        read = 0
        async with aio.Consumer(address, "bench-asyncio", [topic]) as consumer:
            async for message in consumer:
                read += len(message.body) == len(BODY)
                if read == count:
                    break
        return read

    return lambda: asyncio.run(get())


def kafka_put(address: str, topic: str, count: int) -> Callable[[], int]:
    from kafka import KafkaProducer

    producer: Any = KafkaProducer(bootstrap_servers=address, acks=1, linger_ms=5, batch_size=128 << 10)
    producer.send(topic, BODY).get(60)

    def work() -> int:
        futures = [producer.send(topic, BODY) for _ in range(count - 1)]
        producer.flush()
        return 1 + sum(f.succeeded() for f in futures)

    return work


def kafka_get(address: str, topic: str, count: int) -> Callable[[], int]:
    from kafka import KafkaConsumer

    def work() -> int:
        consumer: Any = KafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest", group_id=None, max_partition_fetch_bytes=1 << 20)
        read = 0
        for message in consumer:
            read += len(message.value) == len(BODY)
            if read == count:
                break
        consumer.close()
        return read

    return work


def nats_put(address: str, topic: str, count: int) -> Callable[[], int]:
    import nats

    async def put() -> int:
        connection: Any = await nats.connect(f"nats://{address}", pending_size=64 << 20)
        stream = connection.jetstream(publish_async_max_pending=4096)
        await stream.add_stream(name=topic, subjects=[topic])
        futures = [await stream.publish_async(topic, BODY, wait_stall=60.0) for _ in range(count)]
        await stream.publish_async_completed()
        stored = sum(f.exception() is None for f in futures)
        await connection.close()
        return stored

    return lambda: asyncio.run(put())


def nats_get(address: str, topic: str, count: int) -> Callable[[], int]:
    import nats

    async def get() -> int:
        connection: Any = await nats.connect(f"nats://{address}")
        subscription = await connection.jetstream().subscribe(topic, ordered_consumer=True, pending_msgs_limit=-1, pending_bytes_limit=-1)
        read = 0
        while read < count:
            message = await subscription.next_msg(60)
            read += len(message.data) == len(BODY)
        await connection.close()
        return read

    return lambda: asyncio.run(get())


def main() -> None:
    client, what, address, topic, count = sys.argv[1:]
    work = globals()[f"{client}_{what}"](address, topic, int(count))
    began, cpu = time.perf_counter(), time.process_time()
    done = work()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if done != int(count):
        sys.exit(f"{client} {what}: {done} of {count} messages")
    print(took, cpu)


main()
