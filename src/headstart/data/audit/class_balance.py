"""Check: classes of very different sizes, and classes with too few training images."""

from __future__ import annotations

from collections import Counter

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.wording import listed

_BALANCED, _UNBALANCED = 3, 10  # largest class : smallest; at 10 a classifier that ignores the smallest seems accurate
_FEW, _TOO_FEW = 10, 2  # training images of a class: below 10 its recall is mostly chance, below 2 none can be left out

_NAMED = 20  # classes in the message; its detail has them all


def check_class_balance(images: AuditInput) -> list[Finding]:
    """Findings `imbalance` and `small-class`, from the readable training images."""
    training = [i for i, split in enumerate(images.splits) if split in (None, "train")]
    if not training:  # a test split alone: nothing is learned from it
        return []
    labels = Counter(images.labels[i] for i in training if images.readable[i])
    there = {images.labels[i] for i in training}  # a listed class without any image is a finding of the scan
    counts = {name: labels[name] for name in images.classes if name in there}
    if not counts:  # a table that names no class: a finding of the scan
        return []
    return [*_imbalance(images, counts), *_small_classes(images, counts)]


def _imbalance(images: AuditInput, counts: dict[str, int]) -> list[Finding]:
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[largest] / max(counts[smallest], 1)
    if ratio <= _BALANCED:
        return []
    message = (
        f"Imbalanced classes: {counts[largest]:,} images of {largest!r}, {counts[smallest]:,} of {smallest!r}. Use the "
        "balanced accuracy; --balance equal gives all classes the same weight."
    )
    severity = "warning" if ratio > _UNBALANCED else "note"
    return [images.finding("imbalance", message, severity=severity, detail={"counts": counts, "ratio": ratio})]


def _small_classes(images: AuditInput, counts: dict[str, int]) -> list[Finding]:
    few = {name: count for name, count in counts.items() if count < _FEW}
    if not few:
        return []
    severity = "problem" if min(few.values()) < _TOO_FEW else "warning"
    names = listed([f"{name!r} ({count})" for name, count in few.items()], _NAMED)
    which = "training images" if "train" in images.splits else "images"  # before a split, test images are among them
    message = f"Classes with fewer than {_FEW} {which}: {names}. Their results are mostly chance."
    return [images.finding("small-class", message, severity=severity, detail={"counts": few})]
