"""What does HTTP add to `predict`, and does the server hold: 10,000 requests, garbage, bombs, slow senders?

    HEADSTART_TEST_DATA=… python benchmarks/serve.py [--requests 10000] [--seconds 120] [--rounds 300]

A classifier on the embedded backbone, trained here on ants and bees, is served by another process on this machine; a
client of this process asks it by plain sockets. The last processor is the client's; all others are the server's, and
what HTTP is compared with runs on these too while the server waits: clients are on other machines where a server is
used, and take no processor time from it. With `--shared` all of them share all processors.

Latency: one photograph by `Classifier.predict`, then the same by HTTP, in turns. Throughput: the engine's is that of as
many threads as the server has, from bytes to the answer, without HTTP; blocks of both take turns, so that a busy moment
hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

import torch

import headstart as hs
from headstart.classifier.classifier import Classifier
from headstart.serving.served_classifier import ServedClassifier
from machine import hardware
from record import Line, at_least, at_most, show, test_data, write

CLIENTS = 16
GARBAGE = 0.01
_BLOCK = 400  # requests between two blocks of the engine alone: some seconds
_WARM = 200  # requests after which memory is counted: threads and caches are made by then
_CHUNK = bytes(1 << 16)
_ALL = sorted(os.sched_getaffinity(0))  # Linux


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120, help="of load at most")
    parser.add_argument("--rounds", type=int, default=300, help="photographs of the latency: each of 153 twice")
    parser.add_argument("--shared", action="store_true", help="the client has no processor of its own")
    chosen = parser.parse_args()
    cores = set(_ALL if chosen.shared or len(_ALL) == 1 else _ALL[:-1])
    os.sched_setaffinity(0, cores)  # until the load begins, so that engines are measured as the server runs them
    torch.set_num_threads(len(cores))  # torch has counted already
    data = test_data() / "hymenoptera"
    images = [path.read_bytes() for path in sorted((data / "val").glob("*/*"))]
    with tempfile.TemporaryDirectory() as folder:
        run = hs.train(data, out=Path(folder) / "run", backbone="embedded", inside=False, on_event=None)
        classifier = Classifier.load(run.folder)
        with served(run.folder) as (process, port), on(cores) as pool:
            if cores != set(_ALL):
                os.sched_setaffinity(0, {_ALL[-1]})  # this thread, which is the client
            lines = asyncio.run(measured(classifier, images, process=process, port=port, pool=pool, chosen=chosen))
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    goal, verdict = at_most(code, 0)
    lines.append(Line("stop", "exit code after SIGTERM", code, f"{code}", goal, verdict))
    show(lines)
    write("serve", lines, hardware=hardware())


@contextmanager
def served(run: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of the run, and its port."""
    command = [sys.executable, "-m", "headstart", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        found = None
        while found is None:
            line = process.stderr.readline()
            if not line:
                raise RuntimeError(f"the server ended with {process.wait()}")
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()


@contextmanager
def on(cores: set[int]) -> Iterator[ThreadPoolExecutor]:
    """As many threads as the server has, on its processors."""
    with ThreadPoolExecutor(len(cores), initializer=os.sched_setaffinity, initargs=(0, cores)) as pool:
        yield pool


async def measured(
    classifier: Classifier,
    images: Sequence[bytes],
    *,
    process: subprocess.Popen[str],
    port: int,
    pool: ThreadPoolExecutor,
    chosen: argparse.Namespace,
) -> list[Line]:
    """All lines."""
    lines = await latency(classifier, images, process=process, port=port, pool=pool, rounds=chosen.rounds)
    lines += await load(classifier, images, process=process, port=port, pool=pool, chosen=chosen)
    return [*lines, *await attacks(images[0], process, port)]


async def latency(
    classifier: Classifier,
    images: Sequence[bytes],
    *,
    process: subprocess.Popen[str],
    port: int,
    pool: ThreadPoolExecutor,
    rounds: int,
) -> list[Line]:
    """Medians and processor seconds over the same photographs, in turns."""
    walls: dict[str, list[float]] = {"plain": [], "http": []}
    cpu = {"plain": 0.0, "http": 0.0}
    async with connection(port) as (reader, writer):
        for number in range(rounds + 5):
            image = images[number % len(images)]
            for which in ("plain", "http") if number % 2 else ("http", "plain"):
                began, before = time.perf_counter(), processor(process) if which == "http" else time.process_time()
                if which == "plain":
                    pool.submit(classifier.predict, image).result()
                else:
                    status = await post(reader, writer, image)
                    assert status == 200, status
                if number >= 5:  # the first ones make what later ones find
                    walls[which].append(time.perf_counter() - began)
                    cpu[which] += (processor(process) if which == "http" else time.process_time()) - before
    plain, http = (1000 * median(walls[which]) for which in ("plain", "http"))
    ratio, cpu_ratio = http / plain, cpu["http"] / cpu["plain"]
    note = f"{http:.1f} ms against {plain:.1f} ms, {rounds} photographs"
    cpu_note = f"{1000 * cpu['http'] / rounds:.1f} ms against {1000 * cpu['plain'] / rounds:.1f} ms an image"
    return [
        Line("latency", "one client: p50 by HTTP over Classifier.predict", ratio, f"{ratio:.2f} times",
             *at_most(ratio, 1.15), note),
        Line("latency", "the same by processor seconds of the server", cpu_ratio, f"{cpu_ratio:.2f} times",
             note=cpu_note),
    ]  # fmt: skip


async def load(
    classifier: Classifier,
    images: Sequence[bytes],
    *,
    process: subprocess.Popen[str],
    port: int,
    pool: ThreadPoolExecutor,
    chosen: argparse.Namespace,
) -> list[Line]:
    """Requests of 16 clients, one in a hundred garbage, in turns with the engine alone."""
    served = ServedClassifier(classifier, pixels=60_000_000)
    statuses, rates, cpu = Counter[int](), {"http": [], "engine": []}, {"http": [], "engine": []}
    known = set(images)
    queue = [garbage(i) if i % 100 == 50 else images[i % len(images)] for i in range(chosen.requests)]
    await block(queue[:_WARM], port)
    before, began, done = memory(process), time.perf_counter(), 0
    list(pool.map(served.predict, images[:20]))
    while done < len(queue) and time.perf_counter() - began < chosen.seconds:
        part, spent = queue[done : done + _BLOCK], processor(process)
        found, seconds = await block(part, port)
        cpu["http"].append((processor(process) - spent) / len(part))
        statuses += found
        done += len(part)
        rates["http"].append(len(part) / seconds)
        good, start = [image for image in part if image in known][: _BLOCK // 4], time.perf_counter()
        spent = time.process_time()
        list(pool.map(served.predict, good))
        cpu["engine"].append((time.process_time() - spent) / len(good))
        rates["engine"].append(len(good) / (time.perf_counter() - start))
    grown, failed = memory(process) - before, sum(count for status, count in statuses.items() if status >= 500)
    wrong = sum(abs(statuses[s] - expected) for s, expected in ((200, done - done // 100), (422, done // 100)))
    share = median(rates["http"]) / median(rates["engine"])
    http, engine = (1000 * median(cpu[which]) for which in ("http", "engine"))  # ms an image
    place = (
        f"{len(_ALL)} processors, shared"
        if chosen.shared
        else f"{max(len(_ALL) - 1, 1)} for each, another for the client"
    )
    counts = ", ".join(f"{count:,} of {status}" for status, count in sorted(statuses.items()))
    return [
        Line("load", f"{CLIENTS} clients, 1 % garbage: answers 5xx", failed, f"{failed}",
             *at_most(failed, 0), f"{done:,} requests in {chosen.seconds:g} s at most: {counts}"),
        Line("load", "answers of another status than 200 for images, 422 for garbage", wrong, f"{wrong}",
             *at_most(wrong, 0)),
        Line("load", "memory growth of the server, MB", grown, f"{grown:.0f} MB", *at_most(grown, 50, " MB"),
             f"{before:.0f} MB after {_WARM} requests"),
        Line("load", "throughput over that of the engine's threads without HTTP", share, f"{share:.2f}",
             *at_least(share, 0.9),
             f"{median(rates['http']):.0f} against {median(rates['engine']):.0f} images/s; {place}"),
        Line("load", "the same by processor seconds, which other jobs disturb less",
             engine / http, f"{engine / http:.2f}", note=f"{http:.2f} ms against {engine:.2f} ms an image"),
    ]  # fmt: skip


async def attacks(image: bytes, process: subprocess.Popen[str], port: int) -> list[Line]:
    """What nobody should send: its status, and that of a good request after it."""
    form = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nabc\r\n'
    tried = {
        ("pixel bomb, 20,000 × 20,000", 422): lambda: alone(port, bomb()),
        ("100 MB, said in its header", 413): lambda: alone(port, bytes(100_000_000)),
        ("100 MB in chunks, size not said", 413): lambda: chunked(port, 100_000_000),
        ("a form of 10,000 parts", 413): lambda: alone(port, part * 10_000 + b"--x--\r\n", form),
        ("half an image, then silence", 408): lambda: silent(port, image),
    }
    lines, before = [], memory(process)
    for (what, expected), attack in tried.items():
        status = await attack()
        after = await alone(port, image)
        fine = status == expected and after == 200
        lines.append(
            Line("attacks", what, status, f"{status}", f"{expected}, and the next request 200",
                 "met" if fine else "missed", f"next request {after}")
        )  # fmt: skip
    grown = memory(process) - before
    lines.append(Line("attacks", "memory growth over these, MB", grown, f"{grown:.0f} MB", *at_most(grown, 50, " MB")))
    return lines


async def block(bodies: Sequence[bytes], port: int) -> tuple[Counter[int], float]:
    """Statuses of the bodies, sent by 16 clients, and the seconds it took."""
    statuses, waiting, began = Counter[int](), iter(bodies), time.perf_counter()

    async def client() -> None:
        async with connection(port) as (reader, writer):
            for body in waiting:
                statuses[await post(reader, writer, body)] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return statuses, time.perf_counter() - began


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(length: str, kind: str = "image/jpeg") -> bytes:
    """Request line and headers of a POST."""
    return f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


async def answered(reader: asyncio.StreamReader) -> int:
    """The status of an answer, which is read whole."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, kind: str = "image/jpeg"
) -> int:
    """Send a body, and the status of the answer."""
    writer.write(head(f"Content-Length: {len(body)}", kind) + body)
    await writer.drain()
    return await answered(reader)


async def alone(port: int, body: bytes, kind: str = "image/jpeg") -> int:
    """The status of a request with a connection of its own; the answer may come before the body is sent."""
    async with connection(port) as (reader, writer):
        writer.write(head(f"Content-Length: {len(body)}", kind))
        return await while_sending(reader, writer, [body[i : i + 65536] for i in range(0, len(body), 65536)])


async def chunked(port: int, size: int) -> int:
    """The status of a body whose length is not said."""
    async with connection(port) as (reader, writer):
        writer.write(head("Transfer-Encoding: chunked"))
        parts = [f"{len(_CHUNK):x}\r\n".encode() + _CHUNK + b"\r\n"] * (size // len(_CHUNK))
        return await while_sending(reader, writer, [*parts, b"0\r\n\r\n"])


async def silent(port: int, image: bytes) -> int:
    """The status of a request whose second half does not come."""
    async with connection(port) as (reader, writer):
        writer.write(head(f"Content-Length: {len(image)}") + image[: len(image) // 2])
        return await asyncio.wait_for(answered(reader), 60)


async def while_sending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: Sequence[bytes]) -> int:
    """The status that comes while parts are sent or after them."""
    answer = asyncio.ensure_future(answered(reader))
    try:
        for part in parts:
            if answer.done():
                break
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)  # drain alone lets nothing be read
    except ConnectionError:
        pass  # the server has answered and hung up
    return await asyncio.wait_for(answer, 60)


def garbage(number: int) -> bytes:
    """Bytes that are no image."""
    return zlib.compress(str(number).encode()) * (1 + number % 50)


def bomb() -> bytes:
    """A PNG of 20,000 × 20,000 pixels in 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (20_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(2501 * 20_000), 9))


def processor(process: subprocess.Popen[str]) -> float:
    """Processor seconds of all threads of a process so far, to the nanosecond (Linux)."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1e9


def memory(process: subprocess.Popen[str]) -> float:
    """Resident memory of a process, MB (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
