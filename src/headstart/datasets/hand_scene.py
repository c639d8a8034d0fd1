"""What surrounds a drawn hand: backdrop, skin and cloth, lamp and shadows, and the camera's imperfections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from headstart.datasets.hand_relief import Relief
from headstart.datasets.hand_shapes import Array, unit, vector

_BACKDROPS = ("plain", "gradient", "texture", "clutter")
# skin of the back of the hand from light to deep, sRGB
_TONES = ((243, 208, 186), (231, 184, 152), (208, 154, 116), (172, 116, 82), (126, 80, 56), (88, 57, 43))
_PALMS = ((246, 208, 190), (240, 192, 166), (226, 172, 140), (206, 150, 120), (178, 126, 102), (156, 110, 92))


@dataclass(frozen=True)
class Skin:
    """Colours of one hand and its sleeve; `tone` from 0 (light) to 1 (deep), colours sRGB in [0, 1]."""

    tone: float
    flush: float
    polish: Array | None
    cloth: Array
    stripe: Array
    stripe_width: float  # palm widths; 0 for plain cloth


@dataclass(frozen=True)
class Light:
    """One lamp: unit vector towards it, its colour, and the ambient light."""

    towards: Array
    lamp: Array
    ambient: Array
    gap: float  # palm widths between hand and wall


def between(colours: tuple[tuple[int, int, int], ...], share: float) -> Array:
    """The colour at a share in [0, 1] along a sequence of colours, as linear light."""
    stops = np.array(colours, np.float32) / 255
    position = float(np.clip(share, 0, 1)) * (len(stops) - 1)
    low = min(int(position), len(stops) - 2)
    colour = stops[low] + (stops[low + 1] - stops[low]) * np.float32(position - low)
    return np.asarray(colour * colour, np.float32)


def soft_noise(rng: np.random.Generator, side: int, cells: int) -> Array:
    """Smooth noise S×S around 0, about `cells` blobs across."""
    small = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    return _resized(small, side)


def _resized(values: Array, side: int) -> Array:
    return np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC), np.float32)


def _blurred(values: Array, radius: float) -> Array:
    """Wide blur, made on a small copy."""
    side = values.shape[0]
    small = max(4, round(side / max(1.0, radius)))
    image = Image.fromarray(values).resize((small, small), Image.Resampling.BOX)
    # not bicubic: its overshoot would draw dots along every cliff
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def backdrop(rng: np.random.Generator, side: int) -> Array:
    """A wall, cloth, table or heap of things behind the hand, 3×S×S linear light."""
    kind = _BACKDROPS[int(rng.integers(len(_BACKDROPS)))]
    one, other = _wall_colour(rng), _wall_colour(rng)
    if kind == "clutter":
        return _clutter(rng, side, one)
    share = np.zeros((side, side), np.float32)
    if kind == "gradient":
        share = _ramp(rng, side)
    elif kind == "texture":
        share, other = _texture(rng, side), one * np.float32(rng.uniform(0.35, 0.75))
    mottle = 1 + np.float32(0.03) * soft_noise(rng, side, 5)
    return np.asarray((one[:, None, None] + (other - one)[:, None, None] * share) * mottle, np.float32)


def _wall_colour(rng: np.random.Generator) -> Array:
    """A colour as in a home: mostly pale and grey, sometimes strong, sometimes close to skin."""
    grey = rng.beta(1.6, 1.0)
    tint = rng.uniform(-1, 1, 3) * rng.choice([0.04, 0.04, 0.12, 0.28])
    colour = np.clip(0.12 + 0.85 * grey + tint * (0.4 + 0.6 * grey), 0.04, 0.98)
    return np.asarray(colour * colour, np.float32)


def _ramp(rng: np.random.Generator, side: int) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    t = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    ramp = t[None, :] * np.float32(np.cos(angle)) + t[:, None] * np.float32(np.sin(angle)) + np.float32(0.5)
    return np.asarray(np.clip(ramp, 0, 1), np.float32)


def _texture(rng: np.random.Generator, side: int) -> Array:
    """Weave, boards or plaster, S×S in [0, 1]."""
    across = _ramp(rng, side)
    style = int(rng.integers(3))
    if style == 0:
        waves = across * np.float32(rng.uniform(18, 70)) + 0.35 * soft_noise(rng, side, 4)
        return np.asarray((0.5 + 0.5 * np.sin(waves)) ** np.float32(rng.uniform(1, 4)), np.float32)
    if style == 1:
        along = across * np.float32(rng.uniform(3, 6))
        grain = np.sin((along + 0.25 * soft_noise(rng, side, 3)) * 19)
        return np.asarray(0.35 + 0.25 * grain + (np.mod(along, 1) < 0.05) * 0.5, np.float32)
    rough = sum(
        soft_noise(rng, side, cells) * np.float32(weight) for cells, weight in ((6, 0.2), (20, 0.16), (60, 0.12))
    )
    return np.asarray(np.clip(0.4 + rough, 0, 1), np.float32)


def _clutter(rng: np.random.Generator, side: int, ground: Array) -> Array:
    """Books, cups and boxes out of focus."""
    picture = Image.new("RGB", (side, side), _bytes(ground))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 13))):
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        wide, high = rng.uniform(0.06, 0.32, 2) * side
        colour = _bytes(_wall_colour(rng))
        if rng.random() < 0.4:
            pen.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)
        else:
            angle = rng.uniform(0, np.pi)
            c, s = np.cos(angle), np.sin(angle)
            corners = [
                (x + c * u * wide - s * v * high, y + s * u * wide + c * v * high)
                for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
            pen.polygon(corners, fill=colour, outline=_bytes(_wall_colour(rng)))
    blurred = picture.filter(ImageFilter.GaussianBlur(side * float(rng.uniform(0.004, 0.022))))
    values = np.asarray(blurred, np.float32).transpose(2, 0, 1) / np.float32(255)
    return np.ascontiguousarray(values * values)


def _bytes(linear: Array) -> tuple[int, int, int]:
    red, green, blue = (round(float(v) ** 0.5 * 255) for v in np.clip(linear, 0, 1))
    return red, green, blue


def lamp(rng: np.random.Generator) -> Light:
    """A lamp from somewhere above, warm or cold, with little or much ambient light."""
    angle = rng.uniform(0, 2 * np.pi)
    low = rng.uniform(0.45, 1.0)
    towards = unit(vector(np.cos(angle) * low, -abs(np.sin(angle)) * low - 0.15, 1.0))
    warmth = vector(1, 1, 1) + vector(0.09, 0.0, -0.11) * np.float32(rng.uniform(-0.7, 1))
    intensity = np.float32(rng.uniform(0.75, 1.0))
    ambient = np.float32(rng.uniform(0.3, 0.5))
    return Light(towards, warmth * intensity, (vector(2, 2, 2) - warmth) * ambient, float(rng.uniform(0.1, 0.7)))


def paint(relief: Relief, skin: Skin, light: Light, *, wall: Array, scale: float, rng: np.random.Generator) -> Array:
    """The lit picture, 3×S×S sRGB in [0, 1].

    Args:
        wall: backdrop as linear light.
        scale: pixels in a palm width.
    """
    side = relief.height.shape[0]
    is_solid = relief.is_hand | relief.is_sleeve
    floor = np.float32(np.min(relief.height[is_solid]) - light.gap * scale)
    height = np.where(is_solid, relief.height, floor)
    shadow = _shadow(height, light.towards, scale) * np.where(is_solid, np.float32(0.7), np.float32(0.85))
    bumps = (
        relief.height - relief.fold * np.float32(scale * 0.014) + soft_noise(rng, side, 48) * np.float32(scale * 0.0012)
    )
    normal = _normals(np.where(is_solid, bumps, floor), is_solid)
    lit = np.clip((_dot(light.towards, normal) + 0.22) / 1.22, 0, 1) * (1 - shadow)
    ambient = (1 - 0.6 * _hollow(height, scale)) * (0.6 + 0.4 * normal[2])
    shine = _shine(normal, light, relief) * lit
    # light scatters in skin before it leaves, so that shadows on it are red
    dark = np.where(relief.is_hand, 1 - lit, 0)
    surface = np.where(is_solid, _surface(relief, skin, scale, rng=rng), wall)
    picture = np.empty_like(wall)
    for channel, bleed in enumerate((0.0, 0.1, 0.15)):
        arriving = lit * light.lamp[channel] + ambient * light.ambient[channel]
        picture[channel] = surface[channel] * (1 - np.float32(bleed) * dark) * arriving + shine
    # film's shoulder: bright skin keeps its shape instead of burning out
    over = np.maximum(picture - np.float32(0.55), 0)
    bent = np.minimum(picture, np.float32(0.55)) + np.float32(0.45) * (1 - np.exp(over / np.float32(-0.45)))
    return np.asarray(np.sqrt(bent), np.float32)


def _surface(relief: Relief, skin: Skin, scale: float, *, rng: np.random.Generator) -> Array:
    """Colour of skin, nails and cloth without light, 3×S×S linear."""
    side = relief.height.shape[0]
    back, inside = between(_TONES, skin.tone), between(_PALMS, skin.tone)
    nail = skin.polish if skin.polish is not None else back * np.float32(0.55) + vector(0.34, 0.25, 0.23)
    red = (
        np.float32(skin.flush) * (0.5 * soft_noise(rng, side, 7) + 0.25 * soft_noise(rng, side, 22)) + 0.5 * relief.fold
    )
    crease = 1 - relief.fold * np.float32(0.3)
    is_stripe = _stripes(skin, scale, side)
    colour = np.empty((3, side, side), np.float32)
    for channel, redness in enumerate((-0.03, -0.12, -0.13)):
        tone = (
            (back[channel] + (inside[channel] - back[channel]) * relief.palmar)
            * (1 + np.float32(redness) * red)
            * crease
        )
        tone += (nail[channel] - tone) * relief.nail
        cloth = np.where(is_stripe, skin.stripe[channel], skin.cloth[channel])
        colour[channel] = np.where(relief.is_sleeve, cloth, tone)
    return colour


def _stripes(skin: Skin, scale: float, side: int) -> NDArray[np.bool_]:
    """Which rows S×1 of the cloth have the second colour."""
    if not skin.stripe_width:
        return np.zeros((side, 1), np.bool_)
    return np.asarray(np.mod(np.arange(side)[:, None] / (scale * skin.stripe_width), 1) < 0.4)


def _normals(height: Array, is_solid: NDArray[np.bool_]) -> Array:
    """Unit normals 3×S×S; steep edges are limited so that outlines stay thin, walls face the viewer."""
    normal = np.ones((3, *height.shape), np.float32)
    normal[1], normal[0] = np.gradient(-height)
    normal[:2] *= is_solid
    steep = np.sqrt(normal[0] ** 2 + normal[1] ** 2)
    held = np.minimum(steep, np.float32(2.5))
    normal[:2] *= held / np.maximum(steep, np.float32(1e-6))
    normal /= np.sqrt(1 + held * held)
    return normal


def _dot(fixed: Array, field: Array) -> Array:
    return np.asarray(field[0] * fixed[0] + field[1] * fixed[1] + field[2] * fixed[2], np.float32)


def _shadow(height: Array, towards: Array, scale: float) -> Array:
    """Share of the lamp's light that is blocked, S×S: steps towards the lamp, on a quarter of the pixels."""
    coarse = height[::2, ::2]
    side, unit_px = coarse.shape[0], scale / 2
    hidden = np.zeros_like(coarse)
    flat = float(np.sqrt(towards[0] ** 2 + towards[1] ** 2))
    padded = np.pad(coarse, side // 2, mode="edge")
    for share in (0.04, 0.08, 0.13, 0.19, 0.27, 0.37, 0.5, 0.66, 0.86, 1.1):
        reach = min(share * unit_px, side // 2 - 1.0)
        dx, dy = (round(float(towards[axis]) / flat * reach) + side // 2 for axis in (0, 1))
        rise = 2 * reach * float(towards[2]) / flat  # heights are in full pixels
        above = padded[dy : dy + side, dx : dx + side] - coarse - np.float32(rise + (0.05 + 0.1 * share) * scale)
        # further away the lamp's own width softens the edge
        hidden = np.maximum(hidden, np.clip(above / np.float32(scale * (0.06 + 0.15 * share)), 0, 1))
    return np.clip(_resized(_resized(hidden, side // 2), height.shape[0]), 0, 1)


def _hollow(height: Array, scale: float) -> Array:
    """How much each point lies below its neighbours, S×S in [0, 1]: the dark between two fingers."""
    deep = np.zeros_like(height)
    for reach, weight in ((0.05, 0.9), (0.16, 0.6), (0.4, 0.3)):
        bounded = np.clip(_blurred(height, reach * scale) - height, 0, scale * reach * 2)
        deep += np.float32(weight / (scale * reach * 2)) * bounded
    return np.asarray(np.clip(deep * np.float32(1.5), 0, 1), np.float32)


def _shine(normal: Array, light: Light, relief: Relief) -> Array:
    """Reflection of the lamp: broad and faint on skin, small and bright on nails, none on cloth."""
    half = unit(light.towards + vector(0, 0, 1))
    specular = np.clip(_dot(half, normal), 0, 1)
    skin = 0.07 * specular**14 * (1 - 0.6 * relief.palmar)
    return np.asarray((skin + 0.3 * relief.nail * specular**30) * relief.is_hand, np.float32)


def photograph(picture: Array, size: int, rng: np.random.Generator) -> Image.Image:
    """The picture as taken by a camera of size × size pixels: exposure, dark corners, a little blur, noise."""
    t = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)
    corners = 1 - np.float32(rng.uniform(0, 0.22)) * (t[None, :] ** 2 + t[:, None] ** 2) / 2
    exposed = picture * (corners * np.float32(rng.uniform(0.86, 1.06) * 255))
    image = Image.fromarray(np.asarray(np.clip(exposed + 0.5, 0, 255), np.uint8).transpose(1, 2, 0).copy())
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    blur = float(rng.choice([0.0, 0.0, 0.35, 0.7])) * size / 128
    image = image.filter(ImageFilter.GaussianBlur(blur)) if blur else image
    grain = rng.standard_normal((size, size, 3), np.float32) * np.float32(rng.choice([1.0, 2.5, 5.0]))
    return Image.fromarray(np.asarray(np.clip(np.asarray(image, np.float32) + grain + 0.5, 0, 255), np.uint8))
