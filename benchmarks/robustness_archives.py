"""Damaged and evil archives of every kind, unpacked: refused with the true reason, or each image as it was packed."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from mutated_archives import mutations, outcome


def run(count: int, seed: int) -> dict[str, int]:
    """Trials by their outcome; wrong are all besides the first three."""
    outcomes = Counter[str]({"refused": 0, "as packed": 0, "a damaged image": 0, "wrong": 0})
    for mutation in mutations(count, seed):
        with tempfile.TemporaryDirectory(prefix="headstart-archives-") as place:
            found = outcome(mutation, Path(place))
        if found not in outcomes:
            print(f"{mutation.name}: {found}", flush=True)
            found = "wrong"
        outcomes[found] += 1
    return {"trials": count, **outcomes}
