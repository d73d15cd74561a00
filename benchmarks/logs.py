"""Event logs, topics, presence and stop: how long news take from process to process, and what they cost.

Benchmarks mislead when they compare machines: a bare publisher of the same store, and Litestar's channels, run in the
same rounds on the same servers. Figures are of this machine; the ratios travel better.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastapi_poto.stores import store_from_url
from fastapi_poto.stores.log import Entry
from fastapi_poto.streaming.tails import NOW, Tails

SECRET = os.environ.get("BENCH_SECRET", "bench-" + "x1Y2z3" * 8)
MESSAGES = 400
RATE = 100.0
SUBSCRIBERS = 1_000
STREAMS, TOKENS = 100, 30


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


# The process that listens: started by this one, it prints what it measured as one line of JSON.


async def listener(url: str, keys: list[str], count: int) -> None:
    """Follow logs and say how late each event was."""
    store = store_from_url(url)
    tails = Tails(store.log)
    late: list[float] = []
    busy: list[float] = []

    async def follow(key: str) -> None:
        reader = tails.reader(key)
        await reader.begin(NOW)
        busy.append(0)
        if len(busy) == len(keys):
            print("ready", flush=True)
        got = 0
        while got < count:
            step = await reader.step()
            now = time.time()
            for _, event in step.events:
                late.append(1000 * (now - float(event.split()[0])))
                got += 1
        reader.close()

    cpu = time.process_time()
    began = time.monotonic()
    await asyncio.gather(*map(follow, keys))
    spent = (time.process_time() - cpu) / (time.monotonic() - began)
    print(json.dumps({"late": late, "cpu": spent}), flush=True)
    await tails.close()
    await store.close()


async def start_listener(url: str, keys: list[str], count: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.logs", "--listen", url, "--keys", json.dumps(keys), "--count", str(count),
        stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    return process


async def result_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(await process.stdout.readline())
    await process.wait()
    return found


async def delivery(url: str, name: str) -> None:
    """100 messages a second to a subscriber in another process."""
    key = f"bench:{time.time_ns()}"
    process = await start_listener(url, [key], MESSAGES)
    store = store_from_url(url)
    tails = Tails(store.log)
    took: list[float] = []
    begin = time.monotonic()
    for number in range(MESSAGES):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        before = time.monotonic()
        await tails.append(Entry(key=key, events=[b"%f %d" % (time.time(), number)]))
        took.append(1000 * (time.monotonic() - before))
    found = await result_of(process)
    late = found["late"]
    print(
        f"  {name:<12} delivery p50 {percentile(late, 0.5):6.2f} ms, p99 {percentile(late, 0.99):6.2f} ms;"
        f" append p50 {percentile(took, 0.5):5.2f} ms; reader's CPU {100 * found['cpu']:4.1f} %"
    )
    await tails.close()
    await store.close()


async def tokens(url: str, name: str) -> None:
    """100 streams of 30 tokens a second followed from another process, beside another user's session writes."""
    keys = [f"bench:{time.time_ns()}:{number}" for number in range(STREAMS)]
    seconds = 4
    process = await start_listener(url, keys, TOKENS * seconds)
    store = store_from_url(url)
    tails = Tails(store.log)
    other = store_from_url(url)
    writes: list[float] = []
    done = asyncio.Event()

    async def session() -> None:
        number = 0
        while not done.is_set():
            before = time.monotonic()
            await other.write("session:bench", {f"k{number % 20}": b"x" * 50}, create=True)
            writes.append(1000 * (time.monotonic() - before))
            number += 1
            await asyncio.sleep(0.005)

    async def stream(key: str, shift: float) -> None:
        begin = time.monotonic() + shift
        for number in range(TOKENS * seconds):
            await asyncio.sleep(max(0.0, begin + number / TOKENS - time.monotonic()))
            await tails.append(Entry(key=key, events=[b"%f %d" % (time.time(), number)]))

    writing = asyncio.create_task(session())
    await asyncio.gather(*(stream(key, number / STREAMS / TOKENS) for number, key in enumerate(keys)))
    done.set()
    await writing
    found = await result_of(process)
    late = found["late"]
    print(
        f"  {name:<12} delivery p50 {percentile(late, 0.5):6.2f} ms, p99 {percentile(late, 0.99):6.2f} ms;"
        f" session write beside it p50 {percentile(writes, 0.5):5.2f} ms, p99 {percentile(writes, 0.99):6.2f} ms"
    )
    for one in (store, other):
        await one.close()
    await tails.close()


