"""Similarity: what training changed, in the features of each stage, the weights of each layer, and the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from headstart.errors import DataError, shown
from headstart.evaluation.intervals import wilson
from headstart.evaluation.paired import mcnemar
from headstart.figures.panels import Bars, Line, Plot, panels_figure
from headstart.figures.style import BLUE, ORANGE, TEXT
from headstart.inspection.features.cka import LEAST, cka_with_error
from headstart.inspection.features.stage_outputs import pooled, watch_stages
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.weights.change import LayerChange, changes, moved_statistics, shared_tensors
from headstart.plain import Plain
from headstart.wording import counted, percent

UNCHANGED = 0.95
"""CKA from which a stage's features are unchanged. Our choice: two standard errors over 150 images are about 0.03."""

SIGNIFICANT = 0.05  # p of McNemar's exact test below which the accuracies differ
_SHOWN = 10
_FLOOR = 1e-9  # of a rotation in the figure, whose scale has no zero


@dataclass(frozen=True)
class StageChange:
    """Features of a stage before and after: debiased CKA with its standard error; exactly 1 where nothing changed."""

    stage: str
    cka: float
    error: float


@dataclass(frozen=True)
class PredictionChange(Plain):
    """How the predictions on N images changed.

    Args:
        changed: images with a different predicted class. shift: mean |difference| of the probabilities.
        correct_before, correct_after: correct predictions; None without labels of the models' classes.
        fixed, broken: wrong → correct, correct → wrong.
    """

    count: int
    changed: int
    shift: float
    correct_before: int | None = None
    correct_after: int | None = None
    fixed: int = 0
    broken: int = 0

    @property
    def p(self) -> float:
        """McNemar's exact test: chance of so uneven numbers of fixed and broken predictions, or more uneven ones."""
        return mcnemar(self.fixed, self.broken)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and `p`."""
        return {**super().to_dict(), "p": self.p}


@dataclass(frozen=True)
class Similarity(InspectionResult):
    """Two networks of one architecture on the same images.

    Args:
        stages: in forward order. layers: in the network's order.
        statistics: how many running means and variances moved, and how many there are.
        predictions: None where one of the models has no classes, or different ones.
    """

    before: str
    after: str
    images: int
    stages: tuple[StageChange, ...]
    layers: tuple[LayerChange, ...]
    statistics: tuple[int, int]
    predictions: PredictionChange | None

    @property
    def title(self) -> str:
        """The model before."""
        return f"{self.before} before and after training"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What changed in predictions, features, weights and batch norm."""
        found = (self._on_predictions(), self._on_features(), self._on_weights(), self._on_statistics())
        return tuple(filter(None, found))

    def _on_predictions(self) -> str:
        one = self.predictions
        if one is None:
            return ""
        changed = f"{one.changed} of {counted(one.count, 'prediction')} changed"
        if one.correct_before is None or one.correct_after is None:
            return f"{changed}; probabilities moved by {percent(one.shift)} on average."
        was, now = (wilson(correct, one.count) for correct in (one.correct_before, one.correct_after))
        words = f"Accuracy was {was} and is {now}; {changed}: {one.fixed} fixed, {one.broken} broken"
        if one.p >= SIGNIFICANT:
            return f"{words}. The difference is within noise (McNemar p = {one.p:.2f})."
        if one.broken > one.fixed:
            return f"{words} (McNemar p = {one.p:.3f}). Training made it worse: keep the model before, or lower --lr."
        return f"{words} (McNemar p = {one.p:.3f}). Training improved it."

    def _on_features(self) -> str:
        known = [one for one in self.stages if np.isfinite(one.cka)]
        if not known:
            return ""
        unchanged = [one for one in known if one.cka >= UNCHANGED]
        least = min(known, key=lambda one: one.cka)
        if len(unchanged) == len(known):
            words = "exactly the same" if least.cka == 1 else f"CKA at least {least.cka:.3f}"
            return f"The features of all stages are unchanged ({words})."
        is_start = unchanged and known[: len(unchanged)] == unchanged
        until = f"; they are unchanged up to {shown(unchanged[-1].stage)}" if is_start else ""
        return (
            f"The features changed most at {shown(least.stage)}: CKA {least.cka:.2f} ± {least.error:.2f} "
            f"(1: same up to rotation and scale, 0: unrelated){until}."
        )

    def _on_weights(self) -> str:
        same = [one for one in self.layers if one.is_unchanged]
        if len(same) == len(self.layers):
            return "No weight changed."
        most = max(self.layers, key=lambda one: one.rotation)
        frozen = f"{len(same)} of {len(self.layers)} layers did not change" if same else "Every layer changed"
        return (
            f"{frozen}; {shown(most.layer)} rotated most, by {most.rotation:.2g} (1 - cosine), and moved by "
            f"{percent(most.distance)} of its length."
        )

    def _on_statistics(self) -> str:
        moved, count = self.statistics
        if not moved:
            return ""
        suspicious = moved == count and any(one.is_unchanged for one in self.layers)
        doubt = ", also in frozen layers: expected after a recalibration, otherwise freeze them with the layers"
        return f"{moved} of {count} batch-norm statistics moved{doubt if suspicious else ''}."

    @property
    def tables(self) -> tuple[Table, ...]:
        """CKA of the stages, and the layers that rotated most."""
        stages = tuple((shown(one.stage), one.cka, one.error) for one in self.stages)
        rotated = sorted(self.layers, key=lambda one: -one.rotation)[:_SHOWN]
        layers = tuple((shown(one.layer), one.rotation, one.distance, one.growth) for one in rotated)
        return (
            Table(f"Features on {counted(self.images, 'image')}", ("stage", "CKA", "standard error"), stages, 3),
            Table("Layers that rotated most", ("layer", "1 - cosine", "relative distance", "growth"), layers),
        )

    @property
    def description(self) -> str:
        """The figure in words."""
        values = ", ".join(f"{shown(one.stage)} {one.cka:.2f}" for one in self.stages)
        return (
            f"Left, bars of the similarity (CKA) of features before and after for each stage: {values}. Right, "
            f"rotation and relative distance of the weights of {len(self.layers)} layers in their order."
        )

    def figure(self) -> Figure:
        """CKA by stage, and rotation and distance by layer."""
        bars = Bars(
            "Similarity of features",
            tuple(one.stage for one in self.stages),
            tuple(one.cka if np.isfinite(one.cka) else 0.0 for one in self.stages),
            x_label="debiased CKA",
            form="{:.2f}",
            colors=tuple(BLUE if one.cka >= UNCHANGED else ORANGE for one in self.stages),
        )
        moved = [(number, one) for number, one in enumerate(self.layers, start=1) if not one.is_unchanged]
        x = [number for number, _ in moved]
        lines = (
            Line("relative distance", x, [one.distance for _, one in moved], TEXT, style="dots"),
            Line("1 - cosine", x, [max(one.rotation, _FLOOR) for _, one in moved], BLUE, style="dots"),
        )
        title = f"{len(moved)} of {counted(len(self.layers), 'layer')} changed"
        return panels_figure([bars, Plot(title, lines, x_label="layer", y_label="change", log_y=bool(moved))])


