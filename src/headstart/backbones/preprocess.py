"""Preprocess: the resize, crop and normalisation that a backbone's weights were trained with.

In: decoded RGB images. Out: uint8 N×3×S×S for the cache and the workers, then pixels N×3×S×S float32. Nothing else in
headstart decides how an image becomes the input of a network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.backbones.spec import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec
from headstart.errors import BackboneError, near
from headstart.plain import Plain
from headstart.public_api import public_methods

_MODES = ("bilinear", "bicubic", "nearest")
_FITS = ("keep", "stretch")
_LARGEST = 4096  # px; above it a card is damaged or hostile
_MOST_MEAN, _LEAST_STD = 10.0, 1e-4  # 1/255 as std gives values from 0 to 255; beyond these all images become one
_OF_BYTES = "Divide the numbers for values from 0 to 255 by 255."
_LONGEST = 20_000  # px of a strip whose every pixel is counted; no camera comes near
_MOST_RESIZED = 16_000_000  # pixels after the resize; a photograph has 0.1 million. Of longer strips the middle


@public_methods("of", "from_values", "from_dict")
@dataclass(frozen=True)
class Preprocess(Plain):
    """How a decoded image becomes the input of a network.

    Args:
        resize: length of the shorter side after the resize, px.
        crop: side of the centred square that is kept, px; a smaller image gets a black border.
        interpolation: bilinear, bicubic or nearest; the first two with antialias, as in Pillow.
        mean: per channel R G B, for values in [0, 1].
        std: per channel R G B, for values in [0, 1].
        fit: `keep` the aspect ratio, or `stretch` both sides to `resize` (some of timm's networks).

    Raises:
        BackboneError: a value is of the wrong kind or out of range.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "keep"

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            side = getattr(self, name)
            _check(type(side) is int and 1 <= side <= _LARGEST, f"{name} from 1 to {_LARGEST} px", side)
        _check(self.interpolation in _MODES, "interpolation bilinear, bicubic or nearest", self.interpolation)
        _check(self.fit in _FITS, "fit keep or stretch", self.fit)
        _check(_three(self.mean), "three numbers as mean", self.mean)
        _check(_three(self.std) and min(self.std) > 0, "three numbers above 0 as std", self.std)
        sensible = (
            f"for values from 0 to 1, mean of at most {_MOST_MEAN:g} and std from {_LEAST_STD:g} to {_MOST_MEAN:g}"
        )
        _check(max(map(abs, self.mean)) <= _MOST_MEAN, sensible, self.mean, hint=_OF_BYTES)
        _check(_LEAST_STD <= min(self.std) <= max(self.std) <= _MOST_MEAN, sensible, self.std, hint=_OF_BYTES)

    @classmethod
    def of(cls, spec: BackboneSpec) -> Preprocess:
        """The preprocessing of a spec."""
        return cls(**{field.name: getattr(spec, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Preprocess:
        """Preprocess for a network of your own.

        Args:
            values: `size` (side of the square input, px), and any of `resize` (shorter side before the crop; by default
                the size), `mean` and `std` (three numbers for R G B; by default ImageNet's), `interpolation`
                (bilinear), `fit` (keep).

        Raises:
            BackboneError: `size` is missing, a key is unknown, or a value is not allowed.
        """
        known = ("size", "resize", "interpolation", "mean", "std", "fit")
        for key in values:
            _check(key in known, f"one of {', '.join(known)}", key, hint=near(str(key), known))
        _check("size" in values, "the key size", "none", hint="preprocess={'size': 224} is the least.")
        size = values["size"]
        chosen = {"resize": size, "interpolation": "bilinear", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, **values}
        del chosen["size"]
        return cls.from_dict({**chosen, "crop": size})

    def at(self, side: int) -> Preprocess:
        """The same for a square of another side, px: resize and crop keep their ratio."""
        return dataclasses.replace(self, resize=round(self.resize * side / self.crop), crop=side)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Preprocess:
        """Preprocess from the plain values of a card; only `fit` may be missing.

        Raises:
            BackboneError: a key is missing or unknown, or a value is not allowed.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            _check(key in known, "a known key", key, hint=near(str(key), known))
        for key in known:
            _check(key in values or key == "fit", f"the key {key}", "none")
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**fields)  # type: ignore[arg-type]  # __post_init__ checks every kind

    def prepare(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Resize and centre-crop one image, as torchvision's Resize and CenterCrop do.

        By torch alone: importing torchvision takes as long as importing torch, in every command and every worker.

        Args:
            rgb: H×W×3 uint8, any size from 1×1; not written to.

        Returns:
            3×crop×crop uint8, within 1 grey level of the same steps on a Pillow image (bicubic enlargements: 2).
        """
        image = _view(rgb)  # 1×3×H×W, channels last in memory: torch's fast path
        if self.fit == "keep":
            image = self._middle_of_long_strip(image)
        height, width = self.resized(image.shape[2], image.shape[3])
        return _center_crop(self._resize(image, height, width), self.crop)[0]

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize and before the crop, px."""
        if self.fit == "stretch":
            return self.resize, self.resize
        short, long = min(height, width), max(height, width)
        longer = int(self.resize * long / short)  # torchvision truncates, it does not round
        return (longer, self.resize) if height > width else (self.resize, longer)

    def normalise(self, prepared: Tensor) -> Tensor:
        """Scale prepared images as the weights expect them: (value / 255 − mean) / std.

        Args:
            prepared: N×3×S×S uint8, any device.

        Returns:
            N×3×S×S float32 on the same device, in the same memory format.
        """
        mean = torch.tensor(self.mean, dtype=torch.float64).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float64).view(3, 1, 1)
        scale, shift = (1 / (255 * std)).float(), (-mean / std).float()
        return prepared.float().mul_(scale.to(prepared.device)).add_(shift.to(prepared.device))

    def _middle_of_long_strip(self, image: Tensor) -> Tensor:
        """Of a strip (1×5000 …), whose resized form may not fit into memory, what the crop can see and more."""
        most = max(_MOST_RESIZED // self.resize**2, 2) * min(image.shape[2:])
        if self.interpolation == "nearest":  # only what the crop shows is copied
            most = max(most, _LONGEST)
        top, left = (max(length - most, 0) // 2 for length in image.shape[2:])
        return image[..., top : image.shape[2] - top, left : image.shape[3] - left]

    def _resize(self, image: Tensor, height: int, width: int) -> Tensor:
        if self.interpolation == "nearest":
            # torch's two kinds of nearest choose other pixels than Pillow's at some ratios
            rows, columns = (
                _nearest(have, wanted)[max(round((wanted - self.crop) / 2), 0) :][: self.crop]
                for have, wanted in ((image.shape[2], height), (image.shape[3], width))
            )
            return image[:, :, rows][..., columns]
        if image.shape[2:] == (height, width):
            return image
        mode = self.interpolation
        return functional.interpolate(image, size=(height, width), mode=mode, align_corners=False, antialias=True)


def _view(rgb: NDArray[np.uint8]) -> Tensor:
    if not rgb.flags.writeable:  # torch warns of a read-only array even when nobody writes
        rgb = rgb.copy()
    return torch.from_numpy(rgb)[None].permute(0, 3, 1, 2)


def _center_crop(image: Tensor, side: int) -> Tensor:
    """The square in the middle; a smaller image gets a black border, the odd row and column of it at the end."""
    short = [max(side - length, 0) for length in image.shape[2:]]
    if any(short):
        rows, columns = short
        image = functional.pad(image, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2))
    top, left = (round((length - side) / 2) for length in image.shape[2:])
    return image[..., top : top + side, left : left + side]


def _nearest(length: int, wanted: int) -> Tensor:
    """Index of the source pixel under the centre of each wanted one, summed up step by step as Pillow does."""
    step = length / wanted
    return torch.from_numpy(np.add.accumulate(np.r_[step / 2, np.full(wanted - 1, step)]).astype(np.int64))


def _three(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 3 and all(_is_number(value) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check(good: bool, expected: str, found: object, *, hint: str = "") -> None:
    if not good:
        raise BackboneError(expected=expected, found=repr(found), where="preprocessing", hint=hint)
