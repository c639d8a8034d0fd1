"""Options, devices and modes of the loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD
from torch.utils.data import DataLoader

from headstart import runtime
from headstart.errors import TrainingError
from headstart.training.stepbystep import StepByStep
from small_loops import loop, network, points


def test_d4_a_batch_norm_put_into_eval_mode_by_hand_stays_there() -> None:
    sbs, book = loop(), loop(compat="book")
    for one in (sbs, book):
        one.model[1].eval()
        one.model[1].requires_grad_(False)
        one.train(2)
    assert torch.equal(sbs.model[1].running_mean, torch.zeros(8))
    assert not sbs.model[1].training
    assert sbs.model[3].training
    assert not torch.equal(book.model[1].running_mean, torch.zeros(8))


def test_unknown_options_and_devices_are_errors_and_move_nothing() -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    for options in ({"precision": "int8"}, {"accumulate": 0}, {"compat": "v2"}):
        with pytest.raises(TrainingError):
            StepByStep(model, nn.CrossEntropyLoss(), optimizer, **options)  # type: ignore[arg-type]
    sbs = loop()
    with pytest.raises(TrainingError, match="device"):
        sbs.to("cuda:7")
    assert sbs.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_device_that_is_named_is_taken_and_no_other_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "choose_device", lambda name="auto": "meta" if name == "auto" else name)
    assert loop(device="cpu").model[0].weight.device.type == "cpu"
    assert loop().model[0].weight.device.type == "meta"


def test_a_loop_without_loss_and_optimizer_evaluates_and_says_what_training_needs() -> None:
    x, y = points().tensors
    model = network()
    sbs = StepByStep(model, None, None)
    sbs.set_loaders(DataLoader(points(), 8))
    assert sbs.correct(x, y).sum(0)[1] == 40
    assert sbs.predict(x).shape == (40, 2)
    for attempt, needed in (
        (lambda: sbs.train(1), "an optimizer"),
        (lambda: sbs.lr_range_test(sbs.train_loader, 1.0), "an optimizer"),
        (lambda: sbs.capture_gradients("0", after_clipping=True), "an optimizer"),
    ):
        with pytest.raises(TrainingError, match=needed):
            attempt()
    sbs.optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainingError, match="a loss"):
        sbs.train(1)
    sbs.loss_fn = nn.CrossEntropyLoss()
    sbs.train(1)
    assert len(sbs.losses) == 1


def test_an_optimizer_whose_step_needs_a_closure_is_refused_in_words() -> None:
    sbs = loop()
    sbs.set_optimizer(LBFGS(sbs.model.parameters()))
    for attempt in (lambda: sbs.train(1), lambda: sbs.lr_range_test(sbs.train_loader, 1.0)):
        with pytest.raises(TrainingError, match="LBFGS, whose step needs a closure"):
            attempt()


@pytest.mark.parametrize("epochs", [-1, 1.5, "2", None, True])
def test_epochs_that_are_no_number_of_them_are_refused(epochs: object) -> None:
    with pytest.raises(TrainingError, match="a number of epochs"):
        loop().train(epochs)  # type: ignore[arg-type]
    assert loop().train(np.int64(1)) is None  # type: ignore[arg-type]


def test_hooks_that_a_notebook_puts_among_ours_stand_in_no_ones_way() -> None:
    sbs = loop()
    sbs.handles["mine"] = sbs.model[0].register_forward_hook(lambda *_: None)
    sbs.attach_hooks("0")
    sbs.lr_range_test(sbs.train_loader, 1.0, 5)
    sbs.remove_hooks()
    assert sbs.handles == {}
    assert not sbs.model[0]._forward_hooks


@pytest.mark.parametrize("seed", ["7", 1.5, True, 2**70])
def test_a_seed_that_is_none_is_refused_and_not_left_out(seed: object) -> None:
    with pytest.raises(TrainingError, match="whole number of 64 bits"):
        loop().train(1, seed=seed)


def test_a_seed_of_numpy_is_one() -> None:
    one, other = loop(), loop()
    one.train(2, seed=np.int64(7))
    other.train(2, seed=7)
    assert one.losses == other.losses


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((network(), nn.MSELoss, None), {}, "the class MSELoss, not an object of it"),
        ((network(), "mse", None), {}, "a function as loss_fn"),
        ((network().parameters(), nn.MSELoss(), None), {}, "a network"),
        ((network(), nn.MSELoss(), SGD), {}, "an optimizer or None"),
        ((network(), nn.MSELoss(), None), {"metrics": {"accuracy": 5}}, "the metric 'accuracy'"),
        ((network(), nn.MSELoss(), None), {"accumulate": 1.5}, "accumulate of at least 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused_at_once(
    arguments: tuple[object, ...], options: dict[str, object], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        StepByStep(*arguments, **options)  # type: ignore[arg-type]


def test_weights_without_numbers_and_those_that_cannot_change_are_refused() -> None:
    empty = nn.Linear(4, 2, device="meta")
    with pytest.raises(TrainingError, match="on the device meta"):
        StepByStep(empty, nn.CrossEntropyLoss(), SGD(empty.parameters(), 0.1))
    with torch.inference_mode():
        fixed = network()
    with pytest.raises(TrainingError, match=r"made under torch\.inference_mode"):
        StepByStep(fixed, nn.CrossEntropyLoss(), SGD(fixed.parameters(), 0.1))
    sbs = StepByStep(fixed, nn.CrossEntropyLoss(), None)  # which only evaluates
    assert sbs.predict(points().tensors[0]).shape[0] == len(points())