async def fan_out(url: str, name: str) -> None:
    """One writer to 1,000 readers of one log in this process."""
    store = store_from_url(url)
    tails = Tails(store.log)
    key = f"bench:{time.time_ns()}"
    count = 500

    async def follow() -> None:
        reader = tails.reader(key)
        await reader.begin(NOW)
        got = 0
        while got < count:
            got += len((await reader.step()).events)
        reader.close()

    readers = [asyncio.create_task(follow()) for _ in range(SUBSCRIBERS)]
    await asyncio.sleep(0.5)
    began = time.monotonic()
    for first in range(0, count, 50):
        await asyncio.gather(*(tails.append(Entry(key=key, events=[b"x" * 100])) for _ in range(first, first + 50)))
    await asyncio.gather(*readers)
    spent = time.monotonic() - began
    print(f"  {name:<12} {count * SUBSCRIBERS / spent:12,.0f} deliveries/s")
    await tails.close()
    await store.close()


async def idle(url: str, name: str) -> None:
    """5,000 idle subscribers, each of a log of its own."""
    import psutil

    store = store_from_url(url)
    tails = Tails(store.log)
    process = psutil.Process()
    before = process.memory_info().rss
    readers = [tails.reader(f"bench:{time.time_ns()}:{number}") for number in range(5_000)]
    began = time.monotonic()
    await asyncio.gather(*(reader.begin(NOW) for reader in readers))
    opened = time.monotonic() - began
    waiting = [asyncio.create_task(reader.step()) for reader in readers]
    await asyncio.sleep(1)
    size = (process.memory_info().rss - before) / len(readers) / 1024
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(6)
    used = (time.process_time() - cpu) / (time.monotonic() - began)
    print(f"  {name:<12} opened in {opened:4.1f} s, {size:5.1f} KiB each, {100 * used:4.1f} % CPU")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await tails.close()
    await store.close()


async def served(url: str, name: str) -> None:
    """Over HTTP: 1,000 subscribers of one topic, idle ones of 2,000 topics, and a stop through another server."""
    import httpx
    import psutil

    from fastapi_poto import Poto
    from tests.processes import serve_processes
    from tests.push.apps import Notice, inbox
    from tests.secret import SECRET as APP_SECRET

    limits = dict.fromkeys(("subscriptions_per_user", "subscriptions_per_address", "streams_per_user"))
    env = {"TEST_STORE": url, "TEST_OPTIONS": json.dumps(limits | {"streams_per_address": None})}
    with serve_processes("tests.push.apps:make_stored_app", 2, factory=True, env=env) as (one, other):
        pair = httpx.post(f"{one.url}/auth/visitor").json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        process = psutil.Process(one.pid)

        async def subscribe(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(one.url.rpartition(":")[2]))
            lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{key}: {value}" for key, value in headers.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await reader.readuntil(b"event: open")
            return reader, writer

        async def subscribe_all(paths: list[str]) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
            opened = []
            for first in range(0, len(paths), 100):
                opened += await asyncio.gather(*map(subscribe, paths[first : first + 100]))
            return opened

        async def take(reader: asyncio.StreamReader, count: int) -> None:
            for _ in range(count):
                await reader.readuntil(b"data: ")

        poto, count = Poto(APP_SECRET, store=url), 50
        listening = await subscribe_all(["/Push/notices"] * SUBSCRIBERS)
        began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
        taking = [asyncio.create_task(take(reader, count)) for reader, _ in listening]
        for _ in range(count):
            await poto.publish(inbox(user=pair["user_id"]), Notice(text="x" * 100))
        await asyncio.gather(*taking)
        rate = count * SUBSCRIBERS / (time.monotonic() - began)
        each = 1e6 * (sum(process.cpu_times()[:2]) - cpu) / count / SUBSCRIBERS
        for _, writer in listening:
            writer.close()
        await subscribe_all(["/Push/all?name=warm"] * 50)
        before = process.memory_info().rss
        waiting = await subscribe_all([f"/Push/all?name={number}" for number in range(2_000)])
        size = (process.memory_info().rss - before) / len(waiting) / 1024
        await asyncio.sleep(2)
        began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
        await asyncio.sleep(5)
        used = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        stops: list[float] = []
        async with httpx.AsyncClient(headers=headers) as client:
            for number in range(40):
                async with client.stream("GET", f"{one.url}/Work/count?tag={number}") as stream:
                    chunks = stream.aiter_bytes()
                    await anext(chunks)
                    await asyncio.sleep(0.1)
                    began = time.monotonic()
                    stop = asyncio.create_task(client.delete(other.url + stream.headers["content-location"]))
                    async for chunk in chunks:
                        if b"event: close" in chunk:
                            stops.append(1000 * (time.monotonic() - began))
                    await stop
        await poto.close()
        for _, writer in waiting:
            writer.close()
    print(
        f"  {name:<12} {rate:8,.0f} deliveries/s, {each:.0f} us of the server's CPU each; idle: {size:.1f} KiB each,"
        f" {100 * used:.1f} % CPU; stopped from elsewhere p50 {percentile(stops, 0.5):.1f} ms,"
        f" p99 {percentile(stops, 0.99):.1f} ms"
    )


