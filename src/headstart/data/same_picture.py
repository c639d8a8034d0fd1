"""Whether two decoded images are one picture: a copy leaves noise behind, a second photograph leaves motion.

The two are laid over each other (crop, brightness, contrast and sharpness fitted), and what stays unexplained is looked
at. After resizing, recompression, a flip or a crop it is noise, spread over the picture. When something moved, the rest
sits on edges and points along them: moving small patches of one picture explains it. That share is the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from headstart.data.alignment import WHOLE, inverse, refine

Grey = NDArray[np.float32]
Crop = NDArray[np.float64]  # left, right, top, bottom as shares

LEAST_SIDE = 16  # pixels: with less there is nothing to tell noise from motion
_REFINED = 2  # times that the crop is cut anew and corrected
_SIDE = 64  # pixels: at this size two pictures are compared, or at the smaller one's own
_LOOK_SIDE = 192  # pixels of the shorter side that are kept of a decoded image
# limits, tuned on planted copies and on every proposed pair of hymenoptera, rps28 and rps_photos (docs/decisions)
_CHROMA = 25.0  # grey levels: a crop or an editor's light shifts the mean colour by less, another colour by more
_OUTSIDE = 0.35  # pixels that a crop may reach over the border; copies reach 0.19
_REST = 0.45  # rest against the picture's gradients; the noisiest copies (28 px, JPEG 50) have 0.33
_SPOT = 1.4  # rest against contrast in the worst 7 × 7 patch; 1.0 when something is there in one picture only
_ROUNDING = 0.2  # grey levels: equal pictures, up to the rounding of grey values
_MOTION = 0.12  # share of the rest that motion explains: JPEG noise 0.03–0.10, film frames 0.19–0.80 …
_MOTION_FINE = 0.25  # … and with smaller patches: 0.06–0.20, 0.27–0.80
_EDGES = 0.62  # share of the rest on the fifth of the pixels with the steepest gradients: 0.3–0.6 against 0.4–0.97
_FINE_SHIFT = 0.05  # rest against gradients, in 64ths of a picture: nothing moved by more than that
_CROPPED_SHIFT = 0.03  # pixels, for smaller images of one size that fit with a crop
_EDITED_SHIFT = 0.1  # pixels, where size, side or tone say that an editor was at work: resampling leaves this much
_RESIZED_MOTION, _RESIZED_MOTION_FINE = 0.45, 0.6  # between different sizes: a film's frames have one size


@dataclass(frozen=True)
class Look:
    """What is kept of a decoded image for comparing it: grey, at most 192 pixels on its shorter side, and its size."""

    grey: Image.Image
    size: tuple[int, int]
    chroma: tuple[float, float, float]  # mean of R, G, B less their common mean: what relighting leaves

    def mirrored(self) -> Look:
        """The picture with left and right exchanged."""
        return Look(self.grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT), self.size, self.chroma)


@dataclass(frozen=True)
class Comparison:
    """A verdict on two images.

    Args:
        same: one is a copy of the other.
        undecided: neither lies within the other (two crops of one photograph), or one is too small to tell.
        rest: what was left unexplained, against the picture's gradients: the smaller, the closer.
    """

    same: bool
    undecided: bool
    rest: float


@dataclass(frozen=True)
class _Overlay:
    """Two pictures laid over each other: S×S each, how far the crop reached outside (pixels), whether nothing moved."""

    whole: Grey
    part: Grey
    outside: float
    in_place: bool


def look(rgb: NDArray[np.uint8]) -> Look:
    """Keep what comparing needs of a decoded image.

    Args:
        rgb: H×W×3 uint8.
    """
    mean = rgb.reshape(-1, 3).mean(axis=0)
    red, green, blue = (float(value) for value in mean - mean.mean())
    chroma = (red, green, blue)
    image = Image.fromarray(rgb).convert("L")
    scale = _LOOK_SIDE / min(image.size)
    if scale >= 1:
        return Look(image, image.size, chroma)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return Look(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=4.0), image.size, chroma)


def compare(a: Look, b: Look, crop: Crop, *, mirrored: bool) -> Comparison:
    """Whether b is a copy of a (or of a's mirror image): resized, recompressed, cropped by up to 8 % a side, relit.

    Two photographs of a resting scene and neighbouring frames of a film are not copies, unless nothing moved by more
    than 0.05 of a 64th of the picture.

    Args:
        a: an image.
        b: another one.
        crop: which crop of a the (mirrored) b is, about: what `fit_crops` found on thumbnails.
        mirrored: whether b is turned left to right first.
    """
    if min(*a.grey.size, *b.grey.size) < LEAST_SIDE:
        return Comparison(False, True, np.inf)
    if np.abs(np.subtract(a.chroma, b.chroma)).max() > _CHROMA:
        return Comparison(False, False, np.inf)
    over = _overlay(a, b.mirrored() if mirrored else b, crop)
    predicted = _relit(over.whole, over.part)
    rest = _Rest.of(over.part - predicted, np.float32(0.5) * (over.part + predicted))
    if over.outside > _OUTSIDE:
        return Comparison(False, True, rest.relative)
    if a.size != b.size:
        same = rest.is_small(_EDITED_SHIFT) or rest.is_noise(_RESIZED_MOTION, _RESIZED_MOTION_FINE, 1.0)
    else:
        is_edited = mirrored or _tones_differ(over)
        shift = _EDITED_SHIFT if is_edited else _allowed_shift(len(over.part), over.in_place)
        same = rest.is_small(shift) or rest.is_noise(_MOTION, _MOTION_FINE, _EDGES)
    return Comparison(same, False, rest.relative)


def _overlay(a: Look, b: Look, crop: Crop) -> _Overlay:
    side = min(_SIDE, *a.grey.size, *b.grey.size)
    if a.size == b.size and np.abs(crop - WHOLE).max() * side < _OUTSIDE:
        return _Overlay(_square(a.grey, side), _square(b.grey, side), 0.0, True)
    if (crop[1] - crop[0]) * (crop[3] - crop[2]) > 1:  # then a is the part and b the whole
        a, b, crop = b, a, inverse(crop)
    part = _square(b.grey, side)
    for _ in range(_REFINED):  # cut from the larger picture, so that nothing is resampled twice
        crop, _ = _inside(crop)
        shift, _ = refine(_soft(_square(a.grey, side, crop)), _soft(part), np.array([WHOLE], dtype=np.float32), 3)
        width, height = crop[1] - crop[0], crop[3] - crop[2]
        crop = np.array([crop[0], crop[0], crop[2], crop[2]]) + shift[0] * [width, width, height, height]
    crop, outside = _inside(crop)
    return _Overlay(_square(a.grey, side, crop), part, outside * side, False)


def _inside(crop: Crop) -> tuple[Crop, float]:
    """The crop cut to the picture, and how far it reached outside."""
    cut = np.clip(crop, 0, 1)
    return cut, float(np.abs(crop - cut).max())


def _soft(grey: Grey) -> Grey:
    return np.asarray(gaussian_filter(grey, 0.6)[None])


def _square(image: Image.Image, side: int, crop: Crop | None = None) -> Grey:
    left, right, top, bottom = WHOLE if crop is None else crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    kernel = Image.Resampling.BICUBIC if min(image.size) < side else Image.Resampling.BILINEAR
    return np.asarray(image.convert("F").resize((side, side), kernel, box=box))


def _relit(whole: Grey, part: Grey) -> Grey:
    """The whole with tone curve (cubic) and sharpness fitted to the part's; pixels at black or white do not count."""
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
class _Rest:
    """What stays unexplained of two overlaid pictures, with the picture's gradients; all without the border."""

    rest: Grey
    dx: Grey
    dy: Grey
    picture: Grey
    energy: float
    relative: float

    @classmethod
    def of(cls, rest: Grey, picture: Grey) -> _Rest:
        dy, dx = (np.asarray(slope, dtype=np.float32) for slope in np.gradient(picture))
        rest, dx, dy, picture = (array[1:-1, 1:-1] for array in (rest, dx, dy, picture))
        energy = float((rest * rest).sum())
        return cls(rest, dx, dy, picture, energy, float(np.sqrt(energy / (float((dx * dx + dy * dy).sum()) + 1e-6))))

    def is_small(self, shift: float) -> bool:
        """Equal up to rounding, or less than a shift of so many pixels would leave."""
        if np.sqrt(self.energy / self.rest.size) < _ROUNDING:
            return True
        return self.relative < shift and _worst_spot(self.rest, self.picture) <= _SPOT

    def is_noise(self, motion: float, motion_fine: float, edges: float) -> bool:
        """Spread over the picture, and no more than so much of it explained by patches that moved."""
        if self.relative > _REST or _worst_spot(self.rest, self.picture) > _SPOT:
            return False
        squared = self.dx * self.dx + self.dy * self.dy
        steep = self.rest[squared >= np.quantile(squared, 0.8)]
        return (
            float((steep * steep).sum()) <= edges * self.energy
            and _explained_by_motion(self.rest, self.dx, self.dy, 2.3) < motion
            and _explained_by_motion(self.rest, self.dx, self.dy, 1.5) < motion_fine
        )


def _explained_by_motion(rest: Grey, dx: Grey, dy: Grey, patch: float) -> float:
    """Share of the rest's energy that vanishes when each patch (Gaussian, pixels) may move by its own small shift."""
    xx, xy, yy, xr, yr = (gaussian_filter(p, patch) for p in (dx * dx, dx * dy, dy * dy, dx * rest, dy * rest))
    calm = 0.01 * float((xx + yy).mean()) + 1e-6  # keeps flat patches from moving
    xx, yy = xx + calm, yy + calm
    determinant = xx * yy - xy * xy
    u, v = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
    left = rest - u * dx - v * dy
    return 1 - float((left * left).sum()) / float((rest * rest).sum())


def _worst_spot(rest: Grey, picture: Grey) -> float:
    mean = uniform_filter(picture, 7)
    contrast = uniform_filter(picture * picture, 7) - mean * mean
    noise = 0.02 * float(picture.var()) + 4
    return float(np.sqrt((uniform_filter(rest * rest, 7) / (contrast + noise)).max()))
