"""Classifier files with changed cards, tensors and bytes: refused with a reason, or the same answers."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from mutated_classifiers import mutations, outcome


def run(count: int, seed: int) -> dict[str, int]:
    """Trials by their outcome; `another classifier` opens files without a checksum, as headstart 0.1 wrote them."""
    outcomes = Counter[str]({"refused": 0, "the same answers": 0, "another classifier": 0, "wrong": 0})
    with tempfile.TemporaryDirectory(prefix="headstart-classifiers-") as name:
        for mutation in mutations(count, seed, Path(name)):
            found = outcome(mutation, Path(name))
            if found not in outcomes:
                print(f"{mutation.name}: {found}", flush=True)
                found = "wrong"
            outcomes[found] += 1
    return {"trials": count, **outcomes}
