"""Rules about one training step: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flawed_networks import Example, Net, RuleExamples, findings
from headstart.best_practices import training_step
from headstart.best_practices.doctor import doctor


def step(
    network: nn.Module | None = None, loss: object = None, x: object = None, y: object = None
) -> tuple[nn.Module, dict[str, object]]:
    """A network with three outputs, cross-entropy, and a batch of 16."""
    torch.manual_seed(0)
    inputs = torch.randn(16, 3, 8, 8) if x is None else x
    targets = torch.arange(16) % 3 if y is None else y
    return network or Net(), {"loss": loss or nn.CrossEntropyLoss(), "batch": (inputs, targets)}


YES = (torch.arange(16) % 2).float()[:, None]


EXAMPLES: dict[str, Example] = {
    "inputs of another type": Example(
        lambda: step(x=torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)), "error", (), step
    ),
    "labels outside the classes": Example(lambda: step(y=torch.arange(16) % 4), "error", (), step),
    "loss and output do not fit": Example(lambda: step(loss=nn.NLLLoss()), "error", (), step),
    "failing training step": Example(lambda: step(y=(torch.arange(16) % 3).float()), "error", (), step),
}


class TestExamples(RuleExamples):
    file, examples = training_step, EXAMPLES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (step(loss=nn.NLLLoss()), "takes log-probabilities"),
        (step(nn.Sequential(Net(), nn.Softmax(1)), nn.NLLLoss()), "takes log-probabilities"),
        (step(nn.Sequential(Net(), nn.Softmax(1))), "the output is probabilities"),
        (
            step(nn.Sequential(Net(), nn.Softmax(1)), nn.CrossEntropyLoss(label_smoothing=0.1)),
            "output is probabilities",
        ),
        (
            step(nn.Sequential(Net(), nn.Softmax(1)), lambda z, y: nn.functional.cross_entropy(z, y)),
            "applies a softmax",
        ),
        (step(nn.Sequential(Net(), nn.Sigmoid())), "that of a sigmoid"),
        (step(nn.Sequential(Net(), nn.ReLU())), "that of a relu"),
        (step(Net(1), y=torch.zeros(16).long()), "probability is always 1"),
        (step(nn.Sequential(Net(1), nn.Sigmoid()), nn.BCEWithLogitsLoss(), y=YES), "applies a sigmoid"),
        (step(Net(1), nn.BCELoss(), y=YES), "takes probabilities"),
    ],
)
def test_a_loss_is_recognised_by_what_it_computes(given: tuple[nn.Module, dict[str, object]], said: str):
    network, options = given
    found = findings(doctor(network, **options), "loss and output do not fit")  # type: ignore[arg-type]
    assert said in found["error"]


@pytest.mark.parametrize(
    "given",
    [
        step(nn.Sequential(Net(), nn.LogSoftmax(1)), nn.NLLLoss()),
        step(nn.Sequential(Net(), nn.LogSoftmax(1))),
        step(nn.Sequential(Net(1), nn.Sigmoid()), nn.BCELoss(), y=YES),
        step(Net(1), nn.BCEWithLogitsLoss(), y=YES),
        step(Net(1), nn.MSELoss(), y=YES),
        step(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))),
    ],
)
def test_a_loss_that_fits_is_not_blamed(given: tuple[nn.Module, dict[str, object]]):
    network, options = given
    diagnosis = doctor(network, **options)  # type: ignore[arg-type]
    assert {"loss and output do not fit", "failing training step"} <= set(diagnosis.passed)


@pytest.mark.parametrize(
    ("given", "rule", "said"),
    [
        (
            step(x=torch.randn(16, 3, 8, 8).double()),
            "inputs of another type",
            "inputs are float64, the weights float32",
        ),
        (step(x=torch.rand(16, 3, 8, 8) * 255), "inputs of another type", "not scaled"),
        (step(y=torch.arange(16) % 3 - 1), "labels outside the classes", "from -1 to 1 for 3 outputs (0 to 2)"),
        (step(y=(torch.arange(16) % 3)[:, None]), "failing training step", "targets are int64 of shape 16×1"),
        (step(y=(torch.arange(16) % 3).int()), "failing training step", "targets are int32"),
        (step(Net(1), nn.MSELoss(), y=YES[:, 0]), "failing training step", "stretched"),
        (step(y=torch.arange(8) % 3), "failing training step", "16 inputs and 8 targets"),
    ],
)
def test_types_shapes_and_labels_are_named(given: tuple[nn.Module, dict[str, object]], rule: str, said: str):
    network, options = given
    found = findings(doctor(network, **options), rule)  # type: ignore[arg-type]
    assert said in "; ".join(found.values())


def test_labels_to_ignore_are_no_labels():
    network, options = step(y=torch.tensor([-100, 0, 1, 2] * 4))
    assert "labels outside the classes" in doctor(network, **options).passed  # type: ignore[arg-type]


def test_a_batch_that_is_no_pair_is_refused():
    from headstart.errors import RecipeError

    with pytest.raises(RecipeError, match="inputs and targets"):
        doctor(Net(), batch=torch.zeros(2, 3, 8, 8))  # type: ignore[arg-type]
