"""Which crop of one picture another is: crop, brightness and contrast fitted to many pairs of thumbnails at once.

    part(x, y)  ≈  gain · whole(left + (right − left) · x,  top + (bottom − top) · y)  +  offset

A crop is four numbers (left, right, top, bottom) as shares of the whole's width and height; (0, 1, 0, 1) is all of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Stack = NDArray[np.float32]  # P×S×S grey thumbnails, 0 to 255

WHOLE = (0.0, 1.0, 0.0, 1.0)
_REACH = 0.12  # how far a border may move in or out: crops of 8 % of a side and a margin
_STEP = 0.05  # the most that a border moves in one step
_COARSE = (1.5, 6)  # blur in pixels of the halved thumbnail, steps: catches crops of 8 %
_HOPELESS = 0.35  # misfit after the coarse steps: duplicates have less than 0.2, and the fine steps cost twice as much
_FINE = (0.6, 3)  # the same at full size


def fit_crops(whole: Stack, part: Stack) -> tuple[Stack, NDArray[np.float32]]:
    """Fit the crop that turns each whole into its part.

    Args:
        whole: P×S×S, S even.
        part: P×S×S.

    Returns:
        P×4 crops, and the misfit of each: the residual as a share of the part's contrast (0 the same picture up to
        noise, about 0.5 and more for pictures that are only similar).

    Source: Lucas and Kanade, "An iterative image registration technique", IJCAI 1981, with four geometric unknowns,
    gain and offset, coarse to fine.
    """
    crops = np.tile(np.array(WHOLE, dtype=np.float32), (len(whole), 1))
    crops, misfits = _refined(_halved(whole), _halved(part), crops, _COARSE)
    close = np.flatnonzero(misfits < _HOPELESS)
    if len(close):
        crops[close], misfits[close] = _refined(whole[close], part[close], crops[close], _FINE)
    return crops, misfits


def inverse(crop: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse crop: larger than the whole where the given one is smaller."""
    left, right, top, bottom = crop
    width, height = right - left, bottom - top
    return np.array([-left / width, (1 - left) / width, -top / height, (1 - top) / height])


def refine(whole: Stack, part: Stack, crops: Stack, *, steps: int) -> tuple[Stack, NDArray[np.float32]]:
    """The best of a few Gauss–Newton steps from the given crops, and the root mean square error there (grey levels)."""
    best, least = crops, np.full(len(crops), np.inf, dtype=np.float32)
    for step in range(steps + 1):
        columns, target = _linearised(whole, part, crops)
        tone = _least_squares(columns[:, 4:], target, damping=0.0)
        residual = target - (tone[:, None] @ columns[:, 4:])[:, 0]
        error = np.sqrt((residual * residual).mean(axis=1))
        better = error < least
        least, best = np.where(better, error, least), np.where(better[:, None], crops, best)
        if step < steps:
            columns[:, :4] *= tone[:, :1, None]  # the gain also applies to what a moved border brings in
            crops = _moved(crops, _least_squares(columns, residual)[:, :4])
    return best, least


def cropped(whole: Stack, crops: Stack) -> Stack:
    """Each whole's crop stretched to the whole's size, bilinear: P×S×S; one crop may be for all."""
    side = whole.shape[1]
    across, down = _weights(crops[:, 0], crops[:, 1], side), _weights(crops[:, 2], crops[:, 3], side)
    return np.asarray(down @ whole @ across.transpose(0, 2, 1))


def _linearised(whole: Stack, part: Stack, crops: Stack) -> tuple[Stack, Stack]:
    """How the cropped whole changes with left, right, top, bottom, gain and offset: P×6×S²; and the part: P×S²."""
    side = whole.shape[1]
    now = cropped(whole, crops)
    at = ((np.arange(side) + 0.5) / side).astype(np.float32)
    dx, dy = np.zeros_like(now), np.zeros_like(now)  # 0 at the border, where gradients are unknown
    np.subtract(now[:, 1:-1, 2:], now[:, 1:-1, :-2], out=dx[:, 1:-1, 1:-1])
    np.subtract(now[:, 2:, 1:-1], now[:, :-2, 1:-1], out=dy[:, 1:-1, 1:-1])
    dx *= (side / 2) / (crops[:, 1] - crops[:, 0])[:, None, None]
    dy *= (side / 2) / (crops[:, 3] - crops[:, 2])[:, None, None]
    columns = np.zeros((len(now), 6, side, side), dtype=np.float32)
    np.multiply(dx, 1 - at, out=columns[:, 0])
    np.multiply(dx, at, out=columns[:, 1])
    np.multiply(dy, (1 - at)[:, None], out=columns[:, 2])
    np.multiply(dy, at[:, None], out=columns[:, 3])
    columns[:, 4, 1:-1, 1:-1] = now[:, 1:-1, 1:-1]
    columns[:, 5, 1:-1, 1:-1] = 1
    target = np.zeros_like(now)
    target[:, 1:-1, 1:-1] = part[:, 1:-1, 1:-1]
    return columns.reshape(len(now), 6, -1), target.reshape(len(now), -1)


def _least_squares(columns: Stack, target: Stack, damping: float = 1e-3) -> Stack:
    normal = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
    moments = (columns @ target[:, :, None])[:, :, 0].astype(np.float64)
    k = np.arange(normal.shape[1])
    normal[:, k, k] += damping * normal[:, k, k] + 1e-6
    return np.linalg.solve(normal, moments[..., None])[..., 0].astype(np.float32)


def _moved(crops: Stack, step: Stack) -> Stack:
    low = np.array([-_REACH, 1 - _REACH, -_REACH, 1 - _REACH], dtype=np.float32)
    return np.clip(crops + np.clip(step, -_STEP, _STEP), low, low + 2 * _REACH)


def _refined(  # 4 positional: the pair, its crops, and one scale
    whole: Stack, part: Stack, crops: Stack, scale: tuple[float, int]
) -> tuple[Stack, NDArray[np.float32]]:
    """Crops and misfits after the steps of one scale (blur in pixels, steps)."""
    blur, steps = scale
    soft = _blurred(part, blur)
    crops, error = refine(_blurred(whole, blur), soft, crops, steps=steps)
    return crops, error / (soft.std(axis=(1, 2)) + 1e-3)


def _halved(stack: Stack) -> Stack:
    p, height, width = stack.shape
    return np.asarray(stack.reshape(p, height // 2, 2, width // 2, 2).mean(axis=(2, 4)))


def _blurred(stack: Stack, blur: float) -> Stack:
    return np.asarray(gaussian_filter(stack, (0, blur, blur)))


def _weights(start: Stack, end: Stack, side: int) -> Stack:
    """P×S×S: row i holds the two bilinear weights of the position that the crop's pixel i comes from."""
    at = (start[:, None] + (end - start)[:, None] * ((np.arange(side) + 0.5) / side)) * side - 0.5
    at = np.clip(at, 0, side - 1)
    left = np.minimum(at.astype(np.int64), side - 2)
    share = (at - left).astype(np.float32)
    weights = np.zeros((len(start), side, side), dtype=np.float32)
    pair, row = np.arange(len(start))[:, None], np.arange(side)[None]
    weights[pair, row, left] = 1 - share
    weights[pair, row, left + 1] = share
    return weights
