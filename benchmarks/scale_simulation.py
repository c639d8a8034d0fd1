"""How long many nodes take for a set of images, with slow nodes and failures: shards are the units that are done again.

    python benchmarks/scale_simulation.py [--images 1000000] [--nodes 100] [--cores 8] [--rate 32.8] [--int8 0.41]

Times are those that `batch_times.py` measured, all multiplied so that a core does `--rate` images a second on average,
as `cost.py` measured it: each core starts at a random moment of a measured series and takes its batches one after
another, so that a core that is late stays late for as long as one was. A core takes the next shard when it is free.
Worse cases follow: 5 % of the nodes take four times as long; nodes fail, what their cores were at is done again by
others, and they do not come back. Without network or storage.

Rates of failure: 1.6e-4 is that of 419 interruptions in 54 days of 2,048 nodes (Grattafiori et al. 2024, The Llama 3
herd of models, 3.3.4); 0.5 is a node that is taken away every two hours, which nobody measured.

The last table compares with one machine that runs int8: `--int8` is its time for an image by that of float32, see
`cost.py`. `--start` are seconds before the first image of a cluster.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results"
SLOWER = 4.0  # times as long, on a slow node
NOTICED = 10.0  # seconds until a lost node is noticed
MEASURED, PREEMPTED = 1.6e-4, 0.5  # failures of a node in an hour
SEEDS = 15


@dataclass(frozen=True)
class Fleet:
    """Machines and how they behave.

    Args:
        series: measured seconds of consecutive batches, cumulated, one array for each measured worker.
        batch: images of a batch. factor: of all times. slow: share of slow nodes. failure: of a node in an hour.
    """

    series: Sequence[NDArray[np.float64]]
    batch: int
    nodes: int
    cores: int
    factor: float = 1.0
    slow: float = 0.0
    failure: float = 0.0

    @property
    def rate(self) -> float:
        """Images a second of one core, on average."""
        images = self.batch * sum(len(one) - 1 for one in self.series)
        return images / (self.factor * sum(float(one[-1]) for one in self.series))


@dataclass(frozen=True)
class Job:
    """How a job went: seconds until the last shard was done, core-seconds that were worked, shards done again."""

    seconds: float
    spent: float
    again: int


def read_series(path: Path | None = None) -> tuple[list[NDArray[np.float64]], int]:
    """The newest measured series, cumulated from 0, and the images of a batch."""
    found = json.loads((path or sorted(RESULTS.glob("*-batch_times.json"))[-1]).read_text(encoding="utf-8"))
    return [np.concatenate([[0.0], np.cumsum(one)]) for one in found["seconds"]], int(found["images"])


def simulate(images: int, fleet: Fleet, *, shard: int, seed: int = 0) -> Job:
    """One job, in events: a core is free, or a lost shard is noticed."""
    rng = np.random.default_rng(seed)
    waiting, again, spent, last = -(-images // shard), 0, 0.0, 0.0
    factors = fleet.factor * np.where(rng.random(fleet.nodes) < fleet.slow, SLOWER, 1.0)
    dies = rng.exponential(3600 / fleet.failure, fleet.nodes) if fleet.failure else np.full(fleet.nodes, np.inf)
    cores = [_Core(fleet, factors[i // fleet.cores], rng) for i in range(fleet.nodes * fleet.cores)]
    free = [(0.0, number) for number in range(len(cores))]
    lost: list[float] = []  # moments at which a lost shard is noticed
    while free and (waiting or lost):
        now, number = heapq.heappop(free)
        end_of_node = dies[number // fleet.cores]
        if now >= end_of_node:
            continue
        if waiting:
            waiting -= 1
        elif lost[0] <= now:
            heapq.heappop(lost)
        else:
            heapq.heappush(free, (lost[0], number))
            continue
        end = now + cores[number].seconds(shard)
        spent += min(end, end_of_node) - now
        if end > end_of_node:
            again += 1
            heapq.heappush(lost, end_of_node + NOTICED)
            continue
        last = max(last, end)
        heapq.heappush(free, (end, number))
    if waiting or lost:
        raise RuntimeError("all nodes were lost before the job was done")
    return Job(last, spent, again)


class _Core:
    """A core that goes through a measured series from a random place, round and round."""

    def __init__(self, fleet: Fleet, factor: float, rng: np.random.Generator) -> None:
        self.series = fleet.series[int(rng.integers(len(fleet.series)))]
        self.place, self.factor, self.batch = rng.random() * (len(self.series) - 1), factor, fleet.batch

    def seconds(self, images: int) -> float:
        """Seconds of the next images."""
        length, end = len(self.series) - 1, self.place + images / self.batch
        rounds, rest = divmod(end, length)
        steps = np.arange(length + 1)
        began, ended = np.interp([self.place, rest], steps, self.series)
        self.place = rest
        return self.factor * float(rounds * self.series[-1] + ended - began)


def show_cases(images: int, fleet: Fleet, shard: int) -> None:
    """A line for each case, the middle of some seeds."""
    ideal = images / fleet.rate / (fleet.nodes * fleet.cores)
    print(
        f"{images:,} images, {fleet.nodes} nodes of {fleet.cores} cores, {fleet.rate:.1f} images/s: ideal {ideal:.0f} s"
    )
    cases = {
        "as measured": fleet,
        "and failing as measured": replace(fleet, failure=MEASURED),
        "5 % of nodes four times slower": replace(fleet, slow=0.05),
        "and failing every two hours": replace(fleet, slow=0.05, failure=PREEMPTED),
    }
    for name, case in cases.items():
        for size in (shard, 8 * shard):
            jobs = sorted((simulate(images, case, shard=size, seed=s) for s in range(SEEDS)), key=lambda j: j.seconds)
            seconds = [job.seconds for job in jobs]
            shown = f"{seconds[SEEDS // 2]:5.0f} s ({seconds[0]:.0f} to {seconds[-1]:.0f})"
            middle = jobs[SEEDS // 2]
            more = f"{middle.spent / 3600:.1f} core-hours, {middle.again} shards again"
            print(f"{name:31} shards of {size:5}: {shown}, {ideal / seconds[SEEDS // 2]:4.0%} of ideal; {more}")


def show_one_machine(fleet: Fleet, one: Fleet, *, shard: int, start: float) -> None:
    """Times and core-hours of the cluster in float32 and of one machine in int8, for more and more images."""
    gained = 1 / (one.rate * one.cores) - 1 / (fleet.rate * fleet.nodes * fleet.cores)
    if gained > 0:
        print(f"up to {start / gained:,.0f} images one machine of {one.cores} cores in int8 is done earlier")
    print(f"{'images':>12}  {'cluster':>9}  one machine of {one.cores} cores in int8")
    for images in (10_000, 100_000, 300_000, 1_000_000, 10_000_000, 100_000_000):
        size = min(max(shard, images // 20_000), 1024)  # the simulation stays quick; shards have at most 1,024
        many, alone = simulate(images, fleet, shard=size), simulate(images, one, shard=16 if images < 1e6 else size)
        seconds, paid = start + many.seconds, (start + many.seconds) * fleet.nodes * fleet.cores / 3600
        print(
            f"{images:12,}  {seconds:7.0f} s  {alone.seconds:8.0f} s; paid core-hours {paid:.1f} and "
            f"{alone.seconds * one.cores / 3600:.1f}"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--shard", type=int, default=128)
    parser.add_argument("--rate", type=float, default=32.8, help="images a second of a core [default: of ResNet-18]")
    parser.add_argument("--times", type=Path, help="results of batch_times.py [default: the newest]")
    parser.add_argument("--int8", type=float, default=0.41)
    parser.add_argument("--one", type=int, default=16, help="cores of the one machine")
    parser.add_argument("--start", type=float, default=60)
    given = parser.parse_args()
    series, batch = read_series(given.times)
    fleet = Fleet(series, batch, given.nodes, given.cores)
    fleet = replace(fleet, factor=fleet.rate / given.rate)
    show_cases(given.images, fleet, given.shard)
    one = replace(fleet, nodes=1, cores=given.one, factor=fleet.factor * given.int8)
    show_one_machine(replace(fleet, failure=MEASURED), one, shard=given.shard, start=given.start)


if __name__ == "__main__":
    main()
