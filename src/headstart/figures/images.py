"""Images in a row on one common scale: greys for one channel, colours for three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from headstart.errors import TrainingError, shown
from headstart.figures.style import GRID, MUTED, TEXT, shorten

Numbers = NDArray[Any]


def draw_image_row(
    axs: Sequence[Axes] | NDArray[Any],
    x: Any,
    *,
    y: Sequence[object] | None = None,
    yhat: Sequence[object] | None = None,
    layer_name: str = "",
    title: str | None = None,
) -> None:
    """Draw one image on each axes, all on one scale: the smallest number is black, the largest white.

    Axes beyond the last image are switched off.

    Args:
        x: N×H×W maps, N×1×H×W, N×D vectors, or N×3×H×W or N×H×W×3 colours (bytes, or numbers of any range).
        y, yhat: label and prediction of each image, written below it.
        layer_name: written before the row, with its height and width. title: above each image, with its number.

    Raises:
        TrainingError: the images have another shape.
    """
    images = as_images(x)[: len(axs)]
    limits = value_range(images)
    for number, axes in enumerate(axs):
        if number >= len(images):
            axes.set_axis_off()
            continue
        draw_image(axes, images[number], limits)
        if title is not None:
            axes.set_title(f"{shown(title)} #{number}", fontsize=10, color=TEXT, parse_math=False)
        below = [*_captions("Label", y, number), *_captions("Predicted", yhat, number)]
        if below:
            axes.set_xlabel("\n".join(below), fontsize=9, color=MUTED, parse_math=False)
    if len(images) and layer_name:
        height, width = images.shape[1:3]
        words = "\n".join([*map(shorten, layer_name.split("\n")), f"{height}×{width}"])
        axs[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=9, color=TEXT, parse_math=False)


def as_images(x: Any) -> Numbers:
    """Numbers as N×H×W maps or N×H×W×3 colours in [0, 1]; a vector becomes a map of height 1.

    Raises:
        TrainingError: the shape is none of these.
    """
    values = np.asarray(x)
    if values.dtype == np.uint8 and 3 in values.shape[1:]:
        values = values / 255.0
    values = values.astype(np.float64)
    if values.ndim == 2:
        return values[:, np.newaxis]
    if values.ndim == 3:
        return values
    if values.ndim == 4 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim == 4 and 3 in (values.shape[1], values.shape[3]):
        return _stretched(values.transpose(0, 2, 3, 1) if values.shape[1] == 3 else values)
    raise TrainingError(
        expected="images N×H×W, N×1×H×W, N×3×H×W, or vectors N×D", found=f"{values.shape}", where="visualize"
    )


def value_range(images: Numbers, *, symmetric: bool = False) -> tuple[float, float]:
    """Smallest and largest finite number; symmetric: grey in the middle is exactly 0."""
    finite = images[np.isfinite(images)]
    if not finite.size:
        return 0.0, 1.0
    if symmetric:
        largest = float(np.abs(finite).max()) or 1.0
        return -largest, largest
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def draw_image(axes: Axes, image: Numbers, limits: tuple[float, float]) -> None:
    """One map in greys between two limits, or one image in its colours, pixel by pixel, in a thin frame."""
    # cells of a vector would be too low to see with equal sides
    aspect: Literal["auto", "equal"] = "auto" if image.shape[0] == 1 < image.shape[1] else "equal"
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest", aspect=aspect)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _stretched(values: Numbers) -> Numbers:
    """Normalised pixels (below 0, above 1) are stretched into [0, 1], all by the same amount."""
    low, high = value_range(values)
    inside = values if low >= 0 and high <= 1 else (values - low) / (high - low)
    return np.nan_to_num(inside).clip(0, 1)


def _captions(name: str, values: Sequence[object] | None, number: int) -> list[str]:
    return [f"{name}: {_caption(values[number])}"] if values is not None and number < len(values) else []


def _caption(value: object) -> str:
    """A class name or number as it is drawn; a number in an array of its own loses the array."""
    plain = np.asarray(value)
    return shorten(f"{plain.item():.4g}" if plain.size == 1 and plain.dtype.kind == "f" else str(plain.squeeze()))
