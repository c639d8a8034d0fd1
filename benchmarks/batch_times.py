"""How long batches of a worker take, one after another, on this machine as it is: what the simulation draws from.

    HEADSTART_TEST_DATA=… python benchmarks/batch_times.py [--seconds 240] [--processes 2] [--backbone resnet18]

Each process does what a worker of `--on` does, `extract_shard` on photographs of the test data, and notes how long each
batch of 16 took by the clock. Other work on the machine is in the times: this is how workers become late.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from pathlib import Path

BATCH = 16
_SHOWN = (0, 50, 90, 99, 100)  # percentiles


def worker(name: str, until: float) -> list[float]:
    """Seconds of each batch until then."""
    import torch

    from engines import backbone_of
    from headstart import runtime
    from headstart.data.images import ImageRules
    from headstart.distributed.extract import extract_shard
    from headstart.distributed.shard import table_of
    from headstart.engines.choose import choose_engine

    torch.set_num_threads(1)
    backbone = backbone_of(name)
    forward = choose_engine(backbone, name="folded", cache_folder=runtime.cache_folder()).forward
    paths = sorted(Path(os.environ["HEADSTART_TEST_DATA"], "hymenoptera", "train").rglob("*.jpg"))
    tables = [
        table_of([{"name": path.name, "bytes": path.read_bytes()} for path in paths[begin : begin + BATCH]])
        for begin in range(0, len(paths) - BATCH + 1, BATCH)
    ]
    seconds: list[float] = []
    extract_shard(tables[0], backbone, forward, rules=ImageRules(), batch_size=BATCH)
    while time.time() < until:
        began = time.perf_counter()
        extract_shard(tables[len(seconds) % len(tables)], backbone, forward, rules=ImageRules(), batch_size=BATCH)
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Run the workers side by side, print percentiles, write the times."""
    import numpy as np

    from machine import hardware
    from record import write

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--backbone", default="resnet18")
    given = parser.parse_args()
    until = time.time() + given.seconds
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        series = pool.starmap(worker, [(given.backbone, until)] * given.processes)
    for seconds in series:
        shown = ", ".join(f"{at} %: {np.percentile(seconds, at):.2f} s" for at in _SHOWN)
        print(f"{len(seconds)} batches of {BATCH}, {BATCH * len(seconds) / sum(seconds):.1f} images/s; {shown}")
    rounded = [[round(one, 3) for one in seconds] for seconds in series]
    write("batch_times", [], hardware=hardware(), backbone=given.backbone, images=BATCH, seconds=rounded)


if __name__ == "__main__":
    main()
