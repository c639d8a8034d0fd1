"""A head on frozen features: which stages, which lambda, which temperature; chosen without the reported images.

In: Features, the indices and labels of the training images, groups. Out: LinearProbe with its Head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import RecipeError
from headstart.evaluation.calibration import Temperature, fit_temperature
from headstart.evaluation.evaluation import HeldOutAccuracy
from headstart.evaluation.intervals import Interval
from headstart.features.matrix import Features
from headstart.heads.cross_validation import cross_validated
from headstart.heads.head import Head
from headstart.heads.regularization_path import LabelledFeatures, Labels, PathSolver, RegularizationPath, Validation
from headstart.progress import OnProgress, no_progress
from headstart.registry import HEADS
from headstart.wording import counted

_LEAST_VALIDATION = 50  # below, a validation accuracy has an interval wider than ±14 points: leaving out chooses better


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The images a head may see: their rows in Features, labels, groups, and the validation images if there are some.

    Args:
        rows: N. labels: N class indices in [0, classes). groups: N; images of one group are held out together.
        validation_rows: M, perhaps empty. validation_labels: M.
    """

    rows: Labels
    labels: Labels
    groups: Labels
    classes: int
    validation_rows: Labels
    validation_labels: Labels

    @property
    def validates(self) -> bool:
        """Whether the validation images are enough to choose by."""
        return len(self.validation_rows) >= _LEAST_VALIDATION


@dataclass(frozen=True, kw_only=True)
class LayerScore:
    """Held-out accuracy of one choice of stages: what `--layers` would give."""

    layers: str
    stages: tuple[str, ...]
    width: int
    accuracy: Interval
    lambda_: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "layers": self.layers,
            "stages": list(self.stages),
            "width": self.width,
            "accuracy": self.accuracy.value,
            "low": self.accuracy.low,
            "high": self.accuracy.high,
            "lambda": self.lambda_,
        }


@dataclass(frozen=True)
class LinearProbe:
    """A trained head and how it came about.

    Args:
        path: the lambdas that were tried, with held-out losses.
        choices: the held-out score of every choice of stages; the first is the one used.
        temperature: of the head, as fitted on the held-out rows.
    """

    head: Head
    path: RegularizationPath
    choices: tuple[LayerScore, ...]
    temperature: Temperature

    @property
    def at_bound(self) -> bool:
        """Whether the held-out scores say nothing about the classes, so that no temperature is the best."""
        return self.temperature.at_bound

    @property
    def reason(self) -> str:
        """Why this kind of head was taken, where the solver chose; else empty."""
        return self.path.reason

    @property
    def held_out_accuracy(self) -> HeldOutAccuracy:
        """Accuracy on the rows held out to choose lambda, with its interval; over groups if there are any."""
        path, count = self.path, len(self.path.held_labels)
        if path.held_groups is None:
            return HeldOutAccuracy(path.interval, counted(count, "validation image"))
        return HeldOutAccuracy(path.interval, f"{counted(count, 'training image')}, {path.held_out}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.head.kind,
            "stages": list(self.head.stages),
            "lambda": self.path.lambda_,
            "gamma": None if self.head.kernel is None else self.head.kernel.gamma,
            "landmarks": None if self.head.kernel is None else len(self.head.kernel.landmarks),
            "reason": self.reason,
            "temperature": self.head.temperature,
            "temperature_interval": [self.temperature.low, self.temperature.high],
            "temperature_at_bound": self.temperature.at_bound,
            "held_out": self.path.held_out,
            "held_out_accuracy": self.path.accuracy,
            "choices": [choice.to_dict() for choice in self.choices],
        }


def fit_linear_probe(
    features: Features,
    training: TrainingRows,
    *,
    layers: Mapping[str, tuple[str, ...]],
    kind: str = "ridge",
    balance: str = "none",
    progress: OnProgress = no_progress,
) -> LinearProbe:
    """Solve the head at the first of `layers`, and score the other choices of stages for the reader.

    Args:
        layers: word → stages; the first is used, none is chosen by its score.
        kind: a name in HEADS.
        balance: `none`, or `equal`: each class weighs the same, however many images it has.
        progress: called with (per cent done, 100).

    Raises:
        DataError: there are too few groups of images to leave one out.
        RecipeError: the head is unknown, its solver fails, or it cannot weigh classes.
    """
    choices, paths = [], []
    solver = HEADS.find(kind, where="--head")
    if isinstance(solver, PathSolver) and not solver.compares_layers:
        layers = dict(list(layers.items())[:1])
    for number, (word, stages) in enumerate(layers.items()):
        share = _share(progress, number, len(layers))
        path = _solve(features, training, stages, kind=kind, balance=balance, progress=share)
        paths.append(path)
        width = features.view(training.rows, stages).shape[1]
        choices.append(
            LayerScore(layers=word, stages=stages, width=width, accuracy=path.interval, lambda_=path.lambda_)
        )
    progress(100, 100)
    path, stages = paths[0], choices[0].stages
    temperature = fit_temperature(path.held_scores, path.held_labels)
    head = Head(
        kind=path.kind or kind,
        stages=stages,
        weight=path.weight,
        bias=path.bias,
        temperature=temperature.value,
        kernel=path.kernel,
    )
    return LinearProbe(head, path, tuple(choices), temperature)


def class_weights(labels: Labels, classes: int) -> NDArray[np.float64]:
    """N weights with mean 1 under which every class that occurs weighs the same."""
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    return np.asarray(len(labels) / (present * counts[labels]), dtype=np.float64)


def _solve(
    features: Features,
    training: TrainingRows,
    stages: Sequence[str],
    *,
    kind: str,
    balance: str,
    progress: OnProgress,
) -> RegularizationPath:
    validation = None
    if training.validates:
        held = training.validation_labels
        weights = class_weights(held, training.classes) if balance == "equal" else None
        validation = Validation(features.view(training.validation_rows, stages), held, weights)
    data = LabelledFeatures.of(
        features.view(training.rows, stages),
        training.labels,
        training.classes,
        groups=training.groups,
        weights=class_weights(training.labels, training.classes) if balance == "equal" else None,
    )
    solver = HEADS.find(kind, where="--head")
    if isinstance(solver, PathSolver):
        return solver.solve(data, validation=validation, progress=progress)
    if balance == "equal":
        raise RecipeError(
            expected="--balance none",
            found="--balance equal",
            where=f"--head {kind}",
            hint="This head takes no weights of classes; ridge and logistic do.",
        )
    return cross_validated(kind, solver, data, validation=validation, progress=progress)


def _share(progress: OnProgress, number: int, count: int) -> OnProgress:
    """Report the progress of one of several solvers as that of all of them, in per cent below 100."""
    return lambda done, total: progress(min(99, int(100 * (number + done / total) / count)), 100)
