"""Whether a weight looks drawn at random or trained, by its numbers alone."""

from __future__ import annotations

from torch import Tensor

_FEW_VALUES = 100


def is_drawn(weight: Tensor) -> bool:
    """Whether a weight looks like random numbers of one distribution: normal or uniform, all rows of one scale.

    Training makes tails heavy and rows unequal. The limits are five standard errors of independent numbers; with fewer
    than 100 of them nothing can be said, and the answer is no.
    """
    values = weight.detach().double().flatten(1)
    count, width = values.numel(), values.shape[1]
    if count < _FEW_VALUES or not bool(values.std() > 0):
        return False
    centred = (values - values.mean()) / values.std()
    kurtosis = float(centred.pow(4).mean())  # 1.8 for uniform, 3 for normal numbers; cut normal ones lie between
    tails = 1.8 - 5 * (0.8 / count**0.5) <= kurtosis <= 3 + 5 * (24 / count) ** 0.5
    scales = centred.square().mean(1)  # of each row
    expected = (max(kurtosis - 1, 0.1) / width) ** 0.5
    return tails and (len(scales) < 2 or float(scales.std()) <= expected * (1 + 5 / (2 * (len(scales) - 1)) ** 0.5))
