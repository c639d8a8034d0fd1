"""Embedding: a map of the images in feature space, overlapping classes, and outliers.

The map is for the eye. Everything that is stated is measured in the features, not in the map: two dimensions cannot
keep the distances of hundreds, and t-SNE and UMAP do not try to keep the large ones.
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
from headstart.inspection.features.neighbourhood import (
    Overlap,
    class_outliers,
    class_overlaps,
    outliers,
    singletons,
)
from headstart.inspection.features.stage_outputs import stage_features
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted, listed, percent

Matrix = NDArray[np.float64]

METHODS = {"pca": "PCA", "t-sne": "t-SNE", "umap": "UMAP"}
NEIGHBOURS = 10
LEAST = 5  # images without which there is no map
OVERLAP = 0.15
"""Share of neighbours of another class, at the low end of its interval, from which two classes overlap: about one and a
half of ten neighbours."""

OUTLIER = 3.5
"""Robust deviations from which an image is an outlier. Source: Iglewicz and Hoaglin 1993, How to Detect and Handle
Outliers: |modified z| above 3.5."""

_THUMBNAILS = 48
_THUMBNAIL = 48  # pixels of a side
_NAMED = 8
_PAIRS = 4  # overlapping pairs in a sentence


@dataclass(frozen=True, eq=False)
class Embedding(InspectionResult):
    """N images in two dimensions, and their neighbours in the features.

    Args:
        stages: whose features were taken, concatenated.
        method: `pca`, `t-sne` or `umap`. explained_variance: share that PCA's two axes keep; None for the others.
        neighbours: how many of each image were compared.
        positions: N×2.
        overlaps: for each pair of classes, how far the one lies among the other; empty without labels.
        class_outliers: images without a neighbour of their class. outliers: images far from all others.
        singletons: classes of one image; they are neither compared nor class outliers.
    """

    model: str
    stages: tuple[str, ...]
    method: str
    explained_variance: float | None
    neighbours: int
    positions: Matrix = field(repr=False)
    images: InspectedImages = field(repr=False)
    overlaps: tuple[Overlap, ...] = field(repr=False)
    class_outliers: tuple[int, ...]
    outliers: tuple[int, ...]
    singletons: tuple[int, ...]

    @property
    def title(self) -> str:
        """Images, model and stages."""
        return f"Map of {counted(len(self.images), 'image')} by {self.model} ({', '.join(self.stages)})"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Overlapping classes, outliers, and how far the map can be trusted."""
        found = (self._on_overlap(), self._on_class_outliers(), self._on_singletons(), self._on_outliers())
        return tuple(filter(None, [*found, self._on_map()]))

    def _own(self) -> list[Overlap]:
        return [one for one in self.overlaps if one.of == one.among]

    def _foreign(self) -> list[Overlap]:
        return [one for one in self.overlaps if one.of != one.among]

    def _on_overlap(self) -> str:
        if not self._foreign():
            return ""
        worst = min(self._own(), key=lambda one: one.share.value)
        purity = (
            f"of the {counted(worst.k, 'nearest neighbour')} of {self._name(worst.of)}, {worst.share} are of their own "
            f"class (by chance {percent(worst.chance)})"
        )
        overlapping = sorted(
            (one for one in self._foreign() if one.share.low >= OVERLAP), key=lambda one: -one.share.low
        )
        if not overlapping:
            return f"No classes overlap much in these features: {purity}, and no class is worse."
        pairs = [f"{self._name(one.of)} among {self._name(one.among)} ({one.share})" for one in overlapping]
        more = f" and {len(pairs) - _PAIRS} more" if len(pairs) > _PAIRS else ""
        return (
            f"Overlapping classes: {', '.join(pairs[:_PAIRS])}{more}; {purity}. A linear head will confuse them most: "
            "add images of these classes, or try other stages or fine-tuning."
        )

    def _on_class_outliers(self) -> str:
        if not self.class_outliers:
            return ""
        names = [f"{self.images.names[i]} ({self._name(self._label(i))})" for i in self.class_outliers]
        verb = "has" if len(names) == 1 else "have"
        return (
            f"{counted(len(names), 'image')} {verb} no neighbour of the same class: {listed(names)}. Check the labels."
        )

    def _on_singletons(self) -> str:
        verb = "has one image" if len(self.singletons) == 1 else "have one image each"
        names = listed([self._name(one) for one in self.singletons])
        return f"{names} {verb}: too few to measure overlaps or check labels." if self.singletons else ""

    def _on_outliers(self) -> str:
        if not self.outliers:
            return ""
        names = listed([self.images.names[i] for i in self.outliers])
        found = counted(len(self.outliers), "outlier")
        return f"{found}, far from all other images: {names}. Check that they belong to the data set."

    def _on_map(self) -> str:
        if self.explained_variance is None:
            return f"In the {METHODS[self.method]} map groups are real; distances between groups are not."
        share = percent(self.explained_variance)
        return f"The PCA map keeps {share} of the variance: images far apart are different, close ones may be too."

    def _name(self, number: int) -> str:
        return shown(self.images.classes[number]) if number < len(self.images.classes) else f"class {number}"

    def _label(self, image: int) -> int:
        return -1 if self.images.labels is None else int(self.images.labels[image])

    @property
    def tables(self) -> tuple[Table, ...]:
        """Purity of each class, and the largest overlaps."""
        if not self._own():
            return ()
        foreign = sorted(self._foreign(), key=lambda one: -one.share.value)[:_NAMED]
        purities = tuple(
            (self._name(o.of), o.k, o.share.value, o.share.low, o.share.high, o.chance) for o in self._own()
        )
        among = tuple(
            (self._name(o.of), self._name(o.among), o.share.value, o.share.low, o.share.high, o.chance) for o in foreign
        )
        columns = ("class", "neighbours", "of the same class", "low", "high", "by chance")
        return (
            Table("Nearest neighbours", columns, purities, 3),
            Table("Largest overlaps", ("class", "among", "share", "low", "high", "by chance"), among, 3),
        )

    @property
    def description(self) -> str:
        """The figure in words."""
        coloured = (
            f" coloured by {counted(len(self.images.classes), 'class')}" if self.images.labels is not None else ""
        )
        return (
            f"A {METHODS[self.method]} map of {counted(len(self.images), 'image')}{coloured}, some as thumbnails. "
            f"{self.interpretation[0]}"
        )

    def figure(self) -> Figure:
        """The map with small pictures; outliers are named."""
        named = [*self.class_outliers, *self.outliers][:_NAMED]
        pictures = {} if self.images.prepared is None else self._pictures(named)
        axes = (
            ("first axis", "second axis")
            if self.explained_variance is None
            else ("first component", "second component")
        )
        return embedding_figure(
            self.positions,
            axes_names=axes,
            labels=[] if self.images.labels is None else self.images.labels.tolist(),
            classes=self.images.classes,
            thumbnails=pictures,
            marked={i: self.images.names[i].rsplit("/", 1)[-1] for i in named},
        )

    def _pictures(self, named: list[int]) -> dict[int, NDArray[np.floating]]:
        """Thumbnails of the named images, then of others where they cover no picture drawn before."""
        low, high = self.positions.min(0), self.positions.max(0)
        at = (self.positions - low) / np.where(high > low, high - low, 1.0)
        chosen: list[int] = []
        for i in [*named, *range(len(at))]:
            free = all(np.abs(at[i] - at[other]).max() > 1 / 11 for other in chosen)
            if i not in chosen and (free or i in named) and len(chosen) < _THUMBNAILS:
                chosen.append(i)
        prepared = self.images.prepared
        assert prepared is not None  # figure() checks it
        small = torch.nn.functional.interpolate(prepared[chosen].float() / 255, size=_THUMBNAIL, mode="area")
        return {i: one.permute(1, 2, 0).numpy() for i, one in zip(chosen, small, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """The fields with names instead of numbers; of the images their names only."""
        overlaps = [
            {"class": self._name(one.of), "among": self._name(one.among), "neighbours": one.k, "chance": one.chance,
             "share": one.share.value, "low": one.share.low, "high": one.share.high}
            for one in self.overlaps
        ]  # fmt: skip
        return {
            **super().to_dict(),
            "positions": self.positions.tolist(),
            "names": list(self.images.names),
            "overlaps": overlaps,
            "class_outliers": [self.images.names[i] for i in self.class_outliers],
            "outliers": [self.images.names[i] for i in self.outliers],
            "singletons": [self._name(one) for one in self.singletons],
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
    """Draw a map of the images, and find overlapping classes and outliers in the features.

    Args:
        method: `pca` is the default because it has no parameters, is the same on every machine, needs no other package
            and invents no groups; `t-sne` (scikit-learn) and `umap` (umap-learn) draw groups more clearly.
        stage: whose features are used; None: those of a classifier's head, else the last stage before the
            classification head.
        k: neighbours compared; of a smaller class all others.

    Raises:
        RecipeError: the method is unknown, or its package is not installed.
        BackboneError: there is no such stage.
        DataError: there are fewer than five images.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < LEAST:
        raise DataError(expected=f"at least {LEAST} images", found=f"{len(images)}", where="embedding")
    if method not in METHODS:
        hint = near(method, METHODS)
        raise RecipeError(expected="an embedding method", found=repr(method), where="method", hint=hint)
    with inspected.eval_mode():
        by_stage = stage_features(inspected, images)
    stages, features = _features(inspected, by_stage, stage)
    positions, explained_variance = _map(features, method, seed)
    cosines, rows = nearest(features, None, k)
    labels = None if images.labels is None else images.labels.numpy().astype(np.int64)
    labels = None if labels is None or len(np.unique(labels)) < 2 else labels
    return Embedding(
        model=inspected.name,
        stages=stages,
        method=method,
        explained_variance=explained_variance,
        neighbours=rows.shape[1],
        positions=positions,
        images=images,
        overlaps=() if labels is None else class_overlaps(rows, labels, seed),
        class_outliers=() if labels is None else tuple(class_outliers(rows, labels).tolist()),
        outliers=tuple(outliers(cosines, OUTLIER).tolist()),
        singletons=() if labels is None else tuple(singletons(labels).tolist()),
    )


def _features(
    inspected: InspectedModel, by_stage: dict[str, Tensor], stage: str | None
) -> tuple[tuple[str, ...], Matrix]:
    if stage is not None and stage not in by_stage:  # perhaps the path of its module
        stage = next((name for name, path in inspected.stages.items() if path == stage), stage)
    if stage is not None and stage not in by_stage:
        hint = near(stage, by_stage)
        raise BackboneError(expected=f"a stage of {inspected.name}", found=repr(stage), where="stage", hint=hint)
    if stage is None and inspected.classifier is not None:
        head = inspected.classifier.head
        arrays = [by_stage[name].numpy() for name in head.stages]
        return head.stages, scale_stages(arrays) if head.unit else join_stages(arrays)
    names = list(by_stage)
    # the last child of a plain module is its classification head
    default = names[-2] if inspected.backbone is None and len(names) > 1 else names[-1]
    chosen = stage or default
    return (chosen,), scale_stages([by_stage[chosen].numpy()])


def _map(features: Matrix, method: str, seed: int) -> tuple[Matrix, float | None]:
    """N×2 positions, and the share of the variance that PCA keeps."""
    centred = features - features.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])  # else two machines may flip the map
    scores = u * s * np.where(signs == 0, 1.0, signs)
    if method == "pca":
        total = float(np.square(s).sum())
        return scores[:, :2], float(np.square(s[:2]).sum()) / total if total else 0.0
    first = scores[:, :50]  # what van der Maaten does before t-SNE, for speed; the rest is noise
    if method == "t-sne":
        reducer: Any = _library("sklearn.manifold", "scikit-learn").TSNE(
            2, perplexity=min(30.0, (len(features) - 1) / 3), init="pca", random_state=seed
        )
    else:
        reducer = _library("umap", "umap-learn").UMAP(n_components=2, random_state=seed)
    return np.asarray(reducer.fit_transform(first), dtype=np.float64), None


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hint = f"pip install {package}, or use pca."
        raise RecipeError(
            expected=f"the package {package}", found="not installed", where="method", hint=hint
        ) from error
