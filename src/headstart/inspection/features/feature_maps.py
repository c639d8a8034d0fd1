"""Feature maps: the channels of each stage on one image, and the stage at which the classes separate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import BackboneError, DataError, shown
from headstart.evaluation.intervals import Interval, wilson
from headstart.figures.stage_maps import MapRow, stage_maps_figure
from headstart.inspection.features.class_distances import between_classes, classes_of, nearest_mean
from headstart.inspection.features.stage_outputs import is_map, pooled, watch_stages
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.plain import to_plain
from headstart.wording import counted, listed, percent

Map = NDArray[np.floating]

SILENT = 0.01
"""Of the median channel's range: a channel whose values range over less is constant, over positions and images."""

MANY_SILENT = 0.1  # share of a stage's channels from which the interpretation names the stage
_CHANNELS = 4  # drawn of a stage
_CLASSES = 5  # whose mean maps are drawn
_MOST_SUMS = 4_000_000  # numbers kept of a stage for the class means, 16 MB


@dataclass(frozen=True, eq=False)
class StageMaps:
    """The output of one stage on N images.

    Args:
        shape: channels, height, width; height and width are 1 for vectors.
        zeros: share of values that are zero or below.
        silent: channels whose values hardly vary.
        mean: H×W, mean magnitude over channels of the image shown; None for vectors.
        maps: number of a channel and its map H×W, of the image shown, the strongest first.
        between: share of the features' variance that lies between classes. chance: the same for random labels.
        nearest_mean: accuracy of the nearest class mean, each image left out of its own; None without labels.
    """

    stage: str
    shape: tuple[int, int, int]
    zeros: float
    silent: tuple[int, ...]
    mean: Map | None = field(repr=False)
    maps: tuple[tuple[int, Map], ...] = field(repr=False)
    between: float | None = None
    chance: float | None = None
    nearest_mean: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields but the maps."""
        names = ("stage", "shape", "zeros", "silent", "between", "chance", "nearest_mean")
        return {name: to_plain(getattr(self, name)) for name in names}


@dataclass(frozen=True, eq=False)
class FeatureMaps(InspectionResult):
    """All stages on the images.

    Args:
        images: how many. shown: name of the one that is drawn. picture: H×W×3.
        class_maps: class → its mean map of the most discriminative channel.
        discriminative: last stage that has maps, and its channel whose class means differ most.
    """

    model: str
    images: int
    shown: str
    picture: Map = field(repr=False)
    stages: tuple[StageMaps, ...]
    class_maps: dict[str, Map] = field(repr=False)
    discriminative: tuple[str, int] | None = None

    @property
    def title(self) -> str:
        """The model."""
        return f"Feature maps of {self.model}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Where the classes separate, and which stages hold unused channels or many zeros."""
        return tuple(filter(None, [self._on_classes(), self._on_silent(), self._on_zeros()]))

    def _on_classes(self) -> str:
        known = [(one.stage, one.nearest_mean) for one in self.stages if one.nearest_mean is not None]
        if not known:
            return ""
        (first_stage, first), (last_stage, last) = known[0], known[-1]
        best_stage, best = max(known, key=lambda one: one[1].value)
        words = (
            f"The nearest class mean classifies {last} of the images correctly at {shown(last_stage)}, and {first} at "
            f"{shown(first_stage)}"
        )
        if best.low > last.value:
            name = shown(best_stage)
            return f"{words}. {name} is best with {best}: try `--layers {name}`, or all stages."
        if last.low <= first.value:
            return f"{words}: later stages separate these classes no better than the first, so deep stages add little."
        steps = [(after.value - before.value, stage) for (_, before), (stage, after) in pairwise(known)]
        return f"{words}. The largest gain is in {shown(max(steps)[1])}."

    def _on_silent(self) -> str:
        many = [one for one in self.stages if len(one.silent) > MANY_SILENT * one.shape[0]]
        if not many:
            return f"Fewer than {percent(MANY_SILENT)} of the channels of every stage are constant."
        words = listed([f"{one.stage} ({len(one.silent)} of {one.shape[0]})" for one in many])
        return (
            f"Many channels have a constant output on all {counted(self.images, 'image')}: {words}. Either the network "
            "has more channels than it uses, or the preprocessing differs from its training: see the batch-norm "
            "analysis."
        )

    def _on_zeros(self) -> str:
        most = max(self.stages, key=lambda one: one.zeros)
        if most.zeros < 0.5:
            return ""
        return f"{shown(most.stage)} has the sparsest features: {percent(most.zeros)} of its values are zero."

    @property
    def tables(self) -> tuple[Table, ...]:
        """One row per stage."""
        rows = tuple(
            (
                shown(one.stage),
                "×".join(map(str, one.shape)),
                one.zeros,
                len(one.silent),
                one.between,
                one.chance,
                *_ends(one.nearest_mean),
            )
            for one in self.stages
        )
        columns = (
            "stage", "C×H×W", "zeros", "constant", "variance between classes", "by chance", "nearest-mean accuracy",
            "low", "high",
        )  # fmt: skip
        return (Table(f"Stages on {counted(self.images, 'image')}", columns, rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        means = f" Below, mean maps of {counted(len(self.class_maps), 'class')}." if self.class_maps else ""
        names = listed([one.stage for one in self.stages if one.maps])
        return (
            f"The image {shown(self.shown)} and, for the stages {names}, the mean of all maps and the strongest ones, "
            f"white where a map is largest.{means}"
        )

    def figure(self) -> Figure:
        """Maps of the image, stage by stage."""
        rows = [
            MapRow(
                one.stage,
                f"{one.shape[1]}×{one.shape[2]}",
                titles=(f"mean of {one.shape[0]}", *(f"#{channel}" for channel, _ in one.maps)),
                maps=(one.mean, *(values for _, values in one.maps)),
            )
            for one in self.stages
            if one.mean is not None
        ]
        if self.discriminative:
            stage, channel = self.discriminative
            names, maps = tuple(self.class_maps), tuple(self.class_maps.values())
            rows.append(MapRow("class means", f"{stage}\n#{channel}", titles=names, maps=maps, shared=True))
        return stage_maps_figure(self.picture, self.shown, rows)


def _ends(share: Interval | None) -> tuple[float | None, ...]:
    return (None, None, None) if share is None else (share.value, share.low, share.high)


def feature_maps(model: Model, images: InspectedImages | Tensor, *, image: int = 0) -> FeatureMaps:
    """Show what each stage makes of one image, and measure how well the classes separate at each stage.

    Args:
        images: with labels, the class means are compared. image: index of the one that is drawn.

    Raises:
        BackboneError: no stage has maps.
        DataError: there are no images, or none of this index.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    if not 0 <= image < len(images):
        raise DataError(expected=f"an index from 0 to {len(images) - 1}", found=repr(image), where="image")
    with inspected.eval_mode(), torch.inference_mode():
        outputs = _StageOutputs(inspected, images, image)
        with watch_stages(inspected, outputs.add):
            for pixels in images.batches():
                inspected.network(pixels)
                outputs.done += len(pixels)
    if not outputs.maps:
        raise BackboneError(expected="a stage with feature maps", found="vectors only", where=inspected.name)
    discriminative, class_maps = outputs.discriminative()
    picture = images.pixels[image] if images.prepared is None else images.prepared[image].float() / 255
    return FeatureMaps(
        model=inspected.name,
        images=len(images),
        shown=images.names[image],
        picture=picture.permute(1, 2, 0).numpy(),
        stages=tuple(outputs.stage(name) for name in inspected.stages if name in outputs.features),
        class_maps=class_maps,
        discriminative=discriminative,
    )


class _StageOutputs:
    """Collects, batch by batch, one image's maps, ranges of channels, pooled features and class sums of each stage."""

    def __init__(self, inspected: InspectedModel, images: InspectedImages, image: int) -> None:
        self.inspected, self.images, self.image = inspected, images, image
        self.done = 0  # images of earlier batches
        self.features: dict[str, list[Tensor]] = {}
        self.maps: dict[str, Tensor] = {}
        self._shape: dict[str, tuple[int, int, int]] = {}
        self._range: dict[str, tuple[Tensor, Tensor]] = {}
        self._zeros: dict[str, float] = {}
        self._class_sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Take in the output of a stage for a batch."""
        vectors = pooled(self.inspected, name, value)
        self.features.setdefault(name, []).append(vectors)
        has_maps = is_map(self.inspected, name, value)
        maps = value.float() if has_maps else vectors[:, :, None, None]
        low, high = self._range.get(name, (maps[0].amin((1, 2)), maps[0].amax((1, 2))))
        self._range[name] = torch.minimum(low, maps.amin((0, 2, 3))), torch.maximum(high, maps.amax((0, 2, 3)))
        zeros = float((value <= 0).float().mean()) * len(value)
        self._zeros[name] = self._zeros.get(name, 0.0) + zeros / len(self.images)
        self._shape[name] = (maps.shape[1], maps.shape[2], maps.shape[3])
        if has_maps and 0 <= self.image - self.done < len(maps):
            self.maps[name] = maps[self.image - self.done].clone()
        if has_maps and self.images.labels is not None:
            self._add_class_sums(name, maps, self.images.labels[self.done : self.done + len(maps)])

    def _add_class_sums(self, name: str, maps: Tensor, labels: Tensor) -> None:
        classes = int(self.images.labels.max()) + 1 if self.images.labels is not None else 0
        if classes * maps[0].numel() <= _MOST_SUMS:
            sums = self._class_sums.setdefault(name, maps.new_zeros(classes, *maps.shape[1:]))
            sums.index_add_(0, labels, maps)

    def stage(self, name: str) -> StageMaps:
        """The summary of one stage."""
        maps, labels = self.maps.get(name), self.images.labels
        magnitudes = torch.empty(0) if maps is None else maps.abs().mean((1, 2))
        strongest = magnitudes.argsort(descending=True, stable=True)[:_CHANNELS].tolist()
        summary = StageMaps(
            stage=name,
            shape=self._shape[name],
            zeros=self._zeros[name],
            silent=self._silent(name),
            mean=None if maps is None else maps.abs().mean(0).numpy(),
            maps=() if maps is None else tuple((channel, maps[channel].numpy()) for channel in strongest),
        )
        if labels is None or len(classes_of(labels)) < 2:
            return summary
        features = torch.cat(self.features[name])
        return replace(
            summary,
            between=between_classes(features, labels),
            chance=(len(classes_of(labels)) - 1) / (len(labels) - 1),
            nearest_mean=wilson(*nearest_mean(features, labels)),
        )

    def _silent(self, name: str) -> tuple[int, ...]:
        """Channels that hardly vary; none where one value of each was seen, which has no range."""
        (low, high), (_, height, width) = self._range[name], self._shape[name]
        silent = torch.nonzero(high - low <= SILENT * (high - low).median())[:, 0].tolist()
        return tuple(silent) if len(self.images) * height * width > 1 else ()

    def discriminative(self) -> tuple[tuple[str, int] | None, dict[str, Map]]:
        """At the last stage with maps: the channel whose class means differ most, and its mean map of each class."""
        labels, name = self.images.labels, next(reversed(self._class_sums), None)
        if labels is None or name is None or len(classes_of(labels)) < 2:
            return None, {}
        features, classes = torch.cat(self.features[name]), classes_of(labels)
        means = torch.stack([features[labels == one].mean(0) for one in classes])
        channel = int((means.std(0) / features.std(0).clamp_min(1e-12)).argmax())
        maps = {
            self._class_name(int(one)): (self._class_sums[name][one, channel] / (labels == one).sum()).numpy()
            for one in classes[:_CLASSES]
        }
        return (name, channel), maps

    def _class_name(self, number: int) -> str:
        return self.images.classes[number] if number < len(self.images.classes) else f"class {number}"
