"""Similarity: what training changed, stage by stage in the features, layer by layer in the weights, and in the "
"answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest
from torch import Tensor

from headstart.errors import DataError, shown
from headstart.figures.panels import Bars, Line, Plot, panels_figure
from headstart.figures.style import BLUE, ORANGE, TEXT
from headstart.inspection.features.cka import LEAST, cka_with_error
from headstart.inspection.features.stage_outputs import pooled, watch_stages
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import Cell, InspectionResult, Table
from headstart.inspection.weights.change import LayerChange, changes, moved_statistics, shared_tensors
from headstart.inspection.wording import many, percent, share_between
from headstart.plain import to_plain

KEPT = 0.95
"""CKA from which a stage's features count as kept. Our choice: two standard errors over 150 images are about 0.03."""

SURE = 0.05  # p of McNemar's exact test below which the accuracies are said to differ
_SHOWN = 10
_FLOOR = 1e-9  # of a rotation in the figure, whose scale has no zero


@dataclass(frozen=True)
class StageChange:
    """Features of a stage before and after: debiased CKA with its standard error; exactly 1 where nothing changed."""

    stage: str
    cka: float
    error: float


@dataclass(frozen=True)
class Answers:
    """What became of the answers over N images.

    Args:
        changed: images with another most probable class. shift: mean |difference| of the probabilities.
        before, after: right answers; None without labels that name their classes.
        mended, broken: wrong → right, right → wrong.
    """

    count: int
    changed: int
    shift: float
    before: int | None = None
    after: int | None = None
    mended: int = 0
    broken: int = 0

    @property
    def p(self) -> float:
        """McNemar's exact test: how likely so uneven a number of mended and broken answers is by chance."""
        both = self.mended + self.broken
        return float(binomtest(self.broken, both).pvalue) if both else 1.0


@dataclass(frozen=True)
class Similarity(InspectionResult):
    """Two networks of one kind on the same images.

    Args:
        stages: in forward order. layers: in the network's order.
        statistics: running means and variances that moved, and of how many.
        answers: None where one of them names no classes, or other ones.
    """

    before: str
    after: str
    images: int
    stages: tuple[StageChange, ...]
    layers: tuple[LayerChange, ...] = field(repr=False)
    statistics: tuple[int, int]
    answers: Answers | None

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"{self.before} before and after training"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        return tuple(filter(None, [self._on_answers(), self._on_features(), self._on_weights(), self._on_statistics()]))

    def _on_answers(self) -> str:
        one = self.answers
        if one is None:
            return ""
        changed = f"{many(one.changed, 'answer')} of {one.count} changed"
        if one.before is None or one.after is None:
            return f"{changed}; probabilities moved by {one.shift:.1%} on average."
        was, now = (percent(*share_between(right, one.count)) for right in (one.before, one.after))
        words = f"Accuracy was {was} and is {now}; {changed}: {one.mended} mended, {one.broken} broken"
        if one.p >= SURE:
            return f"{words}: no more than chance explains (p {one.p:.2f})."
        if one.broken > one.mended:
            return f"{words} (p {one.p:.3f}): training did harm. Keep the model before it, or lower the rate."
        return f"{words} (p {one.p:.3f}): training helped."

    def _on_features(self) -> str:
        known = [one for one in self.stages if np.isfinite(one.cka)]
        if not known:
            return ""
        kept = [one for one in known if one.cka >= KEPT]
        least = min(known, key=lambda one: one.cka)
        if len(kept) == len(known):
            words = "exactly" if least.cka == 1 else f"CKA {least.cka:.3f} at least"
            return f"The features of all stages are what they were ({words})."
        until = f"features up to {shown(kept[-1].stage)} were kept, " if kept and known[: len(kept)] == kept else ""
        return (
            f"The features changed most at {shown(least.stage)}: {until}CKA there is {least.cka:.2f} ± "
            f"{least.error:.2f} "
            "(1: same up to rotation and scale, 0: unrelated)."
        )

    def _on_weights(self) -> str:
        same = [one for one in self.layers if one.is_same]
        if len(same) == len(self.layers):
            return "Not a single weight changed."
        most = max(self.layers, key=lambda one: one.rotation)
        frozen = (
            f"{len(same)} of {len(self.layers)} layers did not change at all; " if same else "Every layer changed; "
        )
        return (
            f"{frozen}{shown(most.layer)} turned most, by {most.rotation:.2g} (1 - cosine), moving {most.distance:.1%}."
        )

    def _on_statistics(self) -> str:
        moved, count = self.statistics
        still = any(one.is_same for one in self.layers)
        if not moved:
            return ""
        doubt = " although layers did not: meant if they were recalibrated, else freeze them with the layers"
        return f"{moved} of {count} batch-norm statistics moved{doubt if still and moved == count else ''}."

    @property
    def tables(self) -> tuple[Table, ...]:
        """CKA of the stages, and the layers that turned most."""
        stages = tuple((shown(one.stage), one.cka, one.error) for one in self.stages)
        turned = sorted(self.layers, key=lambda one: -one.rotation)[:_SHOWN]
        layers: tuple[tuple[Cell, ...], ...] = tuple((shown(o.layer), o.rotation, o.distance, o.growth) for o in turned)
        return (
            Table(f"Features over {many(self.images, 'image')}", ("stage", "CKA", "standard error"), stages, 3),
            Table("Layers that turned most", ("layer", "1 - cosine", "distance", "growth"), layers),
        )

    @property
    def description(self) -> str:
        """The figure in words."""
        values = ", ".join(f"{shown(one.stage)} {one.cka:.2f}" for one in self.stages)
        return (
            f"Left, bars of the likeness (CKA) of features before and after for each stage: {values}. Right, rotation "
            "and "
            f"relative distance of the weights of {len(self.layers)} layers in their order."
        )

    def figure(self) -> Figure:
        """CKA by stage, and rotation and distance by layer."""
        colours = tuple(BLUE if one.cka >= KEPT else ORANGE for one in self.stages)
        values = tuple(one.cka if np.isfinite(one.cka) else 0.0 for one in self.stages)
        names = tuple(one.stage for one in self.stages)
        bars = Bars("Features kept", names, values, "debiased CKA", "{:.2f}", colours)
        x = list(range(1, len(self.layers) + 1))
        moved = [(place, one) for place, one in zip(x, self.layers, strict=True) if not one.is_same]
        places = [place for place, _ in moved]
        lines = (
            Line("relative distance", places, [one.distance for _, one in moved], TEXT, "dots"),
            Line("1 - cosine", places, [max(one.rotation, _FLOOR) for _, one in moved], BLUE, "dots"),
        )
        still = f", {len(x) - len(moved)} of {len(x)} did not" if len(moved) < len(x) else ""
        return panels_figure([bars, Plot(f"Layers that moved{still}", lines, "layer", "change", log_y=bool(moved))])

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        answers = None
        if self.answers is not None:
            answers = {**vars(self.answers), "p": self.answers.p}
        return {
            "title": self.title,
            "before": self.before,
            "after": self.after,
            "images": self.images,
            "stages": [{"stage": s.stage, "cka": to_plain(s.cka), "error": to_plain(s.error)} for s in self.stages],
            "layers": [to_plain(vars(one)) for one in self.layers],
            "statistics": list(self.statistics),
            "answers": answers,
            "reading": list(self.interpretation),
        }


