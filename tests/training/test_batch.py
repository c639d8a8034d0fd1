"""Batches of any form and models with two outputs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from headstart.errors import TrainingError
from headstart.training.batch import run_model, size_of, to_device, two_output_loss
from headstart.training.meters import accuracy
from headstart.training.stepbystep import StepByStep
from small_loops import points


def test_batches_may_be_mappings_or_have_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pixels: Tensor, extra: Tensor) -> Tensor:
            return self.linear(pixels) + extra[:, :2]

    x, y = points().tensors
    finals = []
    for batches in (
        [{"pixels": x, "extra": x, "labels": y}],
        [(x, x, y)],
    ):
        torch.manual_seed(0)
        model = Two()
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
        sbs.set_loaders(batches, batches)
        sbs.train(3)
        finals.append(sbs.losses)
    assert finals[0] == finals[1]
    sbs.set_loaders([{"pixels": x}])
    with pytest.raises(TrainingError, match="mapping with"):
        sbs.train(1)


def test_a_mapping_whose_keys_the_network_does_not_take_is_one_input() -> None:
    class Reads(nn.Module):
        def forward(self, x: dict[str, Tensor]) -> Tensor:
            return x["pixels"] * 2

    x = points().tensors[0]

    assert torch.equal(run_model(Reads(), {"pixels": x}), x * 2)
    assert torch.equal(run_model(Reads(), {"x": {"pixels": x}}), x * 2)


def test_maps_of_one_pixel_under_instance_norm_are_an_error_of_ours() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.InstanceNorm2d(4))

    with pytest.raises(TrainingError, match=r"maps of more than one pixel.*found maps of 1×1.*larger images"):
        run_model(model, torch.ones(2, 3, 8, 8))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.main, self.aux = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        from torchvision.models.inception import InceptionOutputs

        return InceptionOutputs(self.main(x), self.aux(x)) if self.training else self.main(x)


def test_d28_two_outputs_are_known_by_their_type_so_that_a_batch_of_two_rows_is_one_output() -> None:
    model = TwoHeads()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    x, y = points(2).tensors
    loss_fn = nn.CrossEntropyLoss()
    model.eval()
    assert sbs.val_step_fn(x, y) == pytest.approx(loss_fn(model(x), y).item())
    expected = loss_fn(model.main(x), y) + 0.4 * loss_fn(model.aux(x), y)
    assert sbs.train_step_fn(x, y) == pytest.approx(expected.item())
    assert two_output_loss(loss_fn)(model.eval()(x), y).shape == ()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.rnn, self.linear = nn.RNN(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Any) -> Tensor:
        _, hidden = self.rnn(x)
        return self.linear(hidden[-1])


def test_a_packed_sequence_is_one_input_and_trains_as_each_sequence_alone_would() -> None:
    chance = torch.Generator().manual_seed(1)
    sequences = [(torch.randn(n, 2, generator=chance), torch.ones(1)) for n in (4, 2, 4, 3)]

    def collate(batch: Any) -> Any:
        return pack_sequence([x for x, _ in batch], enforce_sorted=False), torch.stack([y for _, y in batch])

    model = Recurrent()
    sbs = StepByStep(model, nn.BCEWithLogitsLoss(), SGD(model.parameters(), lr=0.1))
    loader = DataLoader(sequences, 3, collate_fn=collate)
    sbs.set_loaders(loader, loader)
    sbs.train(2)
    with torch.no_grad():
        alone = torch.stack([model(x[None])[0] for x, _ in sequences])
    assert sbs.val_losses[-1] == pytest.approx(nn.BCEWithLogitsLoss()(alone, torch.ones(4, 1)).item(), rel=1e-5)
    packed, target = collate(sequences)
    assert np.allclose(sbs.predict(packed), alone.numpy(), atol=1e-6)
    assert sbs.correct(packed, target)[1, 1] == 4
    assert size_of(packed) == 4


def test_a_namedtuple_is_one_input_and_its_tensors_move() -> None:
    class Pair(NamedTuple):
        left: Tensor
        right: Tensor

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pair: Pair) -> Tensor:
            return self.linear(pair.left + pair.right)

    x, y = points().tensors
    model = Sum()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    sbs.set_loaders([(Pair(x, x), y)])
    sbs.train(1)
    assert sbs.losses
    moved = to_device(Pair(x, x), "meta")
    assert type(moved) is Pair
    assert moved.left.device.type == moved.right.device.type == "meta"
    assert to_device(pack_sequence([x]), "meta").data.device.type == "meta"


class Returns(nn.Module):
    """A linear layer whose output is put into something."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear, self.form = nn.Linear(3, 2), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.linear(x))


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


FORMS = {
    "tensor": lambda z: z,
    "logits": lambda z: {"hidden": z + 1, "logits": z},
    "out": lambda z: OrderedDict(out=z, aux=z + 1),
    "alone": lambda z: {"scores": z},
    "fields": lambda z: Output(z, z + 1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), nn.functional.cross_entropy])
