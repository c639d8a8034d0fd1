"""Feature maps: what each stage makes of an image, and at which stage the classes come apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import BackboneError, DataError, shown
from headstart.figures.stage_maps import MapRow, stage_maps_figure
from headstart.inspection.features.class_distances import between_classes, classes_of, nearest_mean
from headstart.inspection.features.stage_outputs import is_map, pooled, watch_stages
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.wording import listed, many, percent, share_between

Map = NDArray[np.floating]

SILENT = 0.01
"""Of the median channel's range: a channel whose values range over less is the same everywhere, on all images."""

MANY_SILENT = 0.1  # share of a stage's channels from which the reading speaks of them
_CHANNELS = 4  # drawn of a stage
_CLASSES = 5  # whose mean maps are drawn
_MOST_SUMS = 4_000_000  # numbers kept of a stage for the class means, 16 MB


@dataclass(frozen=True, eq=False)
class StageMaps:
    """What one stage gives for N images.

    Args:
        shape: channels, height, width; height and width are 1 for vectors.
        zeros: share of values that are zero or below.
        silent: channels whose values hardly differ anywhere.
        mean: H×W, mean magnitude over channels of the image shown; None for vectors.
        maps: number of a channel and its map H×W, of the image shown, the strongest first.
        between: share of the features' variance that lies between classes. chance: what labels without meaning give.
        found: images whose nearest class mean, they themselves left out, is their own, and of how many.
    """

    stage: str
    shape: tuple[int, int, int]
    zeros: float
    silent: tuple[int, ...]
    mean: Map | None = field(repr=False)
    maps: tuple[tuple[int, Map], ...] = field(repr=False)
    between: float | None = None
    chance: float | None = None
    found: tuple[int, int] | None = None

    @property
    def share(self) -> tuple[float, float, float]:
        """Share found by the nearest class mean with its 95 % interval; nan without labels."""
        return share_between(*self.found) if self.found else (float("nan"),) * 3

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "stage": self.stage,
            "shape": list(self.shape),
            "zeros": self.zeros,
            "silent": list(self.silent),
            "between": self.between,
            "chance": self.chance,
            "nearest_mean": list(self.share) if self.found else None,
        }


@dataclass(frozen=True, eq=False)
class FeatureMaps(InspectionResult):
    """All stages on N images.

    Args:
        shown: name of the image that is drawn. picture: it, H×W×3.
        class_maps: class → its mean map of the telling channel, at the last stage that has maps. telling: that channel.
    """

    model: str
    count: int
    shown: str
    picture: Map = field(repr=False)
    stages: tuple[StageMaps, ...]
    class_maps: dict[str, Map] = field(repr=False)
    telling: tuple[str, int] | None = None

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Feature maps of {self.model}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        return tuple(filter(None, [self._on_classes(), self._on_silent(), self._on_zeros()]))

    def _on_classes(self) -> str:
        known = [one for one in self.stages if one.found]
        if not known:
            return ""
        first, last, best = known[0], known[-1], max(known, key=lambda one: one.share[0])
        words = (
            f"The nearest class mean finds {percent(*last.share)} of the images at {shown(last.stage)} and "
            f"{percent(*first.share)} at {shown(first.stage)}"
        )
        if best.share[1] > last.share[0]:
            name = shown(best.stage)
            return f"{words}; best is {name} with {percent(*best.share)}: try `--layers {name}`, or all of them."
        if last.share[1] <= first.share[0]:
            return f"{words}: later stages tell these classes apart no better than the first, so deep ones add little."
        steps = [(after.share[0] - before.share[0], after.stage) for before, after in pairwise(known)]
        return f"{words}; what tells these classes apart is made in {shown(max(steps)[1])} most."

    def _on_silent(self) -> str:
        full = [one for one in self.stages if len(one.silent) > MANY_SILENT * one.shape[0]]
        if not full:
            return f"Fewer than {MANY_SILENT:.0%} of the channels of every stage are silent.".replace("%", " %")
        words = listed([f"{one.stage} ({len(one.silent)} of {one.shape[0]})" for one in full])
        return (
            f"Many channels give the same value everywhere, on all {self.count} images: {words}. Either the network "
            "carries more than it uses (it could be smaller), or the images reach it as it was not trained: see the "
            "batch-norm look."
        )

    def _on_zeros(self) -> str:
        most = max(self.stages, key=lambda one: one.zeros)
        if most.zeros < 0.5:
            return ""
        return f"Most zeros are in {shown(most.stage)}: {most.zeros:.0%} of its values; its features are sparse."

    @property
    def tables(self) -> tuple[Table, ...]:
        """A row for each stage."""
        rows = tuple(
            (
                shown(one.stage),
                "×".join(map(str, one.shape)),
                one.zeros,
                len(one.silent),
                float("nan") if one.between is None else one.between,
                float("nan") if one.chance is None else one.chance,
                one.share[0],
            )
            for one in self.stages
        )
        heads = ("stage", "C×H×W", "zeros", "silent", "between classes", "by chance", "nearest mean finds")
        return (Table(f"Stages over {many(self.count, 'image')}", heads, rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        means = f" Below, mean maps of {many(len(self.class_maps), 'class')}." if self.class_maps else ""
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
                (f"mean of {one.shape[0]}", *(f"#{channel}" for channel, _ in one.maps)),
                (one.mean, *(values for _, values in one.maps)),
            )
            for one in self.stages
            if one.mean is not None
        ]
        if self.telling:
            stage, channel = self.telling
            names = tuple(self.class_maps)
            rows.append(MapRow("class means", f"{stage}\n#{channel}", names, tuple(self.class_maps.values()), True))
        return stage_maps_figure(self.picture, self.shown, rows)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "model": self.model,
            "images": self.count,
            "shown": self.shown,
            "stages": [one.to_dict() for one in self.stages],
            "telling": list(self.telling) if self.telling else None,
            "reading": list(self.interpretation),
        }


