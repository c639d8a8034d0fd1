"""Conformal prediction sets: the classes that cannot be ruled out for an image, at a stated error rate.

In: probabilities N×C of held-out images with labels. Out: ConformalSets, a threshold for each class. Pure functions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from headstart.evaluation.intervals import Interval, share_interval
from headstart.evaluation.metrics import checked

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]

ERROR_RATE = 0.05  # the usual 95 %; on ants and bees it gave a coverage of 0.954 with 1.12 classes on average
LAC, RAPS = "lac", "raps"
_RAPS_CLASSES = 20  # with fewer, LAC's sets are smaller: for two classes the other method gave 1.97 of 2
_PENALTY, _FREE_RANKS = 0.1, 1  # of RAPS (Angelopoulos et al. 2021): lambda, and ranks that cost nothing
_OWN = 2.0  # groups of a class, times the error rate, from which it has a threshold of its own
_BAND = 0.95
_MOST_OWN = 5_000  # classes: beyond, their thresholds alone would take a tenth of what the card of a file may hold


class PredictionSets(NamedTuple):
    """Sets of N images.

    Args:
        contains: N×C, which classes are in the set; at least the most probable one.
        atypical: N, whether no class was close enough, so that the most probable one stands alone. Never with RAPS,
            whose empty sets are those of the most confident images.
    """

    contains: Mask
    atypical: Mask


@dataclass(frozen=True)
class ConformalSets:
    """Thresholds under which the sets of exchangeable images contain the true class as often as stated.

    Args:
        method: `lac` (Sadinle et al. 2019) or `raps` (Angelopoulos et al. 2021, without randomisation, so that the same
            image always gets the same set).
        error_rate: share of images whose set may miss the true class.
        thresholds: C, of each class's score; finite.
        own: C, whether the class has a threshold of its own instead of one it shares.
        images: held-out images behind the thresholds. groups: independent ones among them.
    """

    method: str
    error_rate: float
    thresholds: Values
    own: Mask
    images: int
    groups: int

    def sets(self, probabilities: Values) -> PredictionSets:
        """The sets of N images.

        Args:
            probabilities: N×C.
        """
        contains = class_scores(probabilities, self.method) <= self.thresholds
        filled: Mask = np.asarray(contains.any(axis=1))
        if filled.all():  # the usual case, in every prediction
            return PredictionSets(contains, np.zeros_like(filled))
        empty: Mask = np.logical_not(filled)
        contains[empty, probabilities[empty].argmax(axis=1)] = True
        return PredictionSets(contains, empty if self.method == LAC else np.zeros_like(empty))

    @property
    def band(self) -> Interval:
        """Where the true coverage lies for 95 of 100 draws of held-out images, see `coverage_band`."""
        return coverage_band(self.groups, self.error_rate)


def class_scores(probabilities: Values, method: str = LAC) -> Values:
    """N×C, how badly each class fits: LAC 1 − p; RAPS the probability of all classes up to it and a penalty by rank."""
    if method == LAC:
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
    ranked += rank_costs(probabilities.shape[1])
    scores = np.empty_like(ranked)
    np.put_along_axis(scores, order, ranked, axis=1)
    return scores


def rank_costs(classes: int) -> Values:
    """What RAPS adds for each rank, C from the most probable class on."""
    return _PENALTY * np.maximum(0, np.arange(1, classes + 1) - _FREE_RANKS)


def largest_score(classes: int) -> float:
    """A score that no class exceeds, by either method."""
    return 1 + _PENALTY * classes


def conformal_quantile(scores: Values, error_rate: float) -> float:
    """The ⌈(n + 1)(1 − error rate)⌉-th smallest of n scores; infinite where n is too small for it.

    Source: Vovk et al. 2005; Romano et al. 2020, lemma 2.
    """
    rank = conformal_rank(len(scores), error_rate)
    return float("inf") if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def conformal_rank(count: int, error_rate: float) -> int:
    """⌈(n + 1)(1 − error rate)⌉, of n scores; n + 1 where they are too few."""
    return int(np.ceil((count + 1) * (1 - error_rate) - 1e-9))  # 20 × 0.95 is 19, whatever floats make of it


def least_images(error_rate: float) -> int:
    """Held-out images below which a threshold at this rate would be infinite: 19 at 5 %."""
    return int(np.ceil(1 / error_rate - 1e-9)) - 1


def coverage_band(count: int, error_rate: float, *, share: float = _BAND) -> Interval:
    """Where the true coverage lies, given n independent held-out images: quantiles of Beta(n + 1 − l, l).

    l is ⌊(n + 1) × error rate⌋; the value is its mean. A band of 1 to 1 where n is too small.

    Source: Vovk 2012, Conditional validity of inductive conformal predictors, proposition 2a.
    """
    missed = count + 1 - conformal_rank(count, error_rate)
    if missed < 1:
        return Interval(1.0, 1.0, 1.0, n=count, method="Beta")
    held, ends = count + 1 - missed, [(1 - share) / 2, (1 + share) / 2]
    low, high = betaincinv(held, missed, ends).tolist()
    return Interval(held / (count + 1), low, high, n=count, method="Beta")


def fit_conformal(
    probabilities: Values, labels: Labels, groups: Labels | None = None, *, error_rate: float = ERROR_RATE
) -> ConformalSets | None:
    """Thresholds from images that the head did not see; None where there are too few for the error rate.

    A class with at least 2 / error rate groups has a threshold of its own (Mondrian). The others share one: that of
    their own images if these are as many groups, else that of all images.

    Args:
        probabilities: N×C. labels: N. groups: N; images of one group are not independent. None: each stands alone.

    Raises:
        DataError: the labels do not fit the probabilities.
    """
    p, y = checked(probabilities, labels)
    group = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    classes, count = p.shape[1], len(np.unique(group))
    if count < least_images(error_rate):
        return None
    method = RAPS if classes >= _RAPS_CLASSES else LAC
    scores = class_scores(p, method)[np.arange(len(y)), y]
    need = _OWN / error_rate - 1e-9
    groups_of = np.bincount(np.unique(y * (group.max() + 1) + group) // (group.max() + 1), minlength=classes)
    own = (groups_of >= need) & (classes <= _MOST_OWN)
    rest = ~own[y]
    shared = scores[rest] if len(np.unique(group[rest])) >= need else scores
    thresholds = np.full(classes, conformal_quantile(shared, error_rate))
    for c in np.flatnonzero(own):
        thresholds[c] = conformal_quantile(scores[y == c], error_rate)
    thresholds = np.minimum(thresholds, largest_score(classes))  # a file holds finite numbers
    return ConformalSets(
        method=method, error_rate=error_rate, thresholds=thresholds, own=own, images=len(y), groups=count
    )


@dataclass(frozen=True)
class SetCoverage:
    """How prediction sets did on M images with known classes.

    Args:
        coverage: share of the sets with the true class, over groups if there are any.
        mean_size: classes in a set. alone: share of sets of one class. atypical: images no class was close enough to.
        band: where the true coverage was to be expected.
    """

    coverage: Interval
    mean_size: float
    alone: float
    atypical: int
    band: Interval


def measure_sets(
    conformal: ConformalSets, probabilities: Values, labels: Labels, *, groups: Sequence[Hashable] | None = None
) -> SetCoverage:
    """Coverage and size of the sets of M images, M ≥ 1.

    Args:
        probabilities: M×C. labels: M. groups: M; images of one group are not independent.
    """
    found = conformal.sets(probabilities)
    sizes = found.contains.sum(axis=1)
    hits = found.contains[np.arange(len(labels)), labels]
    return SetCoverage(
        coverage=share_interval(hits, groups),
        mean_size=float(sizes.mean()),
        alone=float((sizes == 1).mean()),
        atypical=int(found.atypical.sum()),
        band=conformal.band,
    )
