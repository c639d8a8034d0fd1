"""Batch-norm drift: the statistics that a network stored in training against those of your images, layer by layer.

Drift in early layers comes from colour, contrast or wrong normalisation, drift in late ones from other image content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import DataError
from headstart.figures.batch_norm_drift import DriftProfile, drift_figure
from headstart.inspection.batch_norm.channel_moments import (
    ChannelMoments,
    bootstrap_weights,
    gather_moments,
    has_statistics,
    stored_statistics,
)
from headstart.inspection.batch_norm.drift_interpretation import interpret_drift
from headstart.inspection.batch_norm.layer_drift import DULL, LayerDrift, activations_after, layer_drift
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.inspection.graph import record_graph
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted

_WORST = 6  # channels that are named
_NAMED = 3  # images named for each


@dataclass(frozen=True)
class WorstChannel:
    """A channel far from its stored statistics, and the images that take it farthest.

    Args:
        images: their indices. names: their names.
    """

    layer: str
    channel: int
    shift: float
    log_variance: float
    divergence: float
    images: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BatchNormDrift(InspectionResult):
    """How far a network's stored statistics are from those of some images.

    Args:
        model: its name.
        images: how many were analysed.
        layers: in the order in which they run; empty: not checkable.
        worst: the channels farthest off.
        check: of the preprocessing; None where the images came as pixels alone.
        thumbnails: name of an image → H×W×3 uint8, of the images in `worst`; empty for pixels alone.
    """

    model: str
    images: int
    layers: tuple[LayerDrift, ...] = ()
    worst: tuple[WorstChannel, ...] = ()
    check: PreprocessingCheck | None = None
    thumbnails: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """Of the page's section."""
        return f"Batch-norm drift of {self.model} on {counted(self.images, 'image')}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What the drift means, and what to do."""
        if not self.layers:
            return (f"Not checkable: {self.model} has no batch norm that keeps statistics.",)
        return interpret_drift(self.layers, self.images, self.check)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every layer's drift with its floor, and the worst channels."""
        if not self.layers:
            return ()
        columns = ("layer", "|shift|", "floor", "ln variance", "divergence", "floor", "dead", "saturated", "silent")
        rows = tuple(
            (f"{w.layer} #{w.channel}", w.shift, w.log_variance, w.divergence, ", ".join(w.names)) for w in self.worst
        )
        worst = ("channel", "shift", "ln variance", "divergence", "images")
        return (
            Table("Drift of each batch norm, medians over its channels", columns, tuple(map(_row, self.layers)), 3),
            Table("Channels farthest from their stored statistics", worst, rows, 2),
        )

    @property
    def description(self) -> str:
        """What the figure shows."""
        if not self.layers:
            return "No figure: there is no batch norm."
        first, most = self.layers[0], max(self.layers, key=lambda layer: layer.typical_shift)
        return (
            f"Median shift of the means over {counted(len(self.layers), 'batch norm')} in their order, from "
            f"{first.typical_shift:.2f} standard deviations at {first.layer} to at most {most.typical_shift:.2f} at "
            f"{most.layer}; the same for the logarithm of the variance; the images that take the worst channels "
            "farthest."
        )

    def figure(self) -> Figure:
        """Profiles of shift and variance over the depth, and the images of the worst channels."""
        profile = DriftProfile(
            layers=tuple(layer.layer for layer in self.layers),
            shift=tuple(layer.typical_shift for layer in self.layers),
            high=tuple(float(np.quantile(np.abs(layer.shift), 0.9)) for layer in self.layers),
            floor=tuple(layer.shift_floor for layer in self.layers),
            variance=tuple((*map(float, np.quantile(layer.log_variance, (0.1, 0.5, 0.9))),) for layer in self.layers),
        )
        worst = self.worst if self.thumbnails else ()
        rows = [(f"{w.layer} #{w.channel}", [self.thumbnails[name] for name in w.names]) for w in worst]
        return drift_figure(profile, rows)


