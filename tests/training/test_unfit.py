"""A batch that does not fit the network or the loss is named; mistakes in the user's own code keep their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.batch import loss_of, run_model
from headstart.training.stepbystep import StepByStep

X, Y = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (5, "tensors as inputs of the network, found int"),
        (None, "found NoneType"),
        ("text", "found str"),
        (np.ones((6, 4)), "found ndarray"),
        ([[1.0] * 4] * 6, "found list"),
        ((X.numpy(),), "found ndarray"),
        (X.double(), r"as the weights are, found torch\.float64.*x\.to\(torch\.float32\)"),
        (X.long(), r"found torch\.int64"),
        (X[:, :3], r"a shape that the layers take, found \(6, 3\)"),
    ],
)
def test_an_input_that_does_not_fit_is_named(x: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run_model(nn.Sequential(nn.Linear(4, 2)), x)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 5, "labels from 5 to 6"),
        (Y - 1, "labels from -1 to 0"),
        (Y.int(), r"targets \(6,\) of torch\.int32"),
        (Y[:4], r"targets \(4,\) of torch\.int64"),
        (Y.tolist(), "found list"),
        (None, "found NoneType"),
    ],
)
def test_targets_that_do_not_fit_are_named(y: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=rf"targets that the loss takes with outputs \(6, 2\).*{message}"):
        loss_of(nn.CrossEntropyLoss(), torch.randn(6, 2), y)


def test_keys_that_are_no_arguments_of_the_network_are_named() -> None:
    with pytest.raises(TrainingError, match=r"keys are the arguments of the network, found 'pixels'"):
        run_model(nn.Sequential(nn.Linear(4, 2)), {"pixels": X})


def test_more_inputs_than_the_network_takes_are_counted() -> None:
    with pytest.raises(TrainingError, match=r"2 inputs and a target.*such as an index"):
        run_model(nn.Sequential(nn.Linear(4, 2)), (X, Y))
    with pytest.raises(TypeError, match="mine"):
        run_model(Broken(TypeError("mine")), (X,))


class Broken(nn.Module):
    """Fails whatever it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize("kind", [ZeroDivisionError, TypeError, AttributeError, RuntimeError, ValueError, KeyError])
def test_an_error_of_the_network_or_the_loss_keeps_its_kind(kind: type[Exception]) -> None:
    def broken(outputs: Tensor, y: Tensor) -> Tensor:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        run_model(Broken(kind("mine")), X)
    with pytest.raises(kind, match="mine"):
        loss_of(broken, torch.randn(6, 2), Y)


def test_correct_and_predict_say_what_they_were_given() -> None:
    loop = StepByStep(nn.Linear(4, 2), nn.CrossEntropyLoss(), None)

    with pytest.raises(TrainingError, match="tensors as inputs of the network, found int"):
        loop.correct(5, 5)
    with pytest.raises(TrainingError, match=r"a shape that the layers take, found \(2, 3\)"):
        loop.predict(torch.randn(2, 3))
