"""A head on frozen features: which stages, how strongly penalised, how calibrated; chosen without the reported images.

In: Features, the indices and labels of the training images, groups. Out: Probe with its Head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibration import fit_temperature
from headstart.features.matrix import Features
from headstart.heads.head import Head
from headstart.heads.logistic import solve_logistic
from headstart.heads.regularization_path import Labels, RegularizationPath, Validation
from headstart.heads.ridge import solve_ridge

SOLVERS: Mapping[str, Callable[..., RegularizationPath]] = {"ridge": solve_ridge, "logistic": solve_logistic}

_LEAST_VALIDATION = 50  # below, a validation accuracy has an interval wider than ±14 points: leaving out chooses better


@dataclass(frozen=True)
class TrainingRows:
    """The images a head may see: their rows in Features, labels, groups, and the validation images if there are some.

    Args:
        rows: N. labels: N class indices. groups: N; images with the same number are left out together.
        validation_rows: M, perhaps empty. validation_labels: M.
    """

    rows: Labels
    labels: Labels
    groups: Labels
    validation_rows: Labels
    validation_labels: Labels

    @property
    def validates(self) -> bool:
        """Whether the validation images are enough to choose by."""
        return len(self.validation_rows) >= _LEAST_VALIDATION


@dataclass(frozen=True)
class LayerScore:
    """Held-out accuracy of one choice of stages: what `--layers` would give."""

    layers: str
    stages: tuple[str, ...]
    width: int
    accuracy: float
    strength: float

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**self.__dict__, "stages": list(self.stages)}


@dataclass(frozen=True)
class LinearProbe:
    """A trained head and how it came about.

    Args:
        path: the strengths that were tried, with held-out losses.
        choices: the held-out score of every choice of stages; the first is the one used.
    """

    head: Head
    path: RegularizationPath
    choices: tuple[LayerScore, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "kind": self.head.kind,
            "stages": list(self.head.stages),
            "strength": self.path.strength,
            "temperature": self.head.temperature,
            "held_out": self.path.held_out,
            "held_out_accuracy": self.path.accuracy,
            "choices": [choice.to_dict() for choice in self.choices],
        }


def fit_linear_probe(
    features: Features,
    training: TrainingRows,
    classes: int,
    *,
    layers: Mapping[str, tuple[str, ...]],
    kind: str = "ridge",
    balance: str = "none",
    compare_layers: bool = True,
) -> LinearProbe:
    """Solve the head at the first of `layers`, and score the other choices of stages for the reader.

    Args:
        layers: word → stages; the first is used, none is chosen by its score.
        kind: a key of SOLVERS.
        balance: `none`, or `equal`: each class weighs the same, however many images it has.
        compare_layers: also solve the others; False saves their time.

    Raises:
        DataError: there are too few groups of images to leave one out.
    """
    weights = class_weights(training.labels, classes) if balance == "equal" else None
    choices, chosen = [], None
    for word, stages in layers.items():
        if chosen is not None and not compare_layers:
            break
        path = _solve(features, training, classes, stages, kind, weights)
        width = path.weight.shape[0]
        choices.append(LayerScore(word, stages, width, path.accuracy, path.strength))
        chosen = chosen or (stages, path)
    assert chosen is not None  # `layers` is never empty: the caller made it
    stages, path = chosen
    temperature = fit_temperature(path.held_scores, path.held_labels).value
    head = Head(kind, stages, path.weight, path.bias, temperature)
    return LinearProbe(head, path, tuple(choices))


def _solve(
    features: Features,
    training: TrainingRows,
    classes: int,
    stages: Sequence[str],
    kind: str,
    weights: NDArray[np.float64] | None,
) -> RegularizationPath:
    validation = None
    if training.validates:
        validation = Validation(features.view(training.validation_rows, stages), training.validation_labels)
    view = features.view(training.rows, stages)
    return SOLVERS[kind](view, training.labels, classes, groups=training.groups, weights=weights, validation=validation)


def class_weights(labels: Labels, classes: int) -> NDArray[np.float64]:
    """N weights with mean 1 under which every class that occurs weighs the same."""
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    return np.asarray(len(labels) / (present * counts[labels]), dtype=np.float64)