async def litestar(url: str) -> None:
    """Litestar's channels over Redis, the same 100 messages a second, within one process."""
    from litestar.channels import ChannelsPlugin
    from litestar.channels.backends.redis import RedisChannelsStreamBackend
    from redis.asyncio import Redis

    backend = RedisChannelsStreamBackend(history=100, redis=Redis.from_url(url))
    plugin = ChannelsPlugin(backend=backend, arbitrary_channels_allowed=True)
    late: list[float] = []
    await plugin._on_startup()
    subscriber = await plugin.subscribe(["bench"])

    async def listen() -> None:
        async for event in subscriber.iter_events():
            late.append(1000 * (time.time() - float(event.split()[0])))
            if len(late) == MESSAGES:
                return

    listening = asyncio.create_task(listen())
    begin = time.monotonic()
    for number in range(MESSAGES):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        await plugin.wait_published(b"%f %d" % (time.time(), number), ["bench"])
    await asyncio.wait_for(listening, 10)
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    print(f"  {'Litestar':<12} delivery p50 {p50:6.2f} ms, p99 {p99:6.2f} ms (Redis streams, one process)", flush=True)
    os._exit(0)  # its workers wait for Redis and cannot be cancelled


async def bare(url: str) -> None:
    """PUBLISH and a subscription of redis-py, without history, ids or a promise."""
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    late: list[float] = []
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("bare")

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    late.append(1000 * (time.time() - float(message["data"].split()[0])))
                    if len(late) == MESSAGES:
                        return

        listening = asyncio.create_task(listen())
        begin = time.monotonic()
        for number in range(MESSAGES):
            await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            await client.publish("bare", b"%f %d" % (time.time(), number))
        await asyncio.wait_for(listening, 10)
    await client.aclose()
    print(f"  {'bare Redis':<12} delivery p50 {percentile(late, 0.5):6.2f} ms, p99 {percentile(late, 0.99):6.2f} ms")


def main() -> None:
    from tests.servers import PostgresServer, RedisServer

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(RedisServer(folder / "redis", durable=False))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", durable=True))
        urls = {
            "SQLite": f"sqlite:///{folder}/poto.db",
            "PostgreSQL": f"{postgres.url}?timeout=5",
            "Redis": f"{redis.url}?timeout=5",
        }
        for title, measure in (
            ("publish to deliver, another process, 100 a second", delivery),
            ("100 streams of 30 tokens a second, followed from another process", tokens),
            ("one writer, 1,000 readers of one log", fan_out),
            ("5,000 idle readers of 5,000 logs", idle),
            ("over HTTP: 1,000 subscribers of one topic; 2,000 idle ones; DELETE until the stream has closed", served),
        ):
            print(f"\n{title}", flush=True)
            for name, url in urls.items():  # each in a process of its own, for the sake of its memory
                command = [sys.executable, "-m", "benchmarks.logs", "--measure", measure.__name__]
                subprocess.run([*command, "--url", url, "--name", name], check=True)
            if measure is delivery:
                asyncio.run(bare(redis.url))
                sys.stdout.flush()
                subprocess.run([sys.executable, "-m", "benchmarks.logs", "--litestar", redis.url], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen")
    parser.add_argument("--litestar")
    parser.add_argument("--keys")
    parser.add_argument("--measure", choices=("delivery", "tokens", "fan_out", "idle", "served"))
    parser.add_argument("--url")
    parser.add_argument("--name", default="")
    parser.add_argument("--count", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.listen:
        asyncio.run(listener(chosen.listen, json.loads(chosen.keys), chosen.count))
    elif chosen.measure:
        asyncio.run(globals()[chosen.measure](chosen.url, chosen.name))
    elif chosen.litestar:
        asyncio.run(litestar(chosen.litestar))
    else:
        main()
