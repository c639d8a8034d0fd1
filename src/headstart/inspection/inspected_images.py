"""InspectedImages: the images that an analysis runs a model on, as pixels, with their names and perhaps labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headstart.errors import DataError
from headstart.public_api import public_methods

BATCH = 32  # images at a time: the maps of ResNet-18 then take 150 MB


@public_methods("of")
@dataclass(frozen=True, eq=False)
class InspectedImages:
    """N images as a network sees them.

    Args:
        pixels: N×3×S×S float32, normalised.
        names: N names; `#0`, `#1` … for a plain tensor.
        prepared: the same images N×3×S×S uint8 before normalisation; None for a plain tensor.
        labels: N int64, index into classes; None where they are unknown.
        classes: names of the classes.
        paths: N files, for thumbnails; empty where there are none.
    """

    pixels: Tensor
    names: tuple[str, ...]
    prepared: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    @classmethod
    def of(cls, images: InspectedImages | Tensor) -> InspectedImages:
        """Check images for an analysis; a tensor of pixels gets numbers as names.

        Raises:
            DataError: there is none, or the pixels are not N×C×H×W of finite floats.
        """
        pixels = images.pixels if isinstance(images, InspectedImages) else images
        if pixels.ndim != 4 or not len(pixels) or not pixels.is_floating_point():
            raise DataError(
                expected="pixels N×3×H×W, float, at least one image",
                found=f"{tuple(pixels.shape)} {pixels.dtype}",
                where="images",
                hint="Prepare them with the backbone's preprocessing, or give a folder to `headstart inspect`.",
            )
        if not bool(torch.isfinite(pixels).all()):
            raise DataError(expected="finite pixels", found="nan or infinity among them", where="images")
        return (
            images if isinstance(images, InspectedImages) else cls(images, tuple(f"#{i}" for i in range(len(images))))
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, size: int = BATCH) -> Iterator[Tensor]:
        """The pixels in order, `size` images at a time."""
        yield from torch.split(self.pixels, size)

    def take(self, indices: Tensor) -> InspectedImages:
        """Some of the images, in the order of the indices."""
        chosen = indices.tolist()
        return InspectedImages(
            self.pixels[indices],
            tuple(self.names[i] for i in chosen),
            prepared=None if self.prepared is None else self.prepared[indices],
            labels=None if self.labels is None else self.labels[indices],
            classes=self.classes,
            paths=tuple(self.paths[i] for i in chosen) if self.paths else (),
        )
