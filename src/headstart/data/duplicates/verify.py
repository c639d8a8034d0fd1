"""Whether two decoded images are one picture: duplicates differ by noise, two photographs differ by motion.

The two are overlaid (crop, brightness, contrast, sharpness fitted). The residual of a duplicate is noise all over the
picture; where something moved, the residual is on edges, and moving small patches explains it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from headstart.data.duplicates.alignment import WHOLE, inverse, refine

Grey = NDArray[np.float32]
Crop = NDArray[np.float64]  # left, right, top, bottom as shares

LEAST_SIDE = 16  # pixels: with less, noise and motion cannot be distinguished
_REFINED = 2  # times that the crop is cut again and corrected
_SIDE = 64  # pixels: at this size two pictures are compared, or at the smaller one's own
_REDUCED_SIDE = 192  # pixels of the shorter side that are kept of a decoded image
# limits, tuned on planted duplicates and all candidate pairs of three real data sets: docs/decisions/near-duplicates.md
_CHROMA, _CELLS = 30.0, 8  # grey levels in the worst of 8 × 8 cells; duplicates 1–12, 28-px JPEGs 25, another colour 50
_SNAP = 0.7  # pixels between the fitted size of a crop and the part's own
_MOVED = 0.35  # pixels that a border must have moved to count; duplicates reach out by at most 0.19
_STARTS = [0, 0, 2, 2]  # left, left, top, top
_RESIDUAL = 0.5  # residual : gradients of the picture; the noisiest duplicates (28 px, JPEG 30) have 0.42, a few 0.49
_SPOT = 1.4  # residual : contrast in the worst 7 × 7 patch; 1.0 when something is in one picture only
_ROUNDING = 0.2  # grey levels: equal pictures, up to the rounding of grey values
# share of the residual that motion explains · with smaller patches · on the fifth with the steepest gradients
_NOISE = 0.13, 0.25, 0.62  # JPEG 0.03–0.13, 0.06–0.2, 0.3–0.6; 95 % of film frames 0.24–0.8, 0.35–0.83, 0.56–0.97
_GRAIN = 0.18, 0.32, 0.5  # JPEG of a JPEG 0.17, 0.31, 0.42, where the residual is faint but above rounding …
_FAINT, _LOUD = 0.1, 0.6  # … relative to gradients, in grey levels; frames of a resting hand 0.3–0.45 grey levels
_CLEAR = 0.5, 0.6, 0.75  # WebP, GIF 0.37, 0.48, 0.68 at 64 pixels, where motion is clear: 0.6, 0.7, 0.7 …
_CLEAR_RESIDUAL, _CLEAR_SPOT = 0.25, 1.0  # … and duplicates of one size stay below
_FINE_SHIFT = 0.05  # residual : gradients, in 64ths of a picture: nothing moved by more than that
_CROPPED_SHIFT = 0.03  # pixels, for smaller images of one size that fit with a crop
_EDITED_SHIFT = 0.1  # pixels, where size, flip or tone show that the image was edited: resampling leaves this much
_RESIZED = 0.25, 0.4, 1.0  # between different sizes, where there is noise: duplicates 0.13, 0.25


@dataclass(frozen=True)
class ReducedImage:
    """A decoded image reduced to what comparing it needs, and its full size.

    Args:
        grey: at most 192 pixels on its shorter side.
        colour: 64 × 64 RGB.
    """

    grey: Image.Image
    colour: Image.Image
    size: tuple[int, int]

    @property
    def size_of_borders(self) -> Crop:
        """Pixels of the full image along each border of a crop: width, width, height, height."""
        return np.array(self.size, dtype=np.float64)[[0, 0, 1, 1]]

    def flipped(self) -> ReducedImage:
        """The picture after a horizontal flip."""
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        return ReducedImage(self.grey.transpose(flip), self.colour.transpose(flip), self.size)


@dataclass(frozen=True)
class Verdict:
    """Whether two images are duplicates.

    Args:
        same: one is a duplicate of the other.
        undecided: too small to tell: below 16 pixels, or below 64 and neither lies within the other.
        residual: what the fit does not explain, relative to the picture's gradients: the smaller, the closer.
    """

    same: bool
    undecided: bool
    residual: float


@dataclass(frozen=True)
class _Overlay:
    """What both of two pictures show, S×S each.

    Args:
        in_place: that is all of both.
        is_scaled: one was stretched to fit.
        reaches_out: each shows something that the other does not.
    """

    whole: Grey
    part: Grey
    in_place: bool
    is_scaled: bool = False
    reaches_out: bool = False


def reduce_image(rgb: NDArray[np.uint8]) -> ReducedImage:
    """Reduce a decoded image to what comparing it needs.

    Args:
        rgb: H×W×3 uint8.
    """
    whole = Image.fromarray(rgb)
    colour = whole.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=4.0)
    image = whole.convert("L")
    scale = _REDUCED_SIDE / min(image.size)
    if scale >= 1:
        return ReducedImage(image, colour, image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return ReducedImage(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=4.0), colour, image.size)


def compare(a: ReducedImage, b: ReducedImage, crop: Crop, *, flipped: bool) -> Verdict:
    """Whether b is a duplicate of a (or of its flip): resized, recompressed, cropped by up to 10 % a side, relit.

    Two crops of one picture are compared in what both show, from 64 pixels a side.

    Two photographs of a resting scene and neighbouring frames of a film are not duplicates, unless nothing moved by
    more than 0.05 of a 64th of the picture.

    Args:
        a: an image.
        b: another one.
        crop: which crop of a the (flipped) b is, roughly: what `fit_crops` found on thumbnails.
        flipped: whether b is flipped horizontally first.
    """
    if min(*a.grey.size, *b.grey.size) < LEAST_SIDE:
        return Verdict(False, True, np.inf)
    b = b.flipped() if flipped else b
    verdict = _compare_grey(a, b, crop, flipped=flipped)
    if verdict.same and _colours_differ(a, b, crop):
        return replace(verdict, same=False)
    return verdict


def _compare_grey(a: ReducedImage, b: ReducedImage, crop: Crop, *, flipped: bool) -> Verdict:
    side = min(_SIDE, *a.grey.size, *b.grey.size)
    if np.abs(crop - WHOLE).max() * side >= _MOVED:
        return _verdict(_overlay(a, b, crop, side=side), is_resized=a.size != b.size, flipped=flipped)
    whole = _Overlay(_square(a.grey, side), _square(b.grey, side), True)
    verdict = _verdict(whole, is_resized=a.size != b.size, flipped=flipped)
    if verdict.same or a.size == b.size:
        return verdict
    cropped = _verdict(_overlay(a, b, crop, side=side), is_resized=True, flipped=flipped)
    return replace(cropped, residual=verdict.residual)  # a fitted crop also hides motion: the whole is the measure


def _verdict(over: _Overlay, *, is_resized: bool, flipped: bool) -> Verdict:
    predicted, is_small = _relit(over.whole, over.part), len(over.part) < _SIDE
    residual = _Residual.of(over.part - predicted, np.float32(0.5) * (over.part + predicted))
    if is_resized:
        same = residual.is_small(_EDITED_SHIFT) or residual.is_noise(*_RESIZED)
    else:
        is_edited = flipped or (over.is_scaled and not is_small) or _tones_differ(over)
        shift = _EDITED_SHIFT if is_edited else _allowed_shift(len(over.part), over.in_place)
        is_clear = not is_small and residual.relative < _CLEAR_RESIDUAL and residual.spot < _CLEAR_SPOT
        same = residual.is_small(shift) or residual.is_noise(*(_CLEAR if is_clear else _NOISE))
        same = same or (residual.relative < _FAINT and residual.rms > _LOUD and residual.is_noise(*_GRAIN))
    is_moved = is_small and over.reaches_out  # a frame of a film in which everything moved would pass
    return Verdict(same and not is_moved, same and is_moved, residual.relative)


def _colours_differ(a: ReducedImage, b: ReducedImage, crop: Crop) -> bool:
    """Whether the hue differs in some cell; brightness does not count, it was compared."""
    return float(np.abs(_chroma(a, crop) - _chroma(b, inverse(crop))).max()) > _CHROMA


def _chroma(image: ReducedImage, crop: Crop) -> Grey:
    """R, G and B less their mean in 8 × 8 cells of the crop (of the whole picture where that is smaller)."""
    left, right, top, bottom = _inside(crop) * _SIDE
    cells = image.colour.resize((_CELLS, _CELLS), Image.Resampling.BOX, box=(left, top, right, bottom))
    return np.asarray(np.asarray(cells, dtype=np.float32) @ (np.eye(3, dtype=np.float32) - np.float32(1 / 3)))


def _overlay(a: ReducedImage, b: ReducedImage, crop: Crop, *, side: int) -> _Overlay:
    if (crop[1] - crop[0]) * (crop[3] - crop[2]) > 1:  # then a is the part and b the whole
        a, b, crop = b, a, inverse(crop)
    for _ in range(_REFINED):  # cut from the larger picture, so that nothing is resampled twice
        seen, shown = _common(crop, side)
        one, two = _soft(_square(a.grey, side, seen)), _soft(_square(b.grey, side, shown))
        shift, _ = refine(one, two, np.array([WHOLE], dtype=np.float32), steps=3)
        crop = _extended(seen[_STARTS] + shift[0] * _lengths(seen), shown)
    crop = _snapped(crop, a.size, b.size)
    seen, shown = _common(crop, side)
    return _Overlay(
        _square(a.grey, side, seen),
        _square(b.grey, side, shown),
        in_place=False,
        is_scaled=bool(np.abs(_lengths(crop) * a.size_of_borders - b.size_of_borders).max() > _SNAP),
        reaches_out=float(np.abs(crop - seen).max()) * side > _MOVED,
    )


def _common(crop: Crop, side: int) -> tuple[Crop, Crop]:
    """What both pictures show: which crop of the whole, and which of the part."""
    seen = _inside(crop)
    if side < _SIDE and float(np.abs(crop - seen).max()) * side <= _MOVED:  # few pixels: none is cut for so little
        return seen, np.array(WHOLE)
    return seen, (seen - crop[_STARTS]) / _lengths(crop)


def _extended(seen: Crop, shown: Crop) -> Crop:
    """Which crop of the whole the part is, from a crop of each that show the same."""
    lengths = _lengths(seen) / _lengths(shown)
    return np.asarray((seen - shown * lengths)[_STARTS] + lengths * WHOLE)


def _lengths(crop: Crop) -> Crop:
    """Width, width, height, height."""
    return np.asarray(crop[[1, 1, 3, 3]] - crop[_STARTS])


def _snapped(crop: Crop, whole: tuple[int, int], part: tuple[int, int]) -> Crop:
    """The crop on whole pixels where the part was cut out and not resized: then only compression remains."""
    left, right, top, bottom = crop
    width, height = part[0] / whole[0], part[1] / whole[1]
    if abs(right - left - width) * whole[0] > _SNAP or abs(bottom - top - height) * whole[1] > _SNAP:
        return crop
    x, y = (
        round((left + right - width) / 2 * whole[0]) / whole[0],
        round((top + bottom - height) / 2 * whole[1]) / whole[1],
    )
    return np.array([x, x + width, y, y + height])


def _inside(crop: Crop) -> Crop:
    """The crop cut to the picture."""
    return np.clip(crop, 0, 1)


def _soft(grey: Grey) -> Grey:
    return np.asarray(gaussian_filter(grey, 0.6)[None])


def _square(image: Image.Image, side: int, crop: Crop | None = None) -> Grey:
    left, right, top, bottom = WHOLE if crop is None else crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    kernel = Image.Resampling.BICUBIC if min(image.size) < side else Image.Resampling.BILINEAR
    return np.asarray(image.convert("F").resize((side, side), kernel, box=box))


def _relit(whole: Grey, part: Grey) -> Grey:
    """The whole with tone curve (cubic) and sharpness fitted to the part's; black and white pixels do not count."""
    xx, yy = np.zeros_like(whole), np.zeros_like(whole)
    xx[:, 1:-1] = whole[:, 2:] + whole[:, :-2] - 2 * whole[:, 1:-1]
    yy[1:-1] = whole[2:] + whole[:-2] - 2 * whole[1:-1]
    tone = whole / 255
    columns = np.stack([tone, np.ones_like(tone), xx / 64, yy / 64, tone**2, tone**3], axis=-1)
    counts = (part > 2) & (part < 253)
    counts[[0, -1]] = counts[:, [0, -1]] = False
    chosen = counts if counts.mean() > 0.2 else np.ones_like(counts)
    weights = np.linalg.lstsq(columns[chosen], part[chosen], rcond=None)[0]
    return np.asarray(np.clip(columns @ weights, 0, 255), dtype=np.float32)


