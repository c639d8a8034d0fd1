"""Augmentation: random crops and flips of each image, and MixUp or CutMix of a batch; each follows from a seed alone.

The seed is that of the epoch, so an epoch gives the same views whatever the number of workers, the batch size and the
interruptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import TrainingError

MARGIN = 8
"""A view may be shifted by 1/8 of the crop's side: 28 px of 224, as resize 256 and crop 224 leave it."""

Mix = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(pixels N×3×S×S, labels N, seed) → (pixels N×3×S×S, labels N×C as probabilities)."""

MIXES = ("none", "mixup", "cutmix")
_MIXUP, _CUTMIX = 0.2, 1.0  # alpha of the beta distribution: the papers' choices for ImageNet


@dataclass(frozen=True)
class Augmentation:
    """What may be changed in an image without changing its class.

    Args:
        shift: whether the crop moves. flip: whether half of the views are flipped horizontally; wrong for text,
            for road signs, and where left and right hands differ.
    """

    shift: bool = True
    flip: bool = True

    @property
    def is_off(self) -> bool:
        """Whether every view is the image itself."""
        return not (self.shift or self.flip)


BOTH, NONE = Augmentation(), Augmentation(shift=False, flip=False)


def stored_side(resize: int, crop: int) -> int:
    """Side of the square that is stored for images of that resize and crop: the crop and the margin the resize leaves.

    The margin is a multiple of four, so that the centre of the square is exactly the centre crop of the whole image.
    """
    return crop + max(0, min(resize - crop, crop // MARGIN)) // 4 * 4


def centre(stored: Tensor, crop: int) -> Tensor:
    """N×3×crop×crop: the centre crops, on which the network is measured."""
    begin = (stored.shape[-1] - crop) // 2
    return stored[..., begin : begin + crop, begin : begin + crop]


def views(stored: Tensor, crop: int, augmentation: Augmentation, *, seed: int, images: NDArray[np.int64]) -> Tensor:
    """One random view of each image.

    Args:
        stored: N×3×S×S uint8. crop: side of the views; where S leaves no margin, the border is reflected outwards.
        seed: of this epoch. images: N numbers, one for each image; each view is drawn from its number and the seed.

    Returns:
        N×3×crop×crop uint8.
    """
    if augmentation.is_off:
        return centre(stored, crop)
    margin = stored.shape[-1] - crop
    if augmentation.shift and margin == 0:
        edge = max(1, crop // MARGIN)
        stored = torch.nn.functional.pad(stored.float(), (edge,) * 4, mode="reflect").to(torch.uint8)
        margin = 2 * edge
    out = []
    for image, number in zip(stored, images, strict=True):
        rng = np.random.default_rng((seed, int(number)))
        top, left = (int(offset) for offset in rng.integers(margin + 1, size=2))
        flip = rng.random() < 0.5
        if not augmentation.shift:
            top = left = margin // 2
        view = image[:, top : top + crop, left : left + crop]
        out.append(view.flip(2) if augmentation.flip and flip else view)
    return torch.stack(out)


def mixing(kind: str, classes: int) -> Mix | None:
    """The function that mixes a batch; None for `none`.

    Args:
        kind: `mixup` blends two images, `cutmix` pastes a rectangle of one into the other.

    Raises:
        TrainingError: there is no such kind.

    Source: Zhang et al. 2018, arXiv:1710.09412 (alpha 0.2); Yun et al. 2019, arXiv:1905.04899 (alpha 1); torchvision's
    implementation, which draws one share for the whole batch.
    """
    if kind not in MIXES:
        raise TrainingError(expected=f"mix {', '.join(MIXES)}", found=repr(kind), where="mix")
    if kind == "none":
        return None
    from torchvision.transforms import v2 as transforms  # type: ignore[import-untyped]  # as long to import as torch

    change = {"mixup": transforms.MixUp, "cutmix": transforms.CutMix}[kind](
        alpha=_MIXUP if kind == "mixup" else _CUTMIX, num_classes=classes
    )

    def mix(pixels: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):  # the loop's own random numbers stay as they are
            torch.manual_seed(seed)
            mixed, shares = change(pixels, labels)
        return mixed, shares

    return mix
