"""Hooks: what they are called with, and that none of them stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.hooks import capture, capture_inputs, watch_calls, watch_inputs, watch_outputs


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def _hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_capture_gives_the_outputs_of_the_named_modules() -> None:
    network, x = _network(), torch.randn(5, 3)

    with capture({"first": network[0], "second": network[1]}) as outputs:
        network(x)

    assert torch.equal(outputs["first"], network[0](x))
    assert torch.equal(outputs["second"], network[0](x).clamp_min(0))


def test_capture_inputs_gives_what_goes_into_the_named_modules() -> None:
    network, x = _network(), torch.randn(5, 3)

    with capture_inputs({"first": network[0], "last": network[2]}) as inputs:
        network(x)

    assert torch.equal(inputs["first"], x)
    assert torch.equal(inputs["last"], network[:2](x))


def test_every_forward_pass_is_shown_in_order() -> None:
    network = _network()
    seen: list[tuple[str, int]] = []

    with (
        watch_inputs({"in": network[0]}, lambda name, x: seen.append((name, len(x)))),
        watch_outputs({"out": network[2]}, lambda name, x: seen.append((name, len(x)))),
    ):
        network(torch.zeros(1, 3))
        network(torch.zeros(2, 3))

    assert seen == [("in", 1), ("out", 1), ("in", 2), ("out", 2)]


def test_no_hook_stays_after_the_look() -> None:
    network = _network()

    with capture({"a": network[0]}), capture_inputs({"b": network[2]}):
        assert _hooks(network) == 2

    assert _hooks(network) == 0


def test_no_hook_stays_when_the_network_fails() -> None:
    network = _network()

    with pytest.raises(RuntimeError), capture({"a": network[0]}), capture_inputs({"b": network[2]}):
        network(torch.zeros(1, 99))

    assert _hooks(network) == 0


def test_no_hook_stays_when_placing_one_fails() -> None:
    network = _network()

    with pytest.raises(AttributeError), capture({"a": network[0], "b": None}):  # type: ignore[dict-item]
        pass

    assert _hooks(network) == 0


def test_calls_come_from_the_outside_in_and_end_also_when_a_module_fails():
    class Failing(nn.Module):
        def forward(self, *, number: int) -> int:
            raise ValueError(str(number))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Failing()

        def forward(self) -> int:
            return self.inner(number=3)

    told: list[str] = []
    network = Outer()
    with (
        pytest.raises(ValueError, match="3"),
        watch_calls(dict(network.named_modules()), lambda n: told.append(f"<{n}"), lambda n: told.append(f"{n}>")),
    ):
        network()
    assert told == ["<", "<inner", "inner>", ">"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_module_that_is_called_with_keywords_only_has_no_first_input() -> None:
    class Keyword(nn.Module):
        def forward(self, *, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    network, seen = Keyword(), []
    with watch_inputs({"it": network}, lambda name, value: seen.append(value)), capture({"it": network}) as outputs:
        network(x=torch.zeros(2))

    assert seen == []
    assert torch.equal(outputs["it"], torch.ones(2))