def _tones_differ(over: _Overlay) -> bool:
    """A film's frames keep their brightness and contrast; an editor changes them."""
    brightness = abs(float(over.part.mean()) - float(over.whole.mean()))
    contrast = float(over.part.std()) / (float(over.whole.std()) + 1e-3)
    return brightness > 3 or abs(contrast - 1) > 0.04


def _allowed_shift(side: int, in_place: bool) -> float:
    if side >= _SIDE:
        return _FINE_SHIFT
    return 0.0 if in_place else _CROPPED_SHIFT


@dataclass(frozen=True)
class _Residual:
    """What the fit of two overlaid pictures does not explain, with the picture's gradients; all without the border."""

    values: Grey
    dx: Grey
    dy: Grey
    picture: Grey
    energy: float
    relative: float

    @classmethod
    def of(cls, values: Grey, picture: Grey) -> _Residual:
        dy, dx = (np.asarray(slope, dtype=np.float32) for slope in np.gradient(picture))
        values, dx, dy, picture = (array[1:-1, 1:-1] for array in (values, dx, dy, picture))
        energy = float((values * values).sum())
        relative = float(np.sqrt(energy / (float((dx * dx + dy * dy).sum()) + 1e-6)))
        return cls(values=values, dx=dx, dy=dy, picture=picture, energy=energy, relative=relative)

    @cached_property
    def spot(self) -> float:
        """Residual relative to contrast in the worst 7 × 7 patch."""
        mean = uniform_filter(self.picture, 7)
        contrast = uniform_filter(self.picture * self.picture, 7) - mean * mean
        noise = 0.02 * float(self.picture.var()) + 4
        return float(np.sqrt((uniform_filter(self.values * self.values, 7) / (contrast + noise)).max()))

    @property
    def rms(self) -> float:
        """Root mean square in grey levels."""
        return float(np.sqrt(self.energy / self.values.size))

    def is_small(self, shift: float) -> bool:
        """Equal up to rounding, or less than a shift of so many pixels would leave."""
        return self.rms < _ROUNDING or (self.relative < shift and self.spot <= _SPOT)

    def is_noise(self, motion: float, motion_fine: float, edges: float) -> bool:
        """Spread over the picture, and at most these shares of it explained by patches that moved."""
        if self.relative > _RESIDUAL or self.spot > _SPOT:
            return False
        squared = self.dx * self.dx + self.dy * self.dy
        steep = self.values[squared >= np.quantile(squared, 0.8)]
        return (
            float((steep * steep).sum()) <= edges * self.energy
            and self._explained_by_motion(2.3) < motion
            and self._explained_by_motion(1.5) < motion_fine
        )

    def _explained_by_motion(self, patch: float) -> float:
        """Share of the energy that vanishes when each patch (Gaussian, pixels) may move by its own small shift."""
        r, dx, dy = self.values, self.dx, self.dy
        xx, xy, yy, xr, yr = (gaussian_filter(p, patch) for p in (dx * dx, dx * dy, dy * dy, dx * r, dy * r))
        damping = 0.01 * float((xx + yy).mean()) + 1e-6  # keeps flat patches from moving
        xx, yy = xx + damping, yy + damping
        determinant = xx * yy - xy * xy
        u, v = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
        left = r - u * dx - v * dy
        return 1 - float((left * left).sum()) / self.energy
