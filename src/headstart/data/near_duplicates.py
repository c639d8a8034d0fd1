"""Groups of images that are copies of one picture: the same pixels, or confirmed after resizing, recompression, flip, crop.

    facts ─same pixels──────────────────────────────▶ exact
    facts ─hash proposes, thumbnails fit─▶ pairs ─decoded images confirm─▶ copies ─one picture for all─▶ groups

Found: copies at another size (also stretched), recompressed (JPEG from quality 50), mirrored left to right, cropped by up to
8 % a side, mildly relit, and these together. Not looked for: turned or upside-down copies, collages, small cut-outs.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.content import SIGNATURE_SIDE, ImageFacts, Progress
from headstart.data.images import BadImage
from headstart.data.proposals import propose
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

    Every member of a group is a confirmed copy of its most connected member: a chain of images, each a little different from the
    one before, does not become one group.

    Args:
        facts: one per image; unreadable ones are left out.
        read: gives an image's decoded H×W×3 uint8 by its index, or raises BadImage; asked for proposed images only.
        progress: called with (proposed pairs looked at, proposed pairs).
    """
    twins = {group[0]: group for group in exact_copies(facts)}
    later = {i for group in twins.values() for i in group[1:]}
    firsts = np.array([i for i, fact in enumerate(facts) if fact.error is None and i not in later], dtype=np.int64)
    proposed = propose(_thumbnails(facts, firsts))
    judge = _Judge(read)
    for done, (pair, mirrored) in enumerate(zip(firsts[proposed.pairs], proposed.mirrored, strict=True), start=1):
        judge.are_copies(int(pair[0]), int(pair[1]), (bool(mirrored),))
        if progress is not None:
            progress(done, len(proposed.pairs))
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

    def __init__(self, read: Read) -> None:
        self._read = read
        self._looks: OrderedDict[int, Look | None] = OrderedDict()
        self._verdicts: dict[tuple[int, int, bool], bool] = {}
        self._copies: dict[int, set[int]] = defaultdict(set)

    def are_copies(self, a: int, b: int, sides: tuple[bool, ...] = (False, True)) -> bool:
        """Whether b is a copy of a, looked at plainly, mirrored, or both."""
        a, b = min(a, b), max(a, b)
        if b in self._copies[a]:
            return True
        if not any(self._verdict(a, b, mirrored) for mirrored in sides):
            return False
        self._copies[a].add(b)
        self._copies[b].add(a)
        return True

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

    def _verdict(self, a: int, b: int, mirrored: bool) -> bool:
        key = (a, b, mirrored)
        if key not in self._verdicts:
            one, two = self._look(a), self._look(b)
            self._verdicts[key] = one is not None and two is not None and is_same_picture(one, two, mirrored=mirrored)
        return self._verdicts[key]

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
