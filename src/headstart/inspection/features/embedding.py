"""Embedding: a map of the images as the network's features see them; which classes overlap, and who stands apart.

The map is for the eye. Everything that is said is measured in the features, not in the map: two dimensions cannot keep
the distances of hundreds, and t-SNE and UMAP do not try to keep the large ones.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import BackboneError, DataError, RecipeError, near, shown
from headstart.features.matrix import join_stages, scale_stages
from headstart.figures.embedding_map import embedding_figure
from headstart.heads.knn import nearest
from headstart.inspection.features.neighbourhood import Mixing, alone, isolated, mixing, strangers
from headstart.inspection.features.stage_outputs import stage_features
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.wording import listed, many

Matrix = NDArray[np.float64]

METHODS = ("pca", "t-sne", "umap")
NEIGHBOURS = 10
LEAST = 5  # images without which there is no map
OVERLAP = 0.15
"""Share of foreign neighbours, at the low end of its interval, from which two classes are said to overlap: about one
and a half of ten neighbours."""

LONELY = 3.5
"""Robust deviations from which an image stands apart. Source: Iglewicz and Hoaglin 1993, How to Detect and Handle
Outliers: |modified z| above 3.5."""

_THUMBNAILS = 48
_THUMBNAIL = 48  # pixels of a side
_NAMED = 8


@dataclass(frozen=True, eq=False)
class Embedding(InspectionResult):
    """N images in two dimensions, and who is near whom in the features.

    Args:
        stages: whose features were taken, side by side.
        method: `pca`, `t-sne` or `umap`. kept: share of the variance that PCA's two axes keep; None for the others.
        places: N×2. alone: classes of one image; these are neither mixed nor strangers.
        mixed: for each pair of classes, how far the one lies among the other; empty without labels.
        strangers: images none of whose neighbours is of their class. lonely: images unlike all others.
    """

    model: str
    stages: tuple[str, ...]
    method: str
    kept: float | None
    k: int
    places: Matrix = field(repr=False)
    images: InspectedImages = field(repr=False)
    mixed: tuple[Mixing, ...] = field(repr=False)
    strangers: tuple[int, ...]
    lonely: tuple[int, ...]
    alone: tuple[int, ...]

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Map of {many(len(self.images), 'image')} by {self.model} ({', '.join(self.stages)})"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        told = (self._on_overlap(), self._on_strangers(), self._on_alone(), self._on_lonely(), self._on_map())
        return tuple(filter(None, told))

    def _on_overlap(self) -> str:
        own = [one for one in self.mixed if one.of == one.among]
        foreign = sorted((one for one in self.mixed if one.of != one.among), key=lambda one: -one.low)
        if not foreign:
            return ""
        worst = min(own, key=lambda one: one.share)
        ground = (
            f"of the {worst.asked} of {self._name(worst.of)} {worst.said} are of their own class, "
            f"{worst.chance:.0%} would be by chance"
        )
        overlapping = [one for one in foreign if one.low >= OVERLAP]
        if not overlapping:
            return f"No two classes overlap much in these features: {ground}, and no class does worse."
        pairs = [f"{self._name(one.of)} among {self._name(one.among)} ({one.said})" for one in overlapping]
        return (
            f"Classes that overlap: {listed(pairs, 4)}; {ground}. A linear head will confuse them most: more images of "
            "these, other stages, or fine-tuning."
        )

    def _on_strangers(self) -> str:
        if not self.strangers:
            return ""
        names = [f"{self.images.names[i]} ({self._name(self._label(i))})" for i in self.strangers]
        count = len(names)
        return (
            f"{many(count, 'image')} {'has' if count == 1 else 'have'} no neighbour of the own class: {listed(names)}. "
            "Look whether the label is right."
        )

    def _on_alone(self) -> str:
        verb = "has one image" if len(self.alone) == 1 else "have one image each"
        names = listed([self._name(one) for one in self.alone])
        return f"{names} {verb}: too few to speak of overlaps and wrong labels there." if self.alone else ""

    def _on_lonely(self) -> str:
        if not self.lonely:
            return ""
        names = listed([self.images.names[i] for i in self.lonely])
        return f"Unlike all others: {names}. Look whether they belong to the set."

    def _on_map(self) -> str:
        if self.kept is None:
            return f"The map is by {self.method}: groups in it are real, distances between groups are not."
        return (
            f"The map keeps {self.kept:.0%} of the variance: images apart in it are apart, near ones need not be near."
        )

    def _name(self, number: int) -> str:
        return shown(self.images.classes[number]) if number < len(self.images.classes) else f"class {number}"

    def _label(self, image: int) -> int:
        return -1 if self.images.labels is None else int(self.images.labels[image])

    @property
    def tables(self) -> tuple[Table, ...]:
        """Purity of each class, and the worst overlaps."""
        own = [one for one in self.mixed if one.of == one.among]
        foreign = sorted((one for one in self.mixed if one.of != one.among), key=lambda one: -one.share)[:_NAMED]
        if not own:
            return ()
        heads = ("class", "neighbours", "of their own class", "low", "high", "by chance")
        purities = tuple((self._name(one.of), one.k, one.share, one.low, one.high, one.chance) for one in own)
        among = tuple((self._name(o.of), self._name(o.among), o.share, o.low, o.high, o.chance) for o in foreign)
        return (
            Table("Nearest neighbours", heads, purities, 3),
            Table("Classes among others", ("class", "among", "share", "low", "high", "by chance"), among, 3),
        )

    @property
    def description(self) -> str:
        """The figure in words."""
        coloured = f" coloured by {many(len(self.images.classes), 'class')}" if self.images.labels is not None else ""
        return (
            f"A map of {many(len(self.images), 'image')} by {self.method}{coloured}, some drawn as small pictures. "
            f"{self.interpretation[0]}"
        )

    def figure(self) -> Figure:
        """The map with small pictures; those that stand apart are named."""
        apart = [*self.strangers, *self.lonely][:_NAMED]
        pictures = {} if self.images.prepared is None else self._pictures(apart)
        axes = ("first axis", "second axis") if self.kept is None else ("first component", "second component")
        return embedding_figure(
            self.places,
            axes_names=axes,
            labels=[] if self.images.labels is None else self.images.labels.tolist(),
            classes=self.images.classes,
            thumbnails=pictures,
            marked={i: self.images.names[i].rsplit("/", 1)[-1] for i in apart},
        )

    def _pictures(self, apart: list[int]) -> dict[int, NDArray[np.floating]]:
        """Those that stand apart, then one after the other wherever there is room: no picture lies on another."""
        low, high = self.places.min(0), self.places.max(0)
        at = (self.places - low) / np.where(high > low, high - low, 1.0)
        chosen: list[int] = []
        for i in [*apart, *range(len(at))]:
            free = all(np.abs(at[i] - at[other]).max() > 1 / 11 for other in chosen)
            if i not in chosen and (free or i in apart) and len(chosen) < _THUMBNAILS:
                chosen.append(i)
        prepared = self.images.prepared
        assert prepared is not None  # asked by figure()
        small = torch.nn.functional.interpolate(prepared[chosen].float() / 255, size=_THUMBNAIL, mode="area")
        return {i: one.permute(1, 2, 0).numpy() for i, one in zip(chosen, small, strict=True)}

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        mixed = [
            {"class": self._name(m.of), "among": self._name(m.among), "neighbours": m.k, "share": m.share,
             "low": m.low, "high": m.high, "chance": m.chance}
            for m in self.mixed
        ]  # fmt: skip
        return {
            "title": self.title,
            "model": self.model,
            "stages": list(self.stages),
            "method": self.method,
            "kept": self.kept,
            "neighbours": self.k,
            "places": self.places.tolist(),
            "names": list(self.images.names),
            "mixing": mixed,
            "strangers": [self.images.names[i] for i in self.strangers],
            "lonely": [self.images.names[i] for i in self.lonely],
            "reading": list(self.interpretation),
        }


def embedding(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    method: str = "pca",
    stage: str | None = None,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> Embedding:
    """A map of the images, which classes overlap in the features, and which images stand apart.

    Args:
        method: `pca` is the default because it has no knobs, is the same on every machine, needs nothing else and does
            not invent groups; `t-sne` (scikit-learn) and `umap` (umap-learn) draw groups more clearly.
        stage: whose features are taken; None: what a classifier's head takes, else the last stage before the top.
        k: neighbours that are asked; of a class with fewer others, all of these.

    Raises:
        RecipeError: the method is unknown, or its library is not here.
        BackboneError: there is no such stage.
        DataError: there are fewer than five images.
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < LEAST:
        raise DataError(expected=f"{LEAST} images or more", found=f"{len(images)}", where="embedding")
    if method not in METHODS:
        hint = near(method, METHODS)
        raise RecipeError(expected="a method of mapping", found=repr(method), where="method", hint=hint)
    with subject.eval_mode():
        parts = stage_features(subject, images)
    stages, features = _features(subject, parts, stage)
    places, kept = _map(features, method, seed)
    cosines, rows = nearest(features, None, k)
    labels = None if images.labels is None else images.labels.numpy().astype(np.int64)
    labels = None if labels is None or len(np.unique(labels)) < 2 else labels
    return Embedding(
        subject.name,
        stages,
        method,
        kept,
        rows.shape[1],
        places,
        images,
        () if labels is None else mixing(rows, labels, seed),
        () if labels is None else tuple(strangers(rows, labels).tolist()),
        tuple(isolated(cosines, LONELY).tolist()),
        () if labels is None else tuple(alone(labels).tolist()),
    )


