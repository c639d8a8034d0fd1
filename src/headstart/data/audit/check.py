"""Checks of the audit: what a check receives, how one is added from outside headstart, and how all of them are run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.candidates import Thumbnails, grey_levels
from headstart.data.duplicates.groups import exact_duplicates
from headstart.data.finding import NAMED, Finding
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts
from headstart.data.image_set import Sample
from headstart.errors import RecipeError, shown
from headstart.plain import to_plain
from headstart.public_api import public_api
from headstart.registry import Registry, foreign_code

Group = tuple[int, ...]
"""Indices of images that belong together, ascending."""

OVERSIZED_SHARE = 0.05  # of all images: a larger group of "duplicates" is rather one scene or one drawing style …
_PLENTY = 20  # … but so many may be one picture in a data set of any size, and equal pixels always are


@dataclass(frozen=True, kw_only=True)
class AuditInput:
    """What a check may read: the images of a data set, what decoding them showed, and their duplicates. Read-only.

    Everything per image is aligned: entry i of every column belongs to `names[i]`. Columns are computed once.

    Args:
        samples: N, in the order of their names; each has name, path, label, split and group.
        facts: N; each has width, height, format, mode, notes, content and pixels (hashes), signature, error.
        classes: names of the classes that can be learned.
        duplicate_groups: confirmed duplicates, exact and near, as indices.
        groupings: images that belong together by table or by name; each grouping has a group or None for every image.
        groups_are_guessed: groups that no table names were guessed from file names.
        bit_depth: of the values in 16-bit files, as the user stated it; 16 unless stated.
    """

    samples: tuple[Sample, ...]
    facts: tuple[ImageFacts, ...]
    classes: tuple[str, ...]
    duplicate_groups: tuple[Group, ...] = ()
    groupings: tuple[tuple[str | None, ...], ...] = ()
    groups_are_guessed: bool = False
    bit_depth: int = 16

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """N names in the data set, with `/` between folders."""
        return tuple(sample.name for sample in self.samples)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """N paths on this machine."""
        return tuple(sample.path for sample in self.samples)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """N class names."""
        return tuple(sample.label or "" for sample in self.samples)

    @cached_property
    def splits(self) -> tuple[str | None, ...]:
        """N times `train`, `validation` or `test`, or None where the data set has no splits."""
        return tuple(sample.split for sample in self.samples)

    @cached_property
    def groups(self) -> tuple[str | None, ...]:
        """N groups of a table's group column, or None."""
        return tuple(sample.group for sample in self.samples)

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """N, whether the image could be decoded; sizes and grey levels are only there where it could."""
        return _fixed(np.array([fact.error is None for fact in self.facts], dtype=np.bool_))

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """N, pixels after the EXIF rotation; 0 for an unreadable image."""
        return _fixed(np.array([fact.width for fact in self.facts], dtype=np.int64))

    @cached_property
    def heights(self) -> NDArray[np.int64]:
        """N, pixels after the EXIF rotation; 0 for an unreadable image."""
        return _fixed(np.array([fact.height for fact in self.facts], dtype=np.int64))

    @cached_property
    def thumbnails(self) -> NDArray[np.uint8]:
        """N×32×32 grey levels of the image squeezed to a square; black for an unreadable image."""
        blank = bytes(SIGNATURE_SIDE**2)
        joined = b"".join(fact.signature or blank for fact in self.facts)
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, SIGNATURE_SIDE, SIGNATURE_SIDE)

    @cached_property
    def _grey_levels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """N means and N standard deviations, read block by block: `thumbnails` of 100,000 images are 100 MB."""
        blank = bytes(SIGNATURE_SIDE**2)
        grey = Thumbnails([fact.signature or blank for fact in self.facts], SIGNATURE_SIDE)
        return grey_levels(grey)

    @cached_property
    def brightness(self) -> NDArray[np.float64]:
        """N, mean grey level from 0 (black) to 255 (white); NaN for an unreadable image."""
        return _fixed(np.where(self.readable, self._grey_levels[0], np.nan))

    @cached_property
    def contrast(self) -> NDArray[np.float64]:
        """N, standard deviation of the grey levels; NaN for an unreadable image."""
        return _fixed(np.where(self.readable, self._grey_levels[1], np.nan))

    @cached_property
    def exact_duplicate_groups(self) -> tuple[Group, ...]:
        """Groups of images with equal pixels, as indices."""
        return exact_duplicates(self.facts)

    @cached_property
    def oversized_groups(self) -> tuple[Group, ...]:
        """Duplicate groups with more than 20 images and 5 % of all, unless all their images are equal."""
        most = max(OVERSIZED_SHARE * len(self), _PLENTY)
        exact = set(self.exact_duplicate_groups)
        return tuple(group for group in self.duplicate_groups if len(group) > most and group not in exact)

    def finding(
        self,
        kind: str,
        message: str,
        *,
        severity: str = "warning",
        images: Iterable[int] = (),
        groups: Sequence[Group] = (),
        detail: dict[str, Any] | None = None,
    ) -> Finding:
        """A finding about some images or groups of images, given by index; it carries their names and number.

        Args:
            kind: short machine-readable word. severity: `note`, `warning` or `problem`.
            message: one sentence for a person. detail: more plain values for JSON.
        """
        chosen = [int(i) for i in images]
        named = tuple(tuple(self.names[i] for i in group) for group in groups[:NAMED])
        names = [self.names[i] for i in chosen[:NAMED]] or [name for group in named for name in group]
        count = {"count": len(groups) or len(chosen)} if groups or chosen else {}
        return Finding(
            kind, severity, message, names=tuple(names[:NAMED]), groups=named, detail={**count, **(detail or {})}
        )


