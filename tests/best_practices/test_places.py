"""Rules about the places of an image: a network that breaks each, and ones that only look like it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flawed_networks import Example, RuleExamples, findings, noise
from headstart.best_practices import places
from headstart.best_practices.doctor import doctor


class Tokens(nn.Module):
    """Maps of 6 channels as 16 tokens, by one of several ways, and a linear layer on their mean."""

    def __init__(self, kind: str = "transposed") -> None:
        super().__init__()
        self.conv, self.fc, self.kind = nn.Conv2d(3, 6, 2, stride=2), nn.Linear(6, 2), kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.kind == "reshaped":
            return self.fc(x.reshape(len(x), -1, 6).mean(1))
        if self.kind == "corner":
            return self.fc(x[:, :, 0, 0])
        tokens = x.flatten(2).transpose(1, 2)
        if self.kind == "back":
            return self.fc(tokens.reshape(len(x), 6, 4, 4).mean((2, 3)))
        if self.kind == "right way back":
            return self.fc(tokens.transpose(1, 2).reshape(len(x), 6, 4, 4).mean((2, 3)))
        if self.kind in ("heads", "heads kept"):
            heads = tokens.reshape(len(x), 16, 2, 3).transpose(1, 2)  # N×2×16×3
            mixed = (heads @ heads.transpose(-1, -2)).softmax(-1) @ heads
            mixed = mixed if self.kind == "heads" else mixed.transpose(1, 2)
            return self.fc(mixed.reshape(len(x), 16, 6).mean(1))
        if self.kind == "columns":
            return self.fc(x.reshape(len(x), 24, 4).mean(2)[:, :6])
        return self.fc(tokens.mean(1))


class Recurrent(nn.Module):
    """A recurrent layer over tokens, of whose results one step is used, or their mean."""

    def __init__(self, step: int | None, **options: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 5, **options)  # type: ignore[arg-type]
        self.fc, self.step = nn.Linear(10 if self.rnn.bidirectional else 5, 2), step

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(1)  # N×T×4
        steps, _ = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))
        steps = steps if self.rnn.batch_first else steps.transpose(0, 1)
        return self.fc(steps.mean(1) if self.step is None else steps[:, self.step])


IMAGES = {"images": noise(2, 3, 8, 8)}
SEQUENCES = {"images": noise(2, 3, 9, 4)}

EXAMPLES: dict[str, Example] = {
    "channels and places exchanged": Example(
        lambda: (Tokens("reshaped"), IMAGES), "warning", ("the network itself",), lambda: (Tokens(), IMAGES)
    ),
    "part of the image unused": Example(lambda: (Tokens("corner"), IMAGES), "warning", (), lambda: (Tokens(), IMAGES)),
    "first step of a recurrent layer": Example(
        lambda: (Recurrent(0, batch_first=True), SEQUENCES),
        "warning",
        ("rnn",),
        lambda: (Recurrent(-1, batch_first=True), SEQUENCES),
    ),
}


class TestExamples(RuleExamples):
    file, examples = places, EXAMPLES


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reshaped", "first 2×6×4×4 to 2×16×6"),
        ("back", "first 2×16×6 to 2×6×4×4"),
        ("heads", "first 2×2×16×3 to 2×16×6"),
        *((kind, "") for kind in ("transposed", "right way back", "heads kept", "columns")),
    ],
)
def test_only_a_reshape_in_the_place_of_a_transpose_is_told(kind: str, said: str):
    found = findings(doctor(Tokens(kind), **IMAGES), "channels and places exchanged")
    assert found == ({"warning": f"reshapes that should be transposes: 1, {said}"} if said else {})


def test_axes_of_one_size_cannot_be_told_apart():
    network = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.Flatten(2), nn.Unflatten(1, (4,)))
    assert findings(doctor(network, **IMAGES), "channels and places exchanged") == {}


@pytest.mark.parametrize("options", [{}, {"batch_first": True}])
@pytest.mark.parametrize(("step", "kinds"), [(0, ["warning"]), (-1, []), (None, [])])
def test_the_first_step_has_seen_nothing_else(options: dict[str, bool], step: int | None, kinds: list[str]):
    rule = "first step of a recurrent layer"
    assert list(findings(doctor(Recurrent(step, **options), **SEQUENCES), rule)) == kinds
    assert findings(doctor(Recurrent(step, bidirectional=True, **options), **SEQUENCES), rule) == {}


def test_a_network_that_ends_in_zeros_or_looks_at_the_centre_uses_all():
    zero = Tokens()
    nn.init.zeros_(zero.fc.weight)
    for network in (zero, nn.Sequential(nn.ZeroPad2d(-2), Tokens())):
        assert findings(doctor(network, images=noise(2, 3, 12, 12)), "part of the image unused") == {}


def test_weights_modes_and_hooks_are_as_before():
    network = Recurrent(0, batch_first=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    doctor(network, **SEQUENCES)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.rnn._forward_hooks
    assert network.training
