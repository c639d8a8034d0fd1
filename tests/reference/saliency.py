"""Literal, slow forms of the maps of saliency: loops and autograd, no library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def grad_cam(
    maps_of: Callable[[Tensor], Tensor], logits_of: Callable[[Tensor], Tensor], pixels: Tensor, target: int
) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2: weights are mean gradients, the map is the positive part of the sum."""
    maps = maps_of(pixels).detach().requires_grad_()
    logits_of(maps)[0, target].backward()
    total = torch.zeros(maps.shape[2:])
    for channel in range(maps.shape[1]):
        total = total + maps.grad[0, channel].mean() * maps.detach()[0, channel]
    large = F.interpolate(total.clamp_min(0)[None, None], size=pixels.shape[-2:], mode="bilinear")
    return large[0, 0].double().numpy()


def occlusion(logit: Callable[[Tensor], float], pixels: Tensor, side: int, step: int) -> np.ndarray:
    """Mean fall of the logit over all squares of zeros that cover a pixel; squares begin every `step` pixels."""
    size = pixels.shape[-1]
    whole = logit(pixels)
    falls, counts = np.zeros((size, size)), np.zeros((size, size))
    starts = range(0, int(np.ceil((size - side) / step)) * step + 1, step)
    for y in starts:
        for x in starts:
            covered = pixels.clone()
            covered[..., y : y + side, x : x + side] = 0
            falls[y : y + side, x : x + side] += whole - logit(covered)
            counts[y : y + side, x : x + side] += 1
    return falls / counts
