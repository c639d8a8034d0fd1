"""Groups of images that are copies of one picture: equal pixels, or confirmed after resize, recompression, flip, crop.

    facts ─same pixels──────────────────────────────▶ exact
    facts ─hash proposes, thumbnails fit─▶ pairs ─decoded images confirm─▶ copies ─one picture for all─▶ groups

Found: copies at another size (also stretched), recompressed (JPEG from quality 30; on 28 pixels from 70), mirrored left
to right, cropped by up to 10 % a side, mildly relit, and these together. Not looked for: turned, upside-down or grey
copies, collages, cut-outs. What was measured and rejected: docs/decisions/near-duplicates.md.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.candidates import crop_between, propose
from headstart.data.duplicates.verify import Look, compare, look
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts, Progress
from headstart.data.images import BadImage

Read = Callable[[int], NDArray[np.uint8]]
_WITNESSES = 3  # members of a group that are asked before it grows: bounds the questions
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

    A chain of images, each a little different from the one before, does not become one group.

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
    groups = [tuple(group) for group in _groups(judge)]
    grouped = {i for group in groups for i in group}
    groups += [(first,) for first in twins if first not in grouped]
    whole = [tuple(sorted(j for i in group for j in twins.get(i, (i,)))) for group in groups]
    return tuple(sorted(whole))


def _thumbnails(facts: Sequence[ImageFacts], chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    joined = b"".join(facts[i].signature for i in chosen)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, SIGNATURE_SIDE, SIGNATURE_SIDE)


class _Judge:
    """Compares pairs on decoded pixels, remembers the verdicts, and keeps a bounded number of decoded images."""

    def __init__(self, read: Read, thumbnails: dict[int, NDArray[np.uint8]]) -> None:
        self.copies: dict[tuple[int, int], float] = {}  # confirmed pairs, first below second → what was left over
        self._read = read
        self._thumbnails = thumbnails
        self._looks: OrderedDict[int, Look | None] = OrderedDict()
        self._undecided: dict[tuple[int, int], bool] = {}

    def look_at(self, a: int, b: int, crop: NDArray[np.float64], mirrored: bool) -> None:
        """Compare the decoded images a and b under a proposed crop; a below b."""
        one, two = self._look(a), self._look(b)
        if one is None or two is None:
            return
        verdict = compare(one, two, crop, mirrored=mirrored)
        self._undecided[a, b] = self._undecided.get((a, b), False) or verdict.undecided
        if verdict.same:
            self.copies[a, b] = min(verdict.rest, self.copies.get((a, b), np.inf))

    def may_be_one(self, a: int, b: int) -> bool:
        """Whether a and b are confirmed copies, or two crops of which neither lies within the other."""
        a, b = min(a, b), max(a, b)
        if (a, b) not in self._undecided:  # nobody proposed the pair
            self._undecided[a, b] = False
            for mirrored in (False, True):
                crop = crop_between(self._thumbnails[a], self._thumbnails[b], mirrored=mirrored)
                if crop is not None:
                    self.look_at(a, b, crop, mirrored)
        return (a, b) in self.copies or self._undecided[a, b]

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


def _groups(judge: _Judge) -> list[list[int]]:
    """Disjoint groups grown from the closest pairs; two grow together only when their witnesses do not contradict.

    A heavily compressed copy of one film frame looks like the next frame's, too; but the two frames are no copies of
    each other, so the closer one keeps it. Nor does a chain of small changes become one group.
    """
    group_of: dict[int, list[int]] = {}
    for (a, b), _ in sorted(judge.copies.items(), key=lambda item: (item[1], item[0])):
        one, two = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if one is two:
            continue
        if all(judge.may_be_one(x, y) for x in one[:_WITNESSES] for y in two[:_WITNESSES]):
            one.extend(two)
            group_of.update(dict.fromkeys(two, one))
    return [group for group in {id(group): group for group in group_of.values()}.values() if len(group) > 1]
