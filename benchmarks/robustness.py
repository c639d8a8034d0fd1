"""Robustness, measured: what goes wrong is provoked on purpose, and counted by its outcome.

    python benchmarks/robustness.py kills --count 100

Parts: `images` (damaged files of every format, opened), `archives` (damaged and evil ones, unpacked), `classifiers`
(files with changed cards, tensors and bytes, opened and asked), `kills` (SIGKILL and SIGTERM at seeded moments, then
resumed or run again), `signals` (each command ended at seeded moments, then called again), `system` (each command on
disks that are full, read-only or forbidden, with lost caches, odd paths, and closed or full standard streams; the
disks need root; about 1,000 trials with `--count 1`, so a part of it can be asked for: `--stages streams names`, and
`--share 2/5` for the second of each five commands).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

PARTS = {
    "archives": "robustness_archives",
    "classifiers": "robustness_classifiers",
    "images": "robustness_images",
    "kills": "robustness_kills",
    "signals": "robustness_signals",
    "system": "robustness_system",
}
"""Part → module of this folder with `run(count, seed) -> dict[str, int]`, the number of trials by their outcome."""


def main() -> None:
    """Run one part and print its counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=[], metavar="NAME", help="only these stages of `system`")
    parser.add_argument("--share", type=_share, default=(1, 1), metavar="K/N", help="only a share of its commands")
    asked = parser.parse_args()
    if asked.part != "system" and (asked.stages or asked.share != (1, 1)):
        parser.error("only `system` has stages and shares")
    run: Callable[..., dict[str, int]] = importlib.import_module(PARTS[asked.part]).run
    wanted = {"stages": asked.stages, "share": asked.share} if asked.part == "system" else {}
    print(json.dumps({"part": asked.part, "seed": asked.seed, **run(asked.count, asked.seed, **wanted)}, indent=1))


def _share(text: str) -> tuple[int, int]:
    which, _, of = text.partition("/")
    if not 1 <= int(which) <= int(of):
        raise ValueError(text)
    return int(which), int(of)


if __name__ == "__main__":
    main()
