"""InspectedImages: the images that a look shows to a model, as pixels, with their names and perhaps their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headstart.errors import DataError

BATCH = 32  # images at a time: the maps of ResNet-18 then take 150 MB


@dataclass(frozen=True, eq=False)
class InspectedImages:
    """N images as a network sees them.

    Args:
        pixels: N×3×S×S float32, normalised.
        names: N names; `#0`, `#1` … for pixels that came without.
        prepared: the same images N×3×S×S uint8 before normalisation; None for pixels that came without.
        labels: N int64, index into classes; None where they are not known.
        classes: names of the classes.
        paths: image name → file, for thumbnails.
    """

    pixels: Tensor
    names: tuple[str, ...]
    prepared: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, size: int = BATCH) -> Iterator[Tensor]:
        """The pixels in their order, so many images at a time."""
        yield from torch.split(self.pixels, size)

    def take(self, places: Tensor) -> InspectedImages:
        """Some of the images, in the order given."""
        chosen = places.tolist()
        return InspectedImages(
            self.pixels[places],
            tuple(self.names[i] for i in chosen),
            None if self.prepared is None else self.prepared[places],
            None if self.labels is None else self.labels[places],
            self.classes,
            tuple(self.paths[i] for i in chosen) if self.paths else (),
        )


def images_of(images: InspectedImages | Tensor) -> InspectedImages:
    """Images for a look; a tensor of pixels gets numbers as names.

    Raises:
        DataError: there is none, or the tensor is not N×C×H×W of finite floats.
    """
    pixels = images.pixels if isinstance(images, InspectedImages) else images
    if pixels.ndim != 4 or not len(pixels) or not pixels.is_floating_point():
        raise DataError(
            expected="pixels N×3×H×W, float, one image or more",
            found=f"{tuple(pixels.shape)} {pixels.dtype}",
            where="images",
            hint="Prepare them as the network's card says, or hand in a folder to `headstart inspect`.",
        )
    if not bool(torch.isfinite(pixels).all()):
        raise DataError(expected="finite pixels", found="nan or infinity among them", where="images")
    return images if isinstance(images, InspectedImages) else InspectedImages(images, _numbered(len(images)))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"#{i}" for i in range(count))