def test_a_network_that_returns_a_mapping_trains_and_predicts_as_one_that_returns_the_logits(
    form: str, loss_fn: Any
) -> None:
    x, y = points().tensors

    def run(one: str) -> list[Any]:
        model = Returns(FORMS[one])
        sbs = StepByStep(model, loss_fn, SGD(model.parameters(), lr=0.1), metrics={"accuracy": accuracy})
        sbs.set_loaders([(x, y)], [(x, y)])
        sbs.train(2)
        found = [sbs.losses, sbs.val_losses, sbs.records[-1].val_metrics, sbs.correct(x, y).tolist()]
        return [*found, sbs.predict(x).tolist(), sbs.predict_proba(x).tolist()]

    assert run(form) == run("tensor")


@pytest.mark.parametrize("form", [lambda z: {"a": z, "b": z}, lambda z: (z, z), lambda z: None])
def test_an_output_without_a_main_part_is_an_error_of_ours_everywhere(form: Any) -> None:
    x, y = points().tensors
    model = Returns(form)
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    for attempt in (
        lambda: sbs.train_step_fn(x, y),
        lambda: sbs.val_step_fn(x, y),
        lambda: sbs.predict(x),
        lambda: sbs.correct(x, y),
    ):
        with pytest.raises(TrainingError, match="network that returns a tensor"):
            attempt()
    sbs.loss_fn = lambda outputs, y: nn.functional.cross_entropy(outputs.scores, y)
    with pytest.raises(TrainingError, match="AttributeError"):
        sbs.train_step_fn(x, y)


def test_a_loss_of_your_own_gets_the_whole_output() -> None:
    x, y = points().tensors
    model = Returns(lambda z: {"logits": z, "more": z * 2})
    loss = nn.functional.cross_entropy
    sbs = StepByStep(model, lambda outputs, y: loss(outputs["more"], y), SGD(model.parameters(), lr=0.1))
    assert sbs.val_step_fn(x, y) == pytest.approx(loss(model.linear(x) * 2, y).item())


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(8), nn.GroupNorm(8, 8)])
def test_a_last_batch_of_one_under_batch_norm_is_an_error_before_the_first_step(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(3, 8), norm, nn.Linear(8, 2))
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    sbs.set_loaders(DataLoader(points(33), 8, shuffle=True))
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with pytest.raises(TrainingError, match=r"batch of one.*drop_last=True"):
        sbs.train(1)
    if isinstance(norm, nn.BatchNorm1d):
        assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    sbs.set_loaders(DataLoader(points(33), 8, shuffle=True, drop_last=True))
    sbs.train(1)
    norm.eval()  # by hand: then it takes its running statistics
    sbs.set_loaders(DataLoader(points(33), 8, shuffle=True))
    sbs.train(1) if isinstance(norm, nn.BatchNorm1d) else None


def test_a_last_batch_of_one_that_batch_norm_can_take_is_trained_on_and_looking_ahead_leaves_no_trace() -> None:
    def run(look: bool) -> tuple[list[float], list[Tensor]]:
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 2))
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
        images = TensorDataset(torch.randn(9, 3, 8, 8), torch.arange(9) % 2)
        sbs.set_loaders(DataLoader(images, 4, shuffle=True))
        sbs._check_last_batch = sbs._check_last_batch if look else lambda: None  # type: ignore[method-assign]
        sbs.train(2)
        return sbs.losses, list(model.state_dict().values())

    (losses, state), (expected, other) = run(True), run(False)
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(state, other, strict=True))


@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(reduction="none"), lambda outputs, y: 0.5])
def test_a_loss_that_is_not_one_number_is_an_error_of_ours(loss_fn: Any) -> None:
    model = Returns(lambda z: z)
    sbs = StepByStep(model, loss_fn, SGD(model.parameters(), lr=0.1))
    for step in (sbs.train_step_fn, sbs.val_step_fn):
        with pytest.raises(TrainingError, match="one number for the batch"):
            step(*points().tensors)


@pytest.mark.parametrize(
    "loss_fn",
    [
        lambda outputs, y: nn.functional.cross_entropy(outputs.detach(), y),
        lambda outputs, y: (outputs.argmax(1) != y).float().mean(),
    ],
)
def test_a_loss_without_a_gradient_is_an_error_of_ours_in_training_alone(loss_fn: Any) -> None:
    model = nn.Linear(3, 2)
    sbs = StepByStep(model, loss_fn, SGD(model.parameters(), lr=0.1))
    sbs.set_loaders(DataLoader(points(), 16))
    with pytest.raises(TrainingError, match="a loss with a gradient"):
        sbs.train(1)
    assert sbs.val_step_fn(*points()[:4]) >= 0