Check = Callable[[AuditInput], Iterable[Finding]]
"""A check: reads the images, returns what it found, an empty list where there is nothing to say."""

_HERE = "headstart.data.audit"
_OWN = {
    "unreadable": f"{_HERE}.unreadable:check_unreadable",
    "damaged": f"{_HERE}.damaged:check_damaged",
    "leaks": f"{_HERE}.leaks:check_leaks",
    "two-labels": f"{_HERE}.two_labels:check_two_labels",
    "duplicates": f"{_HERE}.duplicates:check_duplicates",
    "class-balance": f"{_HERE}.class_balance:check_class_balance",
    "image-sizes": f"{_HERE}.image_sizes:check_image_sizes",
    "bit-depth": f"{_HERE}.bit_depth:check_bit_depth",
    "conversions": f"{_HERE}.conversions:check_conversions",
    "groups-across-splits": f"{_HERE}.groups_across_splits:check_groups_across_splits",
}
CHECKS: Registry[Check] = Registry("check", "checks", _OWN)
"""Every check by name, in the order in which their findings appear: headstart's own first."""


@public_api
def register_check(name: str) -> Callable[[Check], Check]:
    """Decorator that adds a check to every audit of this process; the function stays callable as it is.

    Args:
        name: a new name, such as `too-dark`; it appears in the error if the check fails.

    Raises:
        RecipeError: the name is taken.
    """
    return CHECKS.register(name)


def run_checks(images: AuditInput) -> list[Finding]:
    """What all checks found, in the order of the checks; one from outside that fails is a finding of its own."""
    found: list[Finding] = []
    for name in CHECKS:
        found += CHECKS[name](images) if name in _OWN else _run_foreign(name, images)
    return found


def _run_foreign(name: str, images: AuditInput) -> list[Finding]:
    """What a check from outside found, or that it could not be done: what headstart itself found is not lost by it."""
    try:
        check = CHECKS[name]
        with foreign_code():
            found = list(itertools.islice(check(images), NAMED + 1))
        if len(found) > NAMED:
            raise TypeError(f"it returns more than {NAMED} findings")
        for one in found:
            _check_finding(one)
    except RecipeError as error:  # its package cannot be imported
        return [_failed(name, error.found)]
    except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
        return [_failed(name, f"{type(error).__name__}: {error}")]
    return found


def _check_finding(one: object) -> None:
    """Refuse what could not be shown or written later.

    Raises:
        TypeError: it is no finding, or holds something else than text and plain values.
    """
    if not isinstance(one, Finding):
        raise TypeError(f"{type(one).__name__} among the findings it returns")
    for field in ("kind", "message"):
        if not isinstance(getattr(one, field), str):
            raise TypeError(f"a finding whose {field} is {type(getattr(one, field)).__name__}, not a text")
    json.dumps(to_plain(one), allow_nan=False)


def _failed(name: str, reason: str) -> Finding:
    owner = CHECKS.owner(name)
    words = shown(reason.partition("\n")[0])
    message = f"The audit check {name!r} could not be done: {words}. Correct, update or remove {owner}."
    return Finding("check-failed", "warning", message, detail={"check": name, "owner": owner, "reason": shown(reason)})


def _fixed(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
