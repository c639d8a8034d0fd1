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
    "inputs that say nothing": Example(lambda: step(x=torch.ones(16, 3, 8, 8)), "error", (), step),
    "one class in the batch": Example(lambda: step(y=torch.ones(16).long()), "advice", (), step),
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
        (step(nn.Sequential(Net(), nn.LogSoftmax(0)), nn.NLLLoss()), "over the images of the batch (dim=0)"),
        (step(loss=lambda z, y: -nn.functional.cross_entropy(z, y)), "a sign is wrong"),
        (step(Net(1), lambda z, y: -nn.functional.mse_loss(z, y), y=YES), "a sign is wrong"),
    ],
)
def test_a_loss_is_recognised_by_what_it_computes(given: tuple[nn.Module, dict[str, object]], said: str):
    network, options = given
    found = findings(doctor(network, **options), "loss and output do not fit")  # type: ignore[arg-type]
    assert said in found["error"]


@pytest.mark.parametrize(
    ("last", "targets", "said"),
    [
        (nn.Sigmoid(), torch.linspace(0, 100, 16)[:, None], "targets from 0 to 100; a sigmoid gives 0 to 1"),
        (nn.Tanh(), torch.linspace(-3, 1, 16)[:, None], "targets from -3 to 1; a tanh gives -1 to 1"),
        (nn.ReLU(), torch.linspace(-3, 1, 16)[:, None], "targets from -3 to 1; a relu gives 0 and more"),
        (nn.Sigmoid(), YES, ""),
        (nn.ReLU(), torch.linspace(0, 9, 16)[:, None], ""),
    ],
)
def test_targets_that_no_output_reaches_are_told(last: nn.Module, targets: torch.Tensor, said: str):
    network, options = step(nn.Sequential(Net(1), last), nn.MSELoss(), y=targets)
    found = findings(doctor(network, **options), "loss and output do not fit")  # type: ignore[arg-type]
    assert found.get("warning", "") == said


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.MSELoss()])
def test_targets_of_yes_and_no_are_from_0_to_1(loss: nn.Module):
    network, options = step(Net(1), loss, y=YES * 2 - 1)
    found = findings(doctor(network, **options), "labels outside the classes")  # type: ignore[arg-type]
    wrong = {"error": "targets from -1 to 1; the loss takes 0 for no and 1 for yes"}
    assert found == (wrong if isinstance(loss, nn.BCEWithLogitsLoss) else {})


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (nn.CrossEntropyLoss(reduction="none"), "the loss is float32 of shape 16, not one number"),
        (lambda z, y: nn.functional.cross_entropy(z, y).item(), "the loss is a float, not a tensor"),
        (lambda z, y: nn.functional.cross_entropy(z.detach(), y), "no gradient for the outputs"),
        (lambda z, y: (z.argmax(1) != y).float().mean(), "no gradient for the outputs"),
    ],
)
def test_a_loss_that_backward_cannot_begin_at_is_told(loss: object, said: str):
    network, options = step(loss=loss)
    assert said in findings(doctor(network, **options), "failing training step")["error"]  # type: ignore[arg-type]


def test_a_network_that_fails_on_the_batch_is_told_with_its_shape():
    network, options = step(x=torch.randn(16, 8, 8, 3))
    found = findings(doctor(network, **options), "failing training step")["error"]  # type: ignore[arg-type]
    assert "float32 of shape 16×8×8×3, and the network fails: RuntimeError" in found


def test_inputs_that_say_nothing_are_blamed_and_not_the_network():
    damaged = torch.randn(16, 3, 8, 8)
    damaged[3, 0, 0, 0] = torch.nan
    for x, said in ((torch.zeros(16, 3, 8, 8), "all 16 inputs are the same numbers"), (damaged, "nan or infinity in")):
        network, options = step(x=x)
        diagnosis = doctor(network, **options)  # type: ignore[arg-type]
        assert said in findings(diagnosis, "inputs that say nothing")["error"]
        assert {"vanishing activations", "output independent of the images"} <= set(diagnosis.passed)


def test_the_batch_stays_as_it_is_though_the_network_writes_into_it():
    class Scaling(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mul_(0.5))

    network, options = step(Scaling())
    before = options["batch"][0].clone()  # type: ignore[index]
    doctor(network, **options)  # type: ignore[arg-type]
    assert torch.equal(options["batch"][0], before)  # type: ignore[index]


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


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.rand(16, 3, 8, 8) / 255, "scaled twice"),
        ((torch.rand(16, 3, 8, 8) / 255 - 0.45) / 0.225, "scaled twice"),
        (torch.rand(16, 3, 8, 8), ""),
        (torch.rand(16, 3, 8, 8) * 0.1 + 0.5, ""),
        (torch.rand(16, 8, 8, 8) / 255, ""),
    ],
)
def test_images_that_were_scaled_twice_are_told(x: torch.Tensor, said: str):
    network, options = step(Net() if x.shape[1] == 3 else nn.Sequential(nn.Conv2d(8, 3, 1), Net()), x=x)
    found = findings(doctor(network, **options), "inputs of another type")  # type: ignore[arg-type]
    assert said in found.get("warning", "")
    assert bool(found) == bool(said)
    options["batch"] = (x, options["batch"][1])  # type: ignore[index]
    first = nn.Sequential(nn.BatchNorm2d(x.shape[1]), network)  # it takes any scale
    assert findings(doctor(first, **options), "inputs of another type") == {}  # type: ignore[arg-type]


def test_few_labels_or_two_classes_say_nothing_about_shuffling():
    for y in (torch.tensor([0] * 15 + [1]), None):
        network, options = step(y=y)
        assert "one class in the batch" in doctor(network, **options).passed  # type: ignore[arg-type]
    network, options = step(x=torch.randn(4, 3, 8, 8), y=torch.zeros(4).long())
    assert "one class in the batch" in doctor(network, **options).passed  # type: ignore[arg-type]


def test_levels_of_an_ordinal_loss_are_no_indices():
    """Cao et al. 2020: two outputs ask whether the level is above 0 and above 1, so that labels go to 2."""

    def above(outputs: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs, (levels[:, None] > torch.arange(2)).float())

    network, options = step(Net(2), above)
    diagnosis = doctor(network, **options)  # type: ignore[arg-type]
    assert {"labels outside the classes", "loss and output do not fit"} <= set(diagnosis.passed)


def test_a_loss_that_is_the_same_for_both_signs_has_no_wrong_one():
    network, options = step(loss=lambda z, y: -(z @ z.t())[y[:, None] == y].mean())
    assert "loss and output do not fit" in doctor(network, **options).passed  # type: ignore[arg-type]


def test_labels_to_ignore_are_no_labels():
    network, options = step(y=torch.tensor([-100, 0, 1, 2] * 4))
    assert "labels outside the classes" in doctor(network, **options).passed  # type: ignore[arg-type]


def test_a_batch_that_is_no_pair_is_refused():
    from headstart.errors import RecipeError

    with pytest.raises(RecipeError, match="inputs and targets"):
        doctor(Net(), batch=torch.zeros(2, 3, 8, 8))  # type: ignore[arg-type]