def _features(subject: InspectedModel, parts: dict[str, Tensor], stage: str | None) -> tuple[tuple[str, ...], Matrix]:
    if stage is not None and stage not in parts:
        hint = near(stage, parts)
        raise BackboneError(expected=f"a stage of {subject.name}", found=repr(stage), where="stage", hint=hint)
    if stage is None and subject.classifier is not None:
        head = subject.classifier.head
        arrays = [parts[name].numpy() for name in head.stages]
        return head.stages, scale_stages(arrays) if head.unit else join_stages(arrays)
    names = list(parts)
    before_top = names[-2] if subject.backbone is None and len(names) > 1 else names[-1]  # a module's last child names
    chosen = stage or before_top
    return (chosen,), scale_stages([parts[chosen].numpy()])


def _map(features: Matrix, method: str, seed: int) -> tuple[Matrix, float | None]:
    """N×2 places, and the share of the variance that PCA keeps."""
    centred = features - features.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])  # else two machines may mirror the map
    scores = u * s * np.where(signs == 0, 1.0, signs)
    if method == "pca":
        total = float(np.square(s).sum())
        return scores[:, :2], float(np.square(s[:2]).sum()) / total if total else 0.0
    front = scores[:, :50]  # what van der Maaten does before t-SNE, for speed; the rest is noise
    if method == "t-sne":
        made: Any = _library("sklearn.manifold", "scikit-learn").TSNE(
            2, perplexity=min(30.0, (len(features) - 1) / 3), init="pca", random_state=seed
        )
    else:
        made = _library("umap", "umap-learn").UMAP(n_components=2, random_state=seed)
    return np.asarray(made.fit_transform(front), dtype=np.float64), None


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        wanted, hint = f"the package {package}", f"pip install {package}, or take pca."
        raise RecipeError(expected=wanted, found="not installed", where="method", hint=hint) from error
