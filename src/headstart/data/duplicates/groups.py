"""Groups of duplicates: images with equal pixels, or the same picture after resizing, recompression, a flip or a crop.

    facts ─equal pixels─────────────────────────────▶ exact
    facts ─hash proposes, thumbnails fit─▶ candidates ─decoded images confirm─▶ pairs ─one picture for all─▶ groups

Found: duplicates at another size (also stretched), recompressed (JPEG from quality 30; on 28 pixels from 70), flipped
horizontally, cropped by up to 10 % a side, with slightly changed brightness or contrast, and these together; also two
such crops of one picture that is not there itself, each stretched in its own way. Not searched: rotated, upside-down or
grey duplicates, collages, cut-outs. Measured and rejected alternatives: docs/decisions/near-duplicates.md.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.candidates import Thumbnails, crop_between, find_candidates
from headstart.data.duplicates.verify import ReducedImage, compare, reduce_image
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts
from headstart.data.images import BadImage
from headstart.progress import OnProgress, OnStep, no_progress

Read = Callable[[int], NDArray[np.uint8]]
_WITNESSES = 3  # members of a group that are compared before it grows: bounds the comparisons
_CACHED_IMAGES = 512  # reduced images in memory, 30 MB: film frames come in order and are needed again soon


def exact_duplicates(facts: Sequence[ImageFacts]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more images whose decoded pixels are equal, in the order of their first member."""
    same: dict[str, list[int]] = defaultdict(list)
    for i, fact in enumerate(facts):
        if fact.error is None:
            same[fact.pixels].append(i)
    return tuple(tuple(group) for group in same.values() if len(group) > 1)


def find_duplicates(
    facts: Sequence[ImageFacts], read: Read, *, progress: OnStep | None = None
) -> tuple[tuple[int, ...], ...]:
    """Disjoint groups of two or more images that show one picture, exact duplicates included.

    A chain of images, each a little different from the one before, does not become one group: of a camera that turns
    over a picture, those that show mostly the same do.

    Args:
        facts: one per image; unreadable ones are left out.
        read: gives an image's decoded H×W×3 uint8 by its index, or raises BadImage; called for candidates only.
        progress: (name of the step, unit) → a function that is called with (done, total).
    """
    progress = progress or _silent
    exact = {group[0]: group for group in exact_duplicates(facts)}
    repeated = {i for group in exact.values() for i in group[1:]}
    firsts = np.array([i for i, fact in enumerate(facts) if fact.error is None and i not in repeated], dtype=np.int64)
    thumbnails = Thumbnails([fact.signature for fact in facts], SIGNATURE_SIDE)
    candidates = find_candidates(thumbnails, firsts, progress=progress("search likely duplicates", "searches"))
    verifier, compared = _PairVerifier(read, thumbnails), progress("compare likely duplicates", "pairs")
    for k, (a, b) in enumerate(candidates.pairs.tolist()):
        verifier.verify(a, b, candidates.crops[k].astype(np.float64), flipped=bool(candidates.flipped[k]))
        compared(k + 1, len(candidates.pairs))
    groups = [tuple(group) for group in _grow_groups(verifier)]
    grouped = {i for group in groups for i in group}
    groups += [(first,) for first in exact if first not in grouped]
    complete = [tuple(sorted(j for i in group for j in exact.get(i, (i,)))) for group in groups]
    return tuple(sorted(complete))


class _PairVerifier:
    """Compares pairs on decoded pixels, keeps the verdicts, and caches a bounded number of reduced images."""

    def __init__(self, read: Read, thumbnails: Thumbnails) -> None:
        self.confirmed: dict[tuple[int, int], float] = {}  # pairs, first below second → residual
        self._read = read
        self._thumbnails = thumbnails
        self._images: OrderedDict[int, ReducedImage | None] = OrderedDict()
        self._undecided: dict[tuple[int, int], bool] = {}

    def verify(self, a: int, b: int, crop: NDArray[np.float64], *, flipped: bool) -> None:
        """Compare the decoded images a and b under a candidate crop; a below b."""
        one, two = self._reduced(a), self._reduced(b)
        if one is None or two is None:
            return
        verdict = compare(one, two, crop, flipped=flipped)
        self._undecided[a, b] = self._undecided.get((a, b), False) or verdict.undecided
        if verdict.same:
            self.confirmed[a, b] = min(verdict.residual, self.confirmed.get((a, b), np.inf))

    def may_join(self, a: int, b: int) -> bool:
        """Whether a and b are confirmed duplicates, or too small to tell."""
        a, b = min(a, b), max(a, b)
        if (a, b) not in self._undecided:  # not a candidate pair
            self._undecided[a, b] = False
            for flipped in (False, True):
                crop = crop_between(self._thumbnails, a, b, flipped=flipped)
                if crop is not None:
                    self.verify(a, b, crop, flipped=flipped)
        return (a, b) in self.confirmed or self._undecided[a, b]

    def _reduced(self, i: int) -> ReducedImage | None:
        if i in self._images:
            self._images.move_to_end(i)
            return self._images[i]
        try:
            self._images[i] = reduce_image(self._read(i))
        except BadImage:  # it was readable when its facts were read, and has changed since
            self._images[i] = None
        if len(self._images) > _CACHED_IMAGES:
            self._images.popitem(last=False)
        return self._images[i]


def _grow_groups(verifier: _PairVerifier) -> list[list[int]]:
    """Disjoint groups grown from the closest pairs; two groups join only when their witnesses do not contradict.

    A heavily compressed duplicate of one film frame resembles the next frame, too; but the two frames are not
    duplicates of each other, so the closer one keeps it. Nor does a chain of small changes become one group. Connected
    components would merge both.
    """
    group_of: dict[int, list[int]] = {}
    for (a, b), _ in sorted(verifier.confirmed.items(), key=lambda item: (item[1], item[0])):
        one, two = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if one is two:
            continue
        if all(verifier.may_join(x, y) for x in _witnesses(one) for y in _witnesses(two)):
            one.extend(two)
            group_of.update(dict.fromkeys(two, one))
    return [group for group in {id(group): group for group in group_of.values()}.values() if len(group) > 1]


def _witnesses(group: list[int]) -> list[int]:
    """A few members, from the first that joined to the last: the ends of a chain are among them."""
    last = len(group) - 1
    return [group[i] for i in sorted({last * k // (_WITNESSES - 1) for k in range(_WITNESSES)})]


def _silent(step: str, unit: str) -> OnProgress:
    return no_progress
