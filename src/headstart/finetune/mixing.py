"""Mixing: two images of a batch in one, and their labels in the same shares; drawn from a seed and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2 as transforms  # type: ignore[import-untyped]

from headstart.errors import TrainingError

Mix = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(pixels N×3×S×S, labels N, seed) → (pixels N×3×S×S, labels N×C as probabilities)."""

KINDS = ("none", "mixup", "cutmix")
_MIXUP, _CUTMIX = 0.2, 1.0  # of the beta distribution of the share: the papers' choices for ImageNet


def mixing(kind: str, classes: int) -> Mix | None:
    """The function that mixes a batch; None for `none`.

    Args:
        kind: `mixup` adds the two, `cutmix` puts a rectangle of the one into the other.

    Raises:
        TrainingError: there is no such kind.

    Source: Zhang et al. 2018, arXiv:1710.09412 (alpha 0.2); Yun et al. 2019, arXiv:1905.04899 (alpha 1); torchvision's
    implementation, which draws one share for the whole batch.
    """
    if kind not in KINDS:
        raise TrainingError(expected=f"a way to mix: {', '.join(KINDS)}", found=repr(kind), where="mix")
    if kind == "none":
        return None
    change = {"mixup": transforms.MixUp, "cutmix": transforms.CutMix}[kind](
        alpha=_MIXUP if kind == "mixup" else _CUTMIX, num_classes=classes
    )

    def mix(pixels: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):  # the loop's own random numbers stay as they are
            torch.manual_seed(seed)
            mixed, shares = change(pixels, labels)
        return mixed, shares

    return mix
