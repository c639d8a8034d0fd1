"""How long many nodes take for a set of images, with slow nodes and failures: shards are the units that are done again.

    python benchmarks/scale_simulation.py [--images 1000000] [--nodes 100] [--cores 8] [--rate 19.6] [--shard 128]

Each core takes the next shard when it is free. A shard takes its images over the rate, times a drawn factor
(log-normal, spread 0.2, an assumption), and four times that on a slow node. A node fails with
`--failure` for each of its hours: what its cores were at is done again by others. Prints the time, its share
of the ideal, and core-hours. No network and no storage: add them where reading is slower than decoding.
"""

from __future__ import annotations

import argparse
import heapq

import numpy as np


def simulate(
    images: int, nodes: int, *, cores: int, rate: float, shard: int, slow: float, failure: float, seed: int = 0
) -> tuple[float, float, int]:
    """Seconds until the last shard is done, core-seconds that were spent, and shards that were done again."""
    rng = np.random.default_rng(seed)
    waiting, again, spent, last = -(-images // shard), 0, 0.0, 0.0
    factor = np.where(rng.random(nodes) < slow, 4.0, 1.0)
    dies = rng.exponential(3600 / failure, nodes) if failure else np.full(nodes, np.inf)
    free = [(0.0, node) for node in range(nodes) for _ in range(cores)]
    heapq.heapify(free)
    lost: list[float] = []  # times at which a lost shard is noticed
    while free and (waiting or lost):
        now, node = heapq.heappop(free)
        if now >= dies[node]:
            continue
        if not waiting:
            if not (lost and lost[0] <= now):
                if lost:
                    heapq.heappush(free, (lost[0], node))
                    continue
                break
            heapq.heappop(lost)
            waiting += 1
        waiting -= 1
        took = shard / rate * factor[node] * rng.lognormal(-0.02, 0.2)
        end = now + took
        if end > dies[node]:
            spent += dies[node] - now
            again += 1
            heapq.heappush(lost, dies[node] + 10)  # the engine notices a lost node after some seconds
            continue
        spent += took
        last = max(last, end)
        heapq.heappush(free, (end, node))
    return last, spent, again


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--rate", type=float, default=19.6)
    parser.add_argument("--shard", type=int, default=128)
    parser.add_argument("--failure", type=float, default=0.5)
    given = parser.parse_args()
    ideal = given.images / given.rate / (given.nodes * given.cores)
    print(f"{given.images:,} images, {given.nodes} nodes of {given.cores} cores: ideal {ideal:.0f} s")
    cases = {"all alike": (0.0, 0.0), "5 % slow": (0.05, 0.0), "5 % slow, failing": (0.05, given.failure)}
    for name, (slow, failure) in cases.items():
        for shard in (given.shard, 8 * given.shard):
            fleet = {"cores": given.cores, "rate": given.rate, "shard": shard, "slow": slow, "failure": failure}
            seconds, spent, again = simulate(given.images, given.nodes, **fleet)
            hours = f"{spent / 3600:5.1f} core-hours, {again} shards again"
            print(f"{name:18} shards of {shard:5}: {seconds:6.0f} s ({ideal / seconds:4.0%} of ideal), {hours}")


if __name__ == "__main__":
    main()