def feature_maps(model: Model, images: InspectedImages | Tensor, *, image: int = 0) -> FeatureMaps:
    """What each stage makes of one image, and how far the classes are apart at each stage.

    Args:
        images: labels, where they are known, give the class means. image: number of the one that is drawn.

    Raises:
        BackboneError: no stage gives maps.
        DataError: there are no images, or not so many that one has this number.
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    if not 0 <= image < len(images):
        raise DataError(expected=f"a number from 0 to {len(images) - 1}", found=repr(image), where="image")
    with subject.eval_mode(), torch.inference_mode():
        seen = _Seen(subject, images, image)
        with watch_stages(subject, seen.look):
            for pixels in images.batches():
                subject.network(pixels)
                seen.past += len(pixels)
    if not seen.maps:
        raise BackboneError(expected="a stage that gives maps", found="vectors only", where=subject.name)
    stages = tuple(seen.stage(name) for name in subject.stages if name in seen.features)
    telling, class_maps = seen.telling()
    picture = images.pixels[image] if images.prepared is None else images.prepared[image].float() / 255
    name, drawn = images.names[image], picture.permute(1, 2, 0).numpy()
    return FeatureMaps(subject.name, len(images), name, drawn, stages, class_maps, telling)


class _Seen:
    """What is kept of each stage as batches pass: one image's maps, ranges of channels, pooled features, class sums."""

    def __init__(self, subject: InspectedModel, images: InspectedImages, image: int) -> None:
        self.subject, self.images, self.image = subject, images, image
        self.past = 0  # images of earlier batches
        self.features: dict[str, list[Tensor]] = {}
        self.maps: dict[str, Tensor] = {}
        self._shape: dict[str, tuple[int, int, int]] = {}
        self._range: dict[str, tuple[Tensor, Tensor]] = {}
        self._zeros: dict[str, float] = {}
        self._class_sums: dict[str, Tensor] = {}

    def look(self, name: str, value: Tensor) -> None:
        """Take in what a stage gives for a batch."""
        vectors = pooled(self.subject, name, value)
        self.features.setdefault(name, []).append(vectors)
        with_maps = is_map(self.subject, name, value)
        maps = value.float() if with_maps else vectors[:, :, None, None]
        low, high = self._range.get(name, (maps[0].amin((1, 2)), maps[0].amax((1, 2))))
        self._range[name] = torch.minimum(low, maps.amin((0, 2, 3))), torch.maximum(high, maps.amax((0, 2, 3)))
        zeros = float((value <= 0).float().mean()) * len(value)
        self._zeros[name] = self._zeros.get(name, 0.0) + zeros / len(self.images)
        self._shape[name] = (maps.shape[1], maps.shape[2], maps.shape[3])
        if with_maps and 0 <= self.image - self.past < len(maps):
            self.maps[name] = maps[self.image - self.past].clone()
        if with_maps and self.images.labels is not None:
            self._add_class_sums(name, maps, self.images.labels[self.past : self.past + len(maps)])

    def _add_class_sums(self, name: str, maps: Tensor, labels: Tensor) -> None:
        classes = int(self.images.labels.max()) + 1 if self.images.labels is not None else 0
        if classes * maps[0].numel() <= _MOST_SUMS:
            sums = self._class_sums.setdefault(name, maps.new_zeros(classes, *maps.shape[1:]))
            sums.index_add_(0, labels, maps)

    def stage(self, name: str) -> StageMaps:
        """What came of one stage."""
        maps = self.maps.get(name)
        strength = torch.empty(0) if maps is None else maps.abs().mean((1, 2))
        strongest = strength.argsort(descending=True, stable=True)[:_CHANNELS].tolist()
        labels = self.images.labels
        features = torch.cat(self.features[name])
        several = labels is not None and len(classes_of(labels)) > 1
        return StageMaps(
            name,
            self._shape[name],
            self._zeros[name],
            self._silent(name),
            None if maps is None else maps.abs().mean(0).numpy(),
            () if maps is None else tuple((channel, maps[channel].numpy()) for channel in strongest),
            between_classes(features, labels) if labels is not None and several else None,
            (len(classes_of(labels)) - 1) / (len(labels) - 1) if labels is not None and several else None,
            nearest_mean(features, labels) if labels is not None and several else None,
        )

    def _silent(self, name: str) -> tuple[int, ...]:
        """Channels that hardly change; none where one value of each was seen, which has no range."""
        (low, high), (_, height, width) = self._range[name], self._shape[name]
        quiet = torch.nonzero(high - low <= SILENT * (high - low).median())[:, 0].tolist()
        return tuple(quiet) if len(self.images) * height * width > 1 else ()

    def telling(self) -> tuple[tuple[str, int] | None, dict[str, Map]]:
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
