"""Forecasts of a learning curve: several functions fitted to measured errors, averaged, with a band.

In: sizes and the errors measured there, in many bootstrap samples. Out: Forecast at larger sizes. No single function
extrapolates well: a power law alone covered the truth in 13 of 16 trials with a 95 % band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.plain import Plain

Values = NDArray[np.float64]

WIDEN = 1.7
"""By which a band of bootstrap samples is widened: the least that covers 90 % at four times as many images as well (120
simulated folders from the training images of six sets, `benchmarks/advice.py --only widen`; unwidened 82 %)."""

_LEVEL = 0.9  # of a band
_EXPONENTS = np.linspace(0.1, 2.0, 20)  # of n; learning curves of classifiers lie between 0.2 and 1
_SCALES = np.geomspace(0.2, 5.0, 12)  # of the exponential, in units of the largest size


@dataclass(frozen=True, kw_only=True)
class Forecast(Plain):
    """The error expected with so many training images, with its 90 % band; shares in [0, 1]."""

    images: int
    error: float
    low: float
    high: float


class _Family(NamedTuple):
    """Functions a + b·g(n) of one kind: g at the sizes and at the targets, a row for each parameter."""

    name: str
    fitted: Values  # P×K
    ahead: Values  # P×T
    has_floor: bool


def forecast(sizes: Values, samples: Values, ahead: Sequence[int], *, seed: int = 0) -> tuple[Forecast, ...]:
    """Forecast the error at larger sizes.

    Args:
        sizes: K numbers of training images, ascending. samples: R×K errors; the first row is the measured one, the
            others are bootstrap samples of it. ahead: sizes to forecast.

    The functions a + b n^-c, b n^-c, a + b / log n and a + b exp(-n / t) are fitted by least squares with weights n,
    for a forecast rests on the last points. Their weights in the average are how well each, fitted without the last
    point, predicts it. Each bootstrap sample follows one function, drawn by these weights, so that the band holds the
    doubt between them.

    Source: Mahmood et al. 2022, How Much More Data Do I Need?, arXiv:2207.01725 (several functions, and why not one);
        Jain et al. 2023, arXiv:2303.01598 (a power law needs too many images at few shots).
    """
    targets = np.asarray(ahead, dtype=np.float64)
    families, rng = _families(sizes, targets), np.random.default_rng(seed)
    weights = _weights(families, sizes, samples)
    each = np.stack([_fit(family, sizes, samples) for family in families])  # F×R×T
    centre = (weights[:, None] * each[:, 0]).sum(axis=0)
    followed = rng.choice(len(families), p=weights, size=len(samples))
    spread = each[followed, np.arange(len(samples))] - centre  # R×T
    low, high = np.quantile(spread, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return tuple(
        Forecast(
            images=int(count),
            error=float(np.clip(centre[t], 0, 1)),
            low=float(np.clip(centre[t] + WIDEN * min(low[t], 0.0), 0, 1)),
            high=float(np.clip(centre[t] + WIDEN * max(high[t], 0.0), 0, 1)),
        )
        for t, count in enumerate(ahead)
    )


def _families(sizes: Values, ahead: Values) -> list[_Family]:
    power = sizes ** -_EXPONENTS[:, None], ahead ** -_EXPONENTS[:, None]
    scales = (_SCALES * sizes[-1])[:, None]
    return [
        _Family("power law", *power, True),
        _Family("power law to 0", *power, False),
        _Family("logarithm", 1 / np.log(sizes + 1)[None], 1 / np.log(ahead + 1)[None], True),
        _Family("exponential", np.exp(-sizes / scales), np.exp(-ahead / scales), True),
    ]


def _weights(families: Sequence[_Family], sizes: Values, samples: Values) -> Values:
    """How likely the last measured point is under each family fitted to those before it."""
    if len(sizes) < 4:  # two parameters leave nothing to judge by
        return np.full(len(families), 1 / len(families))
    last = samples[0, -1]
    deviation = max(float(samples[:, -1].std()), 1e-3)
    logs = []
    for family in families:
        before = family._replace(fitted=family.fitted[:, :-1], ahead=family.fitted[:, -1:])
        predicted = _fit(before, sizes[:-1], samples[:1, :-1])[0, 0]
        logs.append(-0.5 * ((predicted - last) / deviation) ** 2)
    weights = np.exp(np.array(logs) - max(logs))
    return np.asarray(weights / weights.sum())


def _fit(family: _Family, sizes: Values, samples: Values) -> Values:
    """R×T predictions of the best function of a family for each sample; a and b are not negative."""
    weights = sizes / sizes.sum()
    g = family.fitted  # P×K
    mean_g, mean_e = g @ weights, samples @ weights
    if family.has_floor:
        centred = g - mean_g[:, None]
        slope = (samples * weights) @ centred.T / np.maximum((centred**2) @ weights, 1e-300)  # R×P
        slope = np.maximum(slope, 0.0)
        floor = mean_e[:, None] - slope * mean_g
        through = (samples * weights) @ g.T / ((g**2) @ weights)  # where the floor would be below 0
        slope, floor = np.where(floor < 0, np.maximum(through, 0), slope), np.maximum(floor, 0.0)
    else:
        slope = np.maximum((samples * weights) @ g.T / ((g**2) @ weights), 0.0)
        floor = np.zeros_like(slope)
    residual = floor[..., None] + slope[..., None] * g - samples[:, None]  # R×P×K
    best = ((residual**2) @ weights).argmin(axis=1)
    rows = np.arange(len(samples))
    return np.asarray(floor[rows, best][:, None] + slope[rows, best][:, None] * family.ahead[best])
