"""Names with and without wrappers; checkpoints go from each kind of network to each other kind."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from headstart.freezing import freeze, policy_of
from headstart.training.stepbystep import StepByStep
from headstart.training.wrappers import plain, renamed, unwrapped
from small_loops import loop

WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: model,
    "compiled": lambda model: torch.compile(model, backend="eager"),  # type: ignore[return-value]
    "parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),  # type: ignore[return-value]
}


def test_names_are_mapped_only_where_they_differ_by_wrappers_alone() -> None:
    assert plain("module.features._orig_mod.0.weight") == "features.0.weight"
    assert renamed({"module.a": 1, "b": 2}, ["a", "_orig_mod.b"]) == {"a": 1, "_orig_mod.b": 2}
    assert renamed({"module.a": 1}, ["module.a"]) == {"module.a": 1}  # a layer that is called so
    assert renamed({"a": 1, "c": 2}, ["module.a"]) == {"module.a": 1, "c": 2}
    assert renamed({"a": 1, "module.a": 2}, ["x.a"]) == {"a": 1, "module.a": 2}


def test_the_network_inside_is_found_and_a_network_with_a_layer_called_module_is_none() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    mine = Mine()
    assert unwrapped(mine) is mine
    assert unwrapped(WRAPPED["both"](mine)) is mine


def _loop(wrapper: str) -> StepByStep:
    sbs = loop()
    freeze(sbs.model, until="1")
    sbs.model = WRAPPED[wrapper](sbs.model)
    sbs.set_averaging(0.5)
    sbs.keep_best()
    return sbs


@pytest.mark.slow
@pytest.mark.parametrize("target", WRAPPED)
@pytest.mark.parametrize("source", WRAPPED)
def test_a_checkpoint_of_a_wrapped_network_goes_on_in_every_other_one(source: str, target: str) -> None:
    first, whole = _loop(source), _loop("plain")
    first.train(2)
    first.save_checkpoint(file := io.BytesIO())
    file.seek(0)
    second = _loop(target)
    second.load_checkpoint(file)

    second.train(1)
    whole.train(3)

    assert second.losses == whole.losses
    assert second.best is not None
    second.load_best()
    assert second.averaged is not None
    assert whole.averaged is not None
    pairs = zip(second.averaged.state_dict().values(), whole.averaged.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert len(policy_of(second.model).tensors) == len(policy_of(whole.model).tensors) == 2
