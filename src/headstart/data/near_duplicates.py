"""Groups of images that are copies of one picture: equal pixels, or confirmed after resize, recompression, flip, crop.

    facts ─same pixels──────────────────────────────▶ exact
    facts ─hash proposes, thumbnails fit─▶ pairs ─decoded images confirm─▶ copies ─one picture for all─▶ groups

Found: copies at another size (also stretched), recompressed (JPEG from quality 50), mirrored left to right, cropped by
up to 8 % a side, mildly relit, and these together. Not looked for: turned or upside-down copies, collages, cut-outs.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.content import SIGNATURE_SIDE, ImageFacts, Progress
from headstart.data.images import BadImage
from headstart.data.proposals import crop_between, propose
from headstart.data.same_picture import Look, is_same_picture, look

Read = Callable[[int], NDArray[np.uint8]]
_KEPT_LOOKS = 512  # decoded images kept for comparing, 30 MB: film frames come in order and meet again soon


def exact_copies(facts: Sequence[ImageFacts]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more images whose decoded pixels are equal, in the order of their first member."""
    same: dict[str, list[int]] = defaultdict(list)
    for i, fact in enumerate(facts):
        if fact.error is None:
            same[fact.pixels].append(i)
    return tuple(tuple(group) for group in same.values() if len(group) > 1)


def find_copies(
    facts: Sequence[ImageFacts], read: Read, *, progress: Progress | None = None
) -> tuple[tuple[int, ...], ...]:
    """Disjoint groups of two or more images that show one picture, exact duplicates included.

    Every member of a group is a confirmed copy of its most connected member: a chain of images, each a little
    different from the one before, does not become one group.

    Args:
        facts: one per image; unreadable ones are left out.
        read: gives an image's decoded H×W×3 uint8 by its index, or raises BadImage; asked for proposed images only.
        progress: called with (proposed pairs looked at, proposed pairs).
    """
    twins = {group[0]: group for group in exact_copies(facts)}
    later = {i for group in twins.values() for i in group[1:]}
    firsts = np.array([i for i, fact in enumerate(facts) if fact.error is None and i not in later], dtype=np.int64)
    thumbnails = _thumbnails(facts, firsts)
    proposed = propose(thumbnails)
    judge = _Judge(read, dict(zip(firsts.tolist(), thumbnails, strict=True)))
    for k, (a, b) in enumerate(firsts[proposed.pairs].tolist()):
        judge.look_at(a, b, proposed.crops[k].astype(np.float64), bool(proposed.mirrored[k]))
        if progress is not None:
            progress(k + 1, len(proposed.pairs))
    groups = [*judge.groups()]
    grouped = {i for group in groups for i in group}
    groups += [(first,) for first in twins if first not in grouped]
    whole = [tuple(sorted(j for i in group for j in twins.get(i, (i,)))) for group in groups]
    return tuple(sorted(whole))


def _thumbnails(facts: Sequence[ImageFacts], chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    joined = b"".join(facts[i].signature for i in chosen)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, SIGNATURE_SIDE, SIGNATURE_SIDE)


class _Judge:
    """Confirms pairs on decoded pixels, remembers its verdicts, and keeps a bounded number of decoded images."""

    def __init__(self, read: Read, thumbnails: dict[int, NDArray[np.uint8]]) -> None:
        self._read = read
        self._thumbnails = thumbnails
        self._looks: OrderedDict[int, Look | None] = OrderedDict()
        self._asked: set[tuple[int, int]] = set()
        self._copies: dict[int, set[int]] = defaultdict(set)

    def look_at(self, a: int, b: int, crop: NDArray[np.float64], mirrored: bool) -> None:
        """Compare the decoded images a and b under a proposed crop; a below b."""
        self._asked.add((a, b))
        one, two = self._look(a), self._look(b)
        if one is not None and two is not None and is_same_picture(one, two, crop, mirrored=mirrored):
            self._copies[a].add(b)
            self._copies[b].add(a)

    def are_copies(self, a: int, b: int) -> bool:
        """Whether a and b are confirmed copies; a pair that was not proposed is looked at now, on both sides."""
        a, b = min(a, b), max(a, b)
        if (a, b) not in self._asked:
            for mirrored in (False, True):
                crop = crop_between(self._thumbnails[a], self._thumbnails[b], mirrored=mirrored)
                if crop is not None:
                    self.look_at(a, b, crop, mirrored)
            self._asked.add((a, b))
        return b in self._copies[a]

    def groups(self) -> list[tuple[int, ...]]:
        """Disjoint groups, each around the image with most copies; members that are no copies of it form their own."""
        left = {i for i, copies in self._copies.items() if copies}
        groups = []
        while left:
            centre = min(left, key=lambda i: (-len(self._copies[i] & left), i))
            group = self._around(centre, left)
            left -= {centre, *group}
            if len(group) > 1:
                groups.append(tuple(sorted(group)))
        return groups

    def _around(self, centre: int, left: set[int]) -> set[int]:
        """The centre's copies, found by asking the copies of its copies, as long as they are copies of the centre."""
        group, seen, waiting = {centre}, {centre}, [centre]
        while waiting:
            for i in sorted(self._copies[waiting.pop()] & left - seen):
                seen.add(i)
                if self.are_copies(centre, i):
                    group.add(i)
                    waiting.append(i)
        return group

    def _look(self, i: int) -> Look | None:
        if i in self._looks:
            self._looks.move_to_end(i)
            return self._looks[i]
        try:
            self._looks[i] = look(self._read(i))
        except BadImage:  # it was readable when its facts were taken, and has gone since
            self._looks[i] = None
        if len(self._looks) > _KEPT_LOOKS:
            self._looks.popitem(last=False)
        return self._looks[i]