def batch_norm_drift(model: Model, images: InspectedImages | Tensor, *, seed: int = 0) -> BatchNormDrift:
    """Compare the statistics that each batch norm stored with those of its input on these images.

    The network runs in eval mode, so that a layer's drift does not hide that of the layers after it. What enters each
    batch norm is summed up image by image: N×C numbers, no maps are kept.

    Args:
        images: N of them; with fewer than some thirty the floors are high.
        seed: of the draws behind the floors.

    Raises:
        DataError: there are no images.
        BackboneError: activations are not finite.

    Source: Schneider et al. 2020, arXiv:2006.16971 (shift of statistics as a measure of the domain); Li et al. 2016,
        arXiv:1603.04779. The floors are a bootstrap over images, centred on them.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    norms = {name: module for name, module in inspected.network.named_modules() if has_statistics(module)}
    if not norms:
        return BatchNormDrift(inspected.name, len(images))
    with inspected.eval_mode():
        with torch.inference_mode():
            moments = gather_moments(inspected.network, norms, images.batches())
        after = activations_after(record_graph(inspected.network, images.pixels[:1], on_meta=False))
    weights = bootstrap_weights(len(images), seed)
    layers = tuple(
        layer_drift(name, norms[name], after.get(name, ""), moments=found, weights=weights)
        for name, found in moments.items()
    )
    worst = tuple(sorted((_worst_channel(layer, norms, moments, images) for layer in layers), key=_by_shift)[:_WORST])
    return BatchNormDrift(
        inspected.name,
        len(images),
        layers=layers,
        worst=worst,
        check=_check(inspected, model, images),
        thumbnails=_thumbnails(images, worst),
    )


# one layer, out of the measurements of all
def _worst_channel(
    layer: LayerDrift, norms: Mapping[str, nn.Module], moments: Mapping[str, ChannelMoments], images: InspectedImages
) -> WorstChannel:
    """The channel of a layer whose mean is farthest off; one for each layer, as others of it tend to say the same."""
    variance = stored_statistics(norms[layer.layer])[1]
    usable = (variance > DULL * np.median(variance)) & ~layer.silent
    channel = int(np.where(usable, np.abs(layer.shift), -1.0).argmax())
    direction = 1.0 if layer.shift[channel] >= 0 else -1.0
    means = moments[layer.layer].mean[:, channel]
    indices: tuple[int, ...] = tuple(np.argsort(-direction * means, kind="stable")[:_NAMED].tolist())
    return WorstChannel(
        layer=layer.layer,
        channel=channel,
        shift=float(layer.shift[channel]),
        log_variance=float(layer.log_variance[channel]),
        divergence=float(layer.divergence[channel]),
        images=indices,
        names=tuple(images.names[i] for i in indices),
    )


def _by_shift(worst: WorstChannel) -> float:
    return -abs(worst.shift)


def _check(inspected: InspectedModel, model: Model, images: InspectedImages) -> PreprocessingCheck | None:
    if images.prepared is None or inspected.preprocess is None or len(images) < 2:
        return None
    try:
        return check_preprocessing(model, images.prepared, pixels=images.pixels)
    except DataError as error:  # pixels that were augmented: their drift can be measured all the same
        return PreprocessingCheck("not checkable", f"the pixels are not the prepared images ({error.found})")


def _thumbnails(images: InspectedImages, worst: tuple[WorstChannel, ...]) -> dict[str, NDArray[np.uint8]]:
    if images.prepared is None:
        return {}
    indices = sorted({index for one in worst for index in one.images})
    return {images.names[i]: images.prepared[i].permute(1, 2, 0).cpu().numpy() for i in indices}


def _row(layer: LayerDrift) -> tuple[str | int | float, ...]:
    middle = float(np.median(layer.log_variance))
    counts = (int(flags.sum()) for flags in (layer.dead, layer.saturated, layer.silent))
    return (layer.layer, layer.typical_shift, layer.shift_floor, middle, layer.score, layer.floor, *counts)
