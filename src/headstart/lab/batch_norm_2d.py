"""Batch norm in two dimensions: one mean and one variance for each channel, over all its pixels in all images.

Claim: the statistics are taken over N, H and W, so that after the layer every channel has mean 0 and variance v/(v +
    eps) over the batch: 1 but for eps, which small variances feel.
Source: the chapter's section on batch normalisation in two dimensions; Ioffe and Szegedy 2015, section 3.2.
Settings: 200 images 3×10×10, uniform in [0, 1] from seed 39, first shuffled batch of 64.
Expected: means 0 ± 1e-6; biased variances 0.9999 ± 5e-5 (printed): uniform numbers have variance 1/12, so that v/(v +
    1e-5) is 0.99988.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.figures.panels import ImagePlot, Line, Panel, Plot
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, numbers, require, seeded

SOURCE = "chapter on transfer learning, section on batch normalisation in two dimensions; Ioffe and Szegedy 2015, 3.2"
_CHANNELS = 3
_COLORS = (ORANGE, BLUE, MUTED)


def run(*, seed: int = 39, images: int = 200, side: int = 10, batch_size: int = 64, eps: float = 1e-5) -> Experiment:
    """Send one batch of random images through the layer and compare with the formula.

    Raises:
        RecipeError: there are fewer than two images in the batch.
    """
    require(
        min(images, batch_size) >= 2, "at least two images", found=min(images, batch_size), where="images, batch_size"
    )
    settings = {"seed": seed, "images": images, "side": side, "batch_size": batch_size, "eps": eps}
    with seeded(seed):
        pixels = torch.rand((images, _CHANNELS, side, side))
        labels = torch.randint(2, (images, 1))
        loader = DataLoader(TensorDataset(pixels, labels), batch_size=batch_size, shuffle=True)
        batch = next(iter(loader))[0]
    normed = nn.BatchNorm2d(_CHANNELS, eps=eps, affine=False, momentum=None)(batch)
    return Experiment(
        "batch_norm_2d",
        SOURCE,
        settings,
        numbers=_numbers(batch, normed, eps),
        tables=(_table(batch, normed),),
        interpretation=_interpretation(batch, normed),
        panels=_panels(batch, normed),
    )


def _numbers(batch: Tensor, normed: Tensor, eps: float) -> tuple[Number, ...]:
    by_hand = (batch - batch.mean((0, 2, 3), keepdim=True)) / (_variance(batch) + eps).sqrt()[:, None, None]
    shrunk = (_variance(batch) / (_variance(batch) + eps)).tolist()
    variances = _variance(normed).tolist()
    return (
        *numbers("mean after it, channel", normed.mean((0, 2, 3)).tolist(), (0.0,) * _CHANNELS, tolerance=1e-6),
        *numbers("biased variance against v/(v + eps), channel", variances, shrunk, tolerance=1e-5),
        *numbers("biased variance is near 1, channel", variances, (1.0,) * _CHANNELS, tolerance=1e-3),
        *numbers("biased variance as printed, channel", variances, (0.9999,) * _CHANNELS, tolerance=5e-5, printed=True),
        Number("largest difference to the formula", float((by_hand - normed).abs().max()), 0.0, 1e-5),
    )


def _variance(batch: Tensor) -> Tensor:
    return batch.var((0, 2, 3), unbiased=False)


def _table(batch: Tensor, normed: Tensor) -> Table:
    columns = ("channel", "mean before", "variance before", "mean after", "variance after")
    values = (batch.mean((0, 2, 3)), _variance(batch), normed.mean((0, 2, 3)), _variance(normed))
    rows = tuple((i + 1, *(float(value[i]) for value in values)) for i in range(_CHANNELS))
    return Table(f"Statistics over {len(batch)} images of {batch.shape[2]}×{batch.shape[3]} pixels", columns, rows)


def _interpretation(batch: Tensor, normed: Tensor) -> tuple[str, ...]:
    pixels = normed.mean(0)  # C×H×W
    return (
        f"One channel has {batch[:, 0].numel():,} values in the batch. All of them together have mean 0 and variance "
        f"{float(_variance(normed)[0]):.4f}; single pixels have means from {float(pixels.min()):.2f} to "
        f"{float(pixels.max()):.2f} over the images.",
    )


def _panels(batch: Tensor, normed: Tensor) -> tuple[Panel, ...]:
    image = (normed[0] - normed[0].min()) / (normed[0].max() - normed[0].min())
    return (
        ImagePlot("An image of the batch", batch[0].permute(1, 2, 0).numpy()),
        ImagePlot("After batch norm, rescaled", image.permute(1, 2, 0).numpy()),
        _histogram("Pixels before", batch, (0.0, 1.0)),
        _histogram("Pixels after", normed, (-2.0, 2.0)),
    )


def _histogram(title: str, batch: Tensor, limits: tuple[float, float]) -> Plot:
    bins, (low, high) = 24, limits
    width = (high - low) / bins
    middles = [low + width * (i + 0.5) for i in range(bins)]
    lines = tuple(
        Line(
            f"channel {i + 1}",
            middles,
            (torch.histc(batch[:, i], bins, low, high)).tolist(),
            _COLORS[i],
            style="steps",
        )
        for i in range(_CHANNELS)
    )
    return Plot(title, lines, x_label="value", y_label="pixels")
