"""Do micro-batches help the server? 16 clients at once, images one by one in threads, or up to 16 together.

    HEADSTART_TEST_DATA=… python benchmarks/micro_batches.py RUN… [--images 320] [--rounds 5]

Both ways decode and resize in the server's threads and differ in the forward pass alone: `single` gives each image to
the classifier when it is ready, as the server does; `batch` waits until 16 images are ready or 5 ms have passed, and
gives them together. Rounds take turns, so that a busy moment hits both. Without HTTP: what HTTP costs is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch

from headstart import runtime
from headstart.classifier.classifier import Classifier
from headstart.data.images import open_image
from machine import hardware
from record import Line, show, test_data, write

CLIENTS = 16
MOST, SECONDS = 16, 0.005  # of a batch, and of waiting for one
Answer = Callable[[bytes], Awaitable[Any]]


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # as the server's threads
    files = sorted((test_data() / "hymenoptera" / "val").glob("*/*"))
    images = [files[i % len(files)].read_bytes() for i in range(chosen.images)]
    lines = [line for run in chosen.runs for line in compared(Classifier.load(run), images, rounds=chosen.rounds)]
    show(lines)
    write("micro_batches", lines, hardware=hardware())


def compared(classifier: Classifier, images: Sequence[bytes], *, rounds: int) -> list[Line]:
    """Images a second, processor time and the median wait of both ways."""
    ways = {"single": single, "batch": batched}
    rates, waits, costs = ({way: list[float]() for way in ways} for _ in range(3))
    for number in range(rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            before = time.process_time()
            seconds, found = asyncio.run(asked(classifier, images, ways[way]))
            if number:  # the first round makes what later ones find
                rates[way].append(len(images) / seconds)
                waits[way].append(1000 * median(found))
                costs[way].append(1000 * (time.process_time() - before) / len(images))
    name = classifier.card.backbone
    rate = median(b / s for b, s in zip(rates["batch"], rates["single"], strict=True))
    cost = median(b / s for b, s in zip(costs["batch"], costs["single"], strict=True))
    each = [f"{way}: {median(rates[way]):.0f} images/s, wait {median(waits[way]):.0f} ms" for way in ways]
    return [
        Line(name, "throughput, batch over single", rate, f"{rate:.2f} times", note="; ".join(each)),
        Line(name, "processor time, batch over single", cost, f"{cost:.2f} times",
             note=", ".join(f"{way} {median(costs[way]):.1f} ms an image" for way in ways)),
    ]  # fmt: skip


async def asked(
    classifier: Classifier, images: Sequence[bytes], way: Callable[[Classifier, ThreadPoolExecutor], Answer]
) -> tuple[float, list[float]]:
    """Seconds for all images of 16 clients, and how long each image took."""
    waiting, waits, began = iter(images), list[float](), time.perf_counter()
    with ThreadPoolExecutor(runtime.cores()) as pool:
        answer = way(classifier, pool)

        async def client() -> None:
            for image in waiting:
                start = time.perf_counter()
                await answer(image)
                waits.append(time.perf_counter() - start)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - began, waits


def prepared(classifier: Classifier, image: bytes) -> torch.Tensor:
    """Decoded and resized: 3×S×S."""
    return classifier.backbone.preprocess.prepare(open_image(image, classifier.rules).rgb)


def single(classifier: Classifier, pool: ThreadPoolExecutor) -> Answer:
    """Each image through everything in one thread."""

    async def answer(image: bytes) -> Any:
        work = pool.submit(lambda: classifier.answers(prepared(classifier, image)[None]).probabilities[0])
        return await asyncio.wrap_future(work)

    return answer


def batched(classifier: Classifier, pool: ThreadPoolExecutor) -> Answer:
    """Images prepared one by one, then given to the network together."""
    queue: list[tuple[torch.Tensor, asyncio.Future[Any]]] = []
    timers: list[asyncio.TimerHandle] = []

    async def answer(image: bytes) -> Any:
        pixels = await asyncio.wrap_future(pool.submit(prepared, classifier, image))
        future = asyncio.get_running_loop().create_future()
        queue.append((pixels, future))
        if len(queue) >= MOST:
            send()
        elif len(queue) == 1:
            timers.append(asyncio.get_running_loop().call_later(SECONDS, send))
        return await future

    def send() -> None:
        while timers:
            timers.pop().cancel()
        if not queue:
            return
        some, loop = queue[:], asyncio.get_running_loop()
        queue.clear()

        def work() -> None:
            rows = classifier.answers(torch.stack([pixels for pixels, _ in some])).probabilities
            for (_, future), row in zip(some, rows, strict=True):
                loop.call_soon_threadsafe(future.set_result, row)

        pool.submit(work)

    return answer


if __name__ == "__main__":
    main()
