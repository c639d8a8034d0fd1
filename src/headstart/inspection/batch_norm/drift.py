"""Batch-norm lens: the statistics that a network stored in training against those of the user's images, layer by layer.

Early layers that differ speak of colour, contrast or a wrong normalisation, late ones of other things in the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import DataError
from headstart.figures.batch_norm_drift import DriftProfile, drift_figure
from headstart.inspection.batch_norm.activations_after import activations_after
from headstart.inspection.batch_norm.channel_moments import ChannelMoments, drawn_shares, gather, has_statistics, stored
from headstart.inspection.batch_norm.drift_interpretation import diagnosis
from headstart.inspection.batch_norm.layer_drift import DULL, LayerDrift, layer_drift
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table

_WORST = 6  # channels that are named
_NAMED = 3  # images named for each


@dataclass(frozen=True)
class WorstChannel:
    """A channel far from what is stored, and the images that take it farthest, by their places."""

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
        model: its name. images: how many were shown.
        layers: in the order in which they run; empty: not checkable.
        worst: the channels farthest off. check: of the preprocessing; None where the images came as pixels alone.
        thumbnails: name of an image → H×W×3 uint8, of the images in `worst`; empty for pixels alone.
    """

    model: str
    images: int
    layers: tuple[LayerDrift, ...]
    worst: tuple[WorstChannel, ...]
    check: PreprocessingCheck | None
    thumbnails: Mapping[str, NDArray[np.uint8]]

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Batch norm of {self.model} on {self.images} images"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """The diagnosis, and what to do."""
        if not self.layers:
            return (f"Not checkable: {self.model} has no batch norm that keeps statistics.",)
        return diagnosis(self.layers, self.images, self.check)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every layer's drift with its floor, and the worst channels."""
        if not self.layers:
            return ()
        heads = ("layer", "|shift|", "floor", "ln variance", "divergence", "floor", "dead", "full", "silent")
        table = Table("Drift of each batch norm, medians over its channels", heads, tuple(map(_row, self.layers)), 3)
        rows = tuple(
            (f"{w.layer} #{w.channel}", w.shift, w.log_variance, w.divergence, ", ".join(w.names)) for w in self.worst
        )
        return (
            table,
            Table("Channels farthest off", ("channel", "shift", "ln variance", "divergence", "images"), rows, 2),
        )

    @property
    def description(self) -> str:
        """What the figure shows."""
        if not self.layers:
            return "No picture: there is no batch norm to look at."
        first, most = self.layers[0], max(self.layers, key=lambda layer: layer.typical_shift)
        return (
            f"Median shift of the means over {len(self.layers)} batch norms in their order, from "
            f"{first.typical_shift:.2f} deviations at {first.layer} to {most.typical_shift:.2f} at most, at "
            f"{most.layer}; the same for the logarithm of the variance; images that take the worst channels farthest."
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

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values, the thumbnails left out."""
        return {
            "model": self.model,
            "images": self.images,
            "layers": [layer.to_dict() for layer in self.layers],
            "worst": [{**vars(one), "images": list(one.images), "names": list(one.names)} for one in self.worst],
            "check": self.check.to_dict() if self.check else None,
            "reading": list(self.interpretation),
        }


def batch_norm_drift(model: Model, images: InspectedImages | Tensor, *, seed: int = 0) -> BatchNormDrift:
    """Compare the statistics that each batch norm stored with those of what it gets from these images.

    The network runs in eval mode, so that a layer's drift is not hidden by the ones before it, and what enters each
    batch norm is summed up image by image: N×C numbers, no maps are kept.

    Args:
        images: N of them; with fewer than some thirty the floors are high.
        seed: of the draws behind the floors.

    Raises:
        DataError: there are no images. BackboneError: activations are not finite.

    Source: Schneider et al. 2020, arXiv:2006.16971 (shift of statistics as a measure of the domain); Li et al. 2016,
        arXiv:1603.04779. The floors are a bootstrap over images, centred on them.
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    norms = {name: module for name, module in subject.network.named_modules() if has_statistics(module)}
    if not norms:
        return BatchNormDrift(subject.name, len(images), (), (), None, {})
    with subject.eval_mode(), torch.inference_mode():
        moments = gather(subject.network, norms, images.batches())
        after = activations_after(subject.network, norms, images.pixels[:1])
    shares = drawn_shares(len(images), seed)
    layers = tuple(
        layer_drift(name, norms[name], after.get(name, ""), found, shares) for name, found in moments.items()
    )
    worst = _worst(layers, norms, moments, images)
    return BatchNormDrift(
        subject.name, len(images), layers, worst, _check(model, subject, images), _small(images, worst)
    )


def _worst(
    layers: tuple[LayerDrift, ...],
    norms: Mapping[str, nn.Module],
    moments: Mapping[str, ChannelMoments],
    images: InspectedImages,
) -> tuple[WorstChannel, ...]:
    """Of each layer the channel whose mean is farthest off, the farthest of them: more of one layer say the same."""
    found = []
    for layer in layers:
        kept = stored(norms[layer.layer])[1]
        usable = (kept > DULL * np.median(kept)) & ~layer.silent
        channel = int(np.where(usable, np.abs(layer.shift), -1.0).argmax())
        direction = 1.0 if layer.shift[channel] >= 0 else -1.0
        means = moments[layer.layer].mean[:, channel]
        places: tuple[int, ...] = tuple(np.argsort(-direction * means, kind="stable")[:_NAMED].tolist())
        shift, ratio, divergence = (float(v[channel]) for v in (layer.shift, layer.log_variance, layer.divergence))
        names = tuple(images.names[i] for i in places)
        found.append(WorstChannel(layer.layer, channel, shift, ratio, divergence, places, names))
    return tuple(sorted(found, key=lambda one: -abs(one.shift))[:_WORST])


def _check(model: Model, subject: InspectedModel, images: InspectedImages) -> PreprocessingCheck | None:
    if images.prepared is None or subject.preprocess is None or len(images) < 2:
        return None
    try:
        return check_preprocessing(model, images.prepared, pixels=images.pixels)
    except DataError as error:  # pixels that were augmented: the drift can be had all the same
        return PreprocessingCheck("not checkable", f"the pixels are not the prepared images ({error.found})")


def _small(images: InspectedImages, worst: tuple[WorstChannel, ...]) -> dict[str, NDArray[np.uint8]]:
    if images.prepared is None:
        return {}
    places = sorted({place for one in worst for place in one.images})
    return {images.names[i]: images.prepared[i].permute(1, 2, 0).cpu().numpy() for i in places}


def _row(layer: LayerDrift) -> tuple[str | int | float, ...]:
    middle = float(np.median(layer.log_variance))
    counts = (int(flags.sum()) for flags in (layer.dead, layer.saturated, layer.silent))
    return (layer.layer, layer.typical_shift, layer.shift_floor, middle, layer.score, layer.floor, *counts)
