"""Random views of prepared images: shifted crops and flips, each drawn from (seed, epoch, image) and nothing else.

So the same epoch gives the same views whatever the number of workers, the batch size and the interruptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGIN = 8
"""Part of the crop's side by which a view may be shifted: 28 px of 224, as resize 256 and crop 224 leave it."""


@dataclass(frozen=True)
class Augmentation:
    """What may be changed in an image without changing its class.

    Args:
        shift: whether the crop moves. flip: whether left and right are exchanged in half of the views; wrong for text,
            for hands of which the side matters, for road signs.
    """

    shift: bool = True
    flip: bool = True

    @property
    def is_off(self) -> bool:
        """Whether every view is the image itself."""
        return not (self.shift or self.flip)


BOTH, NONE = Augmentation(), Augmentation(False, False)


def stored_side(resize: int, crop: int) -> int:
    """Side of the square that is stored for images of that resize and crop: the crop and the margin the resize leaves.

    The margin is a multiple of four, so that the centre of the square is exactly the centre crop of the whole image.
    """
    return crop + max(0, min(resize - crop, crop // MARGIN)) // 4 * 4


def centre(stored: Tensor, crop: int) -> Tensor:
    """N×3×crop×crop: the views that the network is measured on."""
    begin = (stored.shape[-1] - crop) // 2
    return stored[..., begin : begin + crop, begin : begin + crop]


def views(stored: Tensor, crop: int, augmentation: Augmentation, seed: int, images: NDArray[np.int64]) -> Tensor:
    """One random view of each image.

    Args:
        stored: N×3×S×S uint8. crop: side of the views; where S leaves no margin, the border is mirrored outwards.
        seed: of this epoch. images: N numbers that tell the images apart.

    Returns:
        N×3×crop×crop uint8.
    """
    if augmentation.is_off:
        return centre(stored, crop)
    room = stored.shape[-1] - crop
    if augmentation.shift and room == 0:
        edge = max(1, crop // MARGIN)
        stored = torch.nn.functional.pad(stored.float(), (edge,) * 4, mode="reflect").to(torch.uint8)
        room = 2 * edge
    out = []
    for image, number in zip(stored, images, strict=True):
        rng = np.random.default_rng((seed, int(number)))
        top, left = (int(place) for place in rng.integers(room + 1, size=2))
        flip = rng.random() < 0.5
        if not augmentation.shift:
            top = left = room // 2
        view = image[:, top : top + crop, left : left + crop]
        out.append(view.flip(2) if augmentation.flip and flip else view)
    return torch.stack(out)
