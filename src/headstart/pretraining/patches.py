"""A baseline without pretraining: patches of the training images, whitened and clustered, pooled over quadrants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 6  # pixels of a patch
_MOST = 40_000  # patches that are clustered
_ROUNDS = 10
_BLOCK = 64  # images at a time


@dataclass(frozen=True)
class Patches:
    """Fitted patches: the whitening of P = 108 values and K centres.

    Args:
        mean: P. whiten: P×P. centres: K×P.
    """

    mean: Tensor
    whiten: Tensor
    centres: Tensor


def fit_patches(images: Tensor, centres: int, seed: int) -> Patches:
    """Fit whitening and k-means to the patches of images N×3×S×S in [0, 255].

    Source: Coates, Ng and Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning": patches
        of 6×6, ZCA with 0.1 added, triangle activation, four quadrants. Theirs were 1,600 to 4,000 centres of 400,000
        patches of 50,000 images; ours are as many as the few training images give.
    """
    generator = torch.Generator().manual_seed(seed)
    cut = _all_patches(images).reshape(-1, 3 * _SIDE * _SIDE)
    chosen = _normalised(cut[torch.randperm(len(cut), generator=generator)[:_MOST]])
    mean = chosen.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((chosen - mean).T))
    whiten = vectors @ torch.diag((values.clamp_min(0) + 0.1).rsqrt()) @ vectors.T
    return Patches(mean, whiten, _k_means((chosen - mean) @ whiten, centres, generator))


def patch_features(images: Tensor, patches: Patches) -> Tensor:
    """Features N×4K of images N×3×S×S: per quadrant, the summed triangle activation of each centre."""
    return torch.cat([_features(block, patches) for block in torch.split(images, _BLOCK)])


def _features(images: Tensor, patches: Patches) -> Tensor:
    cut = _all_patches(images)  # N×L×P
    side = int(cut.shape[1] ** 0.5)  # positions along a side
    white = (_normalised(cut.reshape(-1, cut.shape[2])) - patches.mean) @ patches.whiten
    distance = torch.cdist(white, patches.centres)
    near = (distance.mean(1, keepdim=True) - distance).clamp_min_(0)
    maps = near.reshape(len(images), side, side, -1).permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(maps, 2).flatten(1)


def _all_patches(images: Tensor) -> Tensor:
    return F.unfold(images, _SIDE).transpose(1, 2)


def _normalised(patches: Tensor) -> Tensor:
    """Each patch with mean 0 and standard deviation 1, except flat ones: 10 is added to the variance."""
    variance, mean = torch.var_mean(patches, 1, keepdim=True)
    return (patches - mean) / (variance + 10.0).sqrt()


def _k_means(points: Tensor, centres: int, generator: torch.Generator) -> Tensor:
    found = points[torch.randperm(len(points), generator=generator)[:centres]].clone()
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, found).argmin(1)
        sums = torch.zeros_like(found).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(found))
        found = torch.where((counts > 0)[:, None], sums / counts.clamp_min(1)[:, None], found)
    return found