def similarity(before: Model, after: Model, images: InspectedImages | Tensor, *, seed: int = 0) -> Similarity:
    """What training changed between two networks of one kind, on the same images.

    Features are pooled to one vector for each image, as a head takes them.

    Args:
        images: as the network before wants them; labels, where they are known, tell what became of the accuracy.
        seed: of the halves that give the standard error.

    Raises:
        BackboneError: the two are not of one kind.
        DataError: there are fewer than four images.
    """
    first, second, images = inspected_model(before), inspected_model(after), InspectedImages.of(images)
    if len(images) < LEAST:
        raise DataError(expected=f"{LEAST} images or more", found=f"{len(images)}", where="similarity")
    was, now = shared_tensors(first, second)
    x, old = _features_and_logits(first, images)
    y, new = _features_and_logits(second, images)
    stages = tuple(StageChange(name, *_likeness(x[name], y[name], seed)) for name in x if name in y)
    comparable = old is not None and new is not None and old.shape == new.shape and first.classes == second.classes
    return Similarity(
        first.name,
        second.name,
        len(images),
        stages,
        changes(was, now),
        moved_statistics(was, now),
        _answers(old, new, first.targets(images, old)) if comparable and old is not None and new is not None else None,
    )


def _likeness(x: Tensor, y: Tensor, seed: int) -> tuple[float, float]:
    if torch.equal(x, y):
        return 1.0, 0.0  # also where the stage says the same of all images
    return cka_with_error(x.double().numpy(), y.double().numpy(), seed=seed)


@torch.inference_mode()
def _features_and_logits(subject: InspectedModel, images: InspectedImages) -> tuple[dict[str, Tensor], Tensor | None]:
    """Pooled features of all stages, and logits where there are some, from one pass."""
    parts: dict[str, list[Tensor]] = {}
    run = subject.logits if subject.has_logits else subject.network
    with (
        subject.eval_mode(),
        watch_stages(subject, lambda name, x: parts.setdefault(name, []).append(pooled(subject, name, x))),
    ):
        outputs = torch.cat([run(pixels) for pixels in images.batches()])
    features = {name: torch.cat(parts[name]) for name in subject.stages if name in parts}
    names_classes = subject.has_logits and outputs.ndim == 2 and outputs.shape[1] > 1
    return features, outputs if names_classes else None


def _answers(old: Tensor, new: Tensor, labels: Tensor | None) -> Answers:
    shift = float((old.double().softmax(1) - new.double().softmax(1)).abs().mean())
    was, now = old.argmax(1), new.argmax(1)
    changed = int((was != now).sum())
    if labels is None:
        return Answers(len(old), changed, shift)
    right, then = now == labels, was == labels
    mended, broken = int((right & ~then).sum()), int((then & ~right).sum())
    return Answers(len(old), changed, shift, int(then.sum()), int(right.sum()), mended, broken)
