"""Preprocessing variants: how prepared images can become pixels: as the card says, and by the usual mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from headstart.errors import DataError

Array = NDArray[np.float64]
_SAME = 1e-3  # of a pixel's range: float32 and half precision round to less, no two variants are as close
_SAMPLED = 20_000  # pixels that a variant is fitted to


@dataclass(frozen=True, eq=False)
class PreprocessingVariant:
    """pixel = matrix · (R, G, B) + shift, the image's values in [0, 1].

    Args:
        name: one word.
        words: the same in a sentence: "the pixels reach the network …".
        matrix: 3×3, a row for each channel of the network.
        shift: 3.
    """

    name: str
    words: str
    matrix: Array
    shift: Array

    @property
    def gain(self) -> float:
        """How much it stretches contrast, the mean over the channels."""
        return float(np.sqrt(np.square(self.matrix).sum() / 3))

    def apply(self, prepared: Tensor) -> Tensor:
        """Prepared images N×3×S×S uint8 → pixels N×3×S×S float32."""
        matrix, shift = torch.from_numpy(self.matrix / 255).float(), torch.from_numpy(self.shift).float()
        return torch.einsum("kc,nchw->nkhw", matrix, prepared.float()) + shift.view(3, 1, 1)

    def undo(self, colours: Array) -> Array:
        """Colours …×3 as the network sees them → R, G, B in [0, 1], if this is the variant that was applied."""
        undone: Array = (colours - self.shift) @ np.linalg.inv(self.matrix).T
        return undone

    def equals(self, other: PreprocessingVariant) -> bool:
        """Whether both bring every image to the same pixels."""
        off = max(np.abs(self.matrix - other.matrix).max(), np.abs(self.shift - other.shift).max())
        return bool(off <= _SAME * max(self.gain, other.gain))


def variants_of(card: Preprocess | None) -> tuple[PreprocessingVariant, ...]:
    """The card's own variant, then the usual mistakes; equal ones appear once.

    Without a card ImageNet's mean and standard deviation come first.
    """
    declared = _normalised("imagenet", "with ImageNet's mean and standard deviation", IMAGENET_MEAN, IMAGENET_STD)
    if card is not None:
        declared = _normalised("card", "as its card says", card.mean, card.std)
    half = (0.5, 0.5, 0.5)
    mistakes = (
        PreprocessingVariant("none", "as values from 0 to 1, not normalised", np.eye(3), np.zeros(3)),
        PreprocessingVariant("raw", "as values from 0 to 255", 255 * np.eye(3), np.zeros(3)),
        PreprocessingVariant("twice", "divided by 255 twice", declared.matrix / 255, declared.shift),
        PreprocessingVariant("bgr", "with red and blue swapped (BGR)", declared.matrix[:, ::-1], declared.shift),
        _normalised("half", "with mean 0.5 and standard deviation 0.5", half, half),
        _normalised("imagenet", "with ImageNet's mean and standard deviation", IMAGENET_MEAN, IMAGENET_STD),
    )
    return (declared, *(mistake for mistake in mistakes if not mistake.equals(declared)))


def variant_of(prepared: Tensor, pixels: Tensor, known: tuple[PreprocessingVariant, ...]) -> PreprocessingVariant:
    """The variant that turned prepared images into these pixels: a known one, or a fitted one.

    Args:
        prepared: N×3×S×S uint8.
        pixels: N×3×S×S float, what the network sees of them.

    Raises:
        DataError: the pixels are no linear map of the images' colours, position by position.
    """
    before, after = _colours(prepared) / 255, _colours(pixels)
    for variant in known:
        if np.abs(before @ variant.matrix.T + variant.shift - after).max() <= 4 * _SAME * variant.gain:
            return variant
    with_one = np.concatenate([before, np.ones((len(before), 1))], 1)
    fitted, _, rank, _ = np.linalg.lstsq(with_one, after, rcond=1e-6)
    off = float(np.abs(with_one @ fitted - after).max())
    variant = PreprocessingVariant("given", "as passed in", fitted[:3].T, fitted[3])
    if rank < 4 or off > 4 * _SAME * variant.gain:
        raise DataError(
            expected="pixels that are the prepared images, scaled and shifted colour by colour",
            found="only grey images" if rank < 4 else f"a difference of {off:.3g}",
            where="pixels",
            hint="Pass the pixels as the network sees them, without augmentation, and some images with colours.",
        )
    return variant


# the name and the words of a variant, and its normalisation
def _normalised(name: str, words: str, mean: tuple[float, ...], std: tuple[float, ...]) -> PreprocessingVariant:
    scale = 1 / np.asarray(std, dtype=float)
    return PreprocessingVariant(name, words, np.diag(scale), -np.asarray(mean, dtype=float) * scale)


def _colours(images: Tensor) -> Array:
    """Evenly spread pixels of images N×3×H×W as K×3."""
    flat = images.permute(0, 2, 3, 1).reshape(-1, 3)
    return flat[:: max(1, len(flat) // _SAMPLED)].cpu().double().numpy()