def similarity(before: Model, after: Model, images: InspectedImages | Tensor, *, seed: int = 0) -> Similarity:
    """Measure what training changed between two networks of one architecture, on the same images.

    Features are pooled to one vector per image, as a head takes them.

    Args:
        images: preprocessed for the network before; with labels the accuracies are compared.
        seed: of the random halves behind the standard error.

    Raises:
        BackboneError: the architectures differ.
        DataError: there are fewer than four images.
    """
    first, second, images = inspected_model(before), inspected_model(after), InspectedImages.of(images)
    if len(images) < LEAST:
        raise DataError(expected=f"at least {LEAST} images", found=f"{len(images)}", where="similarity")
    was, now = shared_tensors(first, second)
    x, old = _features_and_logits(first, images)
    y, new = _features_and_logits(second, images)
    predictions = None
    if old is not None and new is not None and old.shape == new.shape and first.classes == second.classes:
        predictions = _prediction_change(old, new, first.targets(images, old))
    return Similarity(
        before=first.name,
        after=second.name,
        images=len(images),
        stages=tuple(StageChange(name, *_cka(x[name], y[name], seed)) for name in x if name in y),
        layers=changes(was, now),
        statistics=moved_statistics(was, now),
        predictions=predictions,
    )


def _cka(x: Tensor, y: Tensor, seed: int) -> tuple[float, float]:
    if torch.equal(x, y):
        return 1.0, 0.0  # also where the features of a stage are the same for all images
    return cka_with_error(x.double().numpy(), y.double().numpy(), seed=seed)


@torch.inference_mode()
def _features_and_logits(inspected: InspectedModel, images: InspectedImages) -> tuple[dict[str, Tensor], Tensor | None]:
    """Pooled features of all stages, and logits where there are some, from one pass."""
    batches: dict[str, list[Tensor]] = {}
    run = inspected.logits if inspected.has_logits else inspected.network

    def keep(name: str, output: Tensor) -> None:
        batches.setdefault(name, []).append(pooled(inspected, name, output))

    with inspected.eval_mode(), watch_stages(inspected, keep):
        outputs = torch.cat([run(pixels) for pixels in images.batches()])
    features = {name: torch.cat(batches[name]) for name in inspected.stages if name in batches}
    is_classifier = inspected.has_logits and outputs.ndim == 2 and outputs.shape[1] > 1
    return features, outputs if is_classifier else None


def _prediction_change(old: Tensor, new: Tensor, labels: Tensor | None) -> PredictionChange:
    shift = float((old.double().softmax(1) - new.double().softmax(1)).abs().mean())
    changed = int((old.argmax(1) != new.argmax(1)).sum())
    if labels is None:
        return PredictionChange(len(old), changed, shift)
    was, now = old.argmax(1) == labels, new.argmax(1) == labels
    return PredictionChange(
        len(old),
        changed,
        shift,
        correct_before=int(was.sum()),
        correct_after=int(now.sum()),
        fixed=int((now & ~was).sum()),
        broken=int((was & ~now).sum()),
    )
