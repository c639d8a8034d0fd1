"""Options, devices and modes of the loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD

from headstart import runtime
from headstart.errors import TrainingError
from headstart.training.stepbystep import StepByStep
from small_loops import loop, network


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
