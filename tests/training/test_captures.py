"""Captures: outputs, gradients and parameters are those that passed, in the book's layout, and no hook is lost."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.captures import (
    Hook,
    attach_gradients,
    attach_outputs,
    attach_parameters,
    captured,
    outputs_of,
    paused,
    remove_hooks,
)

Handles = dict[str, Hook]


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(4, 5)
        self.relu = nn.ReLU(inplace=True)
        self.again = self.relu
        self.output = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.relu(self.hidden(x)))
        return out


def _hooks(model: nn.Module) -> int:
    on_parameters = sum(len(p._backward_hooks or {}) for p in model.parameters())
    return on_parameters + sum(len(part._forward_hooks) for part in model.modules())


def _loss(model: nn.Module, seed: int) -> Tensor:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
    loss: Tensor = model(x).square().mean()
    return loss


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    model.train()
    optimizer.zero_grad()
    _loss(model, seed).backward()
    optimizer.step()


def test_outputs_of_all_batches_are_joined_as_plain_arrays() -> None:
    model, handles = _Network().eval(), Handles()
    seen = attach_outputs(model, ["hidden", "output"], handles)
    assert seen == {"hidden": None, "output": None}

    x = torch.randn(50, 4)
    for batch in (x[:3], x[3:4], x[4:20], x[20:]):
        model(batch)
    remove_hooks(handles)

    with torch.no_grad():
        # a copy is kept: the ReLU after it works in place, and would have written into it
        assert seen["hidden"] == pytest.approx(model.hidden(x).numpy(), rel=1e-5, abs=1e-6)
        assert seen["output"] == pytest.approx(model(x).numpy(), rel=1e-5, abs=1e-6)
    assert seen["hidden"].min() < -0.1
    assert type(seen["hidden"]) is np.ndarray
    assert seen["hidden"].dtype == np.float32


def test_joining_many_batches_copies_each_row_a_few_times_only() -> None:
    """D17: joining all rows again for each batch copies n² / 2 of them."""
    seen = attach_outputs(model := nn.Identity(), "", {})
    rooms: dict[int, int] = {}
    for _ in range(1000):
        model(torch.zeros(1, 3))
        room = seen[""].base
        rooms[id(room)] = len(room)

    assert len(seen[""]) == 1000
    assert sum(rooms.values()) < 4000
    assert len(rooms) < 15


def test_an_array_that_the_user_holds_does_not_change_when_more_rows_come() -> None:
    model = nn.Identity()
    seen = attach_outputs(model, "", {})
    model(torch.ones(2, 3))
    model(2 * torch.ones(2, 3))
    held = seen[""]
    kept = held.copy()
    model(3 * torch.ones(9, 3))

    assert np.array_equal(held, kept)
    assert seen[""][:, 0].tolist() == [1, 1, 2, 2] + [3] * 9


def test_the_user_may_empty_exchange_or_delete_what_was_gathered() -> None:
    model = nn.Identity()
    seen = attach_outputs(model, [""], {})
    for put, expected in ((None, [7]), (np.array([[1.0]]), [1, 7]), ("delete", [7])):
        model(torch.zeros(3, 1))
        if isinstance(put, str):
            del seen[""]
        else:
            seen[""] = put
        model(torch.full((1, 1), 7.0))
        assert seen[""][:, 0].tolist() == expected
        seen[""] = None


def test_half_precision_and_single_numbers_are_gathered() -> None:
    model = nn.Identity()
    seen = attach_outputs(model, "", {})
    model(torch.tensor([0.5, 1.5], dtype=torch.bfloat16))
    model(torch.tensor([0.1], dtype=torch.float64))
    model(torch.tensor(2.0))

    assert seen[""].tolist() == [0.5, 1.5, 0.1, 2.0]  # 0.1 in double precision


def test_attaching_twice_leaves_only_the_second_hooks() -> None:
    """D17: the book's class forgets the first handle, whose hook then runs for ever."""
    model, handles = _Network(), Handles()
    first = attach_outputs(model, ["hidden"], handles)
    attach_gradients(model, ["hidden"], handles)
    attach_gradients(model, ["hidden", "output"], handles)
    attach_parameters(model, "hidden", handles)
    attach_parameters(model, "hidden", handles)
    second = attach_outputs(model, ["hidden", "output"], handles)
    assert _hooks(model) == 2 + 4 + 1 == len(handles)

    model(torch.zeros(2, 4))
    assert first == {"hidden": None}
    assert len(second["hidden"]) == 2

    remove_hooks(handles)
    assert _hooks(model) == 0
    assert not handles


def test_a_module_of_two_names_and_the_model_itself_are_gathered() -> None:
    """D17: the book's class keeps one of two names, and fails for the model's own, the empty one."""
    model = _Network()
    with captured(model, ["relu", "again", ""]) as seen:
        out = model(torch.randn(3, 4))

    assert np.array_equal(seen["relu"], seen["again"])
    assert seen["relu"].min() == 0
    assert np.array_equal(seen[""], out.detach().numpy())


Two = namedtuple("Two", ["logits", "aux_logits"])


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x: Two(x + 1, x),
        lambda x: (x + 1, (x, x)),
        lambda x: [x + 1],
        lambda x: {"out": x + 1, "aux": x},
        lambda x: ((x + 1, x), x),
    ],
)
def test_of_several_outputs_the_main_one_is_gathered(outputs: object) -> None:
    """D17: a tuple has no `detach`."""

    class Model(nn.Module):
        def forward(self, x: Tensor) -> object:
            return outputs(x)  # type: ignore[operator]

    model, x = Model(), torch.randn(2, 3)  # two rows: a tensor that would unpack into two
    with captured(model, "") as seen:
        model(x)
    assert np.array_equal(seen[""], (x + 1).numpy())


def test_a_layer_that_gives_no_tensor_is_named() -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    model = nn.Sequential(Silent())
    with captured(model, "0"), pytest.raises(TrainingError, match=r"gives a tensor, found NoneType \(0\)"):
        model(torch.zeros(1))
    assert _hooks(model) == 0


def test_images_of_another_size_are_refused_and_not_half_gathered() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    with captured(model, "0") as seen:
        model(torch.zeros(2, 1, 8, 8))
        with pytest.raises(TrainingError, match="attach_hooks again"):
            model(torch.zeros(2, 1, 9, 9))
    assert seen["0"].shape == (2, 2, 6, 6)


@pytest.mark.parametrize(("name", "words"), [("hiden", "Did you mean hidden"), ("xyz", "hidden, relu, again, output")])
def test_unknown_names_are_refused_with_a_suggestion_and_nothing_changes(name: str, words: str) -> None:
    """D17: the book's class ignores them."""
    model, handles = _Network(), Handles()
    before = attach_outputs(model, "output", handles)
    for attach in (attach_outputs, attach_gradients, attach_parameters):
        with pytest.raises(TrainingError, match=words):
            attach(model, ["hidden", name], handles)

    model(torch.zeros(1, 4))
    assert len(before["output"]) == 1
    assert _hooks(model) == len(handles) == 1


def test_a_function_of_the_user_replaces_the_gathering() -> None:
    model, handles = _Network(), Handles()
    called: list[tuple[object, tuple[int, ...], tuple[int, ...]]] = []

    seen = attach_outputs(
        model, ["hidden"], handles, hook_fn=lambda layer, ins, out: called.append((layer, ins[0].shape, out.shape))
    )
    model(torch.zeros(2, 4))

    assert called == [(model.hidden, (2, 4), (2, 5))]
    assert seen == {"hidden": None}


def test_hooks_that_are_paused_see_nothing() -> None:
    model, handles = _Network(), Handles()
    outputs = attach_outputs(model, "hidden", handles)
    gradients = attach_gradients(model, "hidden", handles)
    parameters = attach_parameters(model, "hidden", handles)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with paused(handles), paused(handles):
        _step(model, optimizer, 1)
    assert outputs["hidden"] is None
    assert gradients["hidden"]["weight"].seen == parameters["hidden"]["weight"].seen == 0

    model(torch.zeros(2, 4)).sum().backward()
    assert len(outputs["hidden"]) == 2
    assert gradients["hidden"]["weight"].seen == parameters["hidden"]["weight"].seen == 1


def test_no_hook_stays_when_the_network_fails() -> None:
    model = _Network()
    with pytest.raises(RuntimeError), captured(model, ["hidden"]):
        model(torch.zeros(1, 99))
    assert _hooks(model) == 0


def test_missing_outputs_are_an_error_with_a_hint() -> None:
    """D18: in the book's class `None` has no shape."""
    model, handles = _Network(), Handles()
    with pytest.raises(TrainingError, match="attach_hooks"):
        outputs_of({}, ["hidden"])
    seen = attach_outputs(model, ["hidden", "relu"], handles)
    with pytest.raises(TrainingError, match="Run predict first"):
        outputs_of(seen, "relu")
    with pytest.raises(TrainingError, match="Did you mean hidden"):
        outputs_of(seen, ["hiden"])

    model(torch.zeros(2, 4))
    assert list(outputs_of(seen, ["relu", "hidden"])) == ["relu", "hidden"]


def test_gradients_of_every_step_are_kept_in_the_books_layout() -> None:
    model, handles = _Network(), Handles()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients = attach_gradients(model, ["hidden", "output"], handles)

    expected = []
    for seed in range(4):
        with paused(handles):  # torch's own answer
            expected.append([g.numpy() for g in torch.autograd.grad(_loss(model, seed), list(model.parameters()))])
        _step(model, optimizer, seed)

    assert list(handles) == ["hidden.weight.grad", "hidden.bias.grad", "output.weight.grad", "output.bias.grad"]
    assert {layer: list(kept) for layer, kept in gradients.items()} == {
        "hidden": ["weight", "bias"],
        "output": ["weight", "bias"],
    }
    stacked = np.array(gradients["hidden"]["weight"])
    assert stacked.shape == (4, 5, 4)
    assert stacked == pytest.approx(np.array([step[0] for step in expected]), rel=1e-5, abs=1e-7)
    assert np.array(gradients["output"]["bias"]) == pytest.approx(np.array([step[3] for step in expected]), rel=1e-5)
    assert gradients["hidden"]["weight"][-1][2][3] == stacked[3, 2, 3]
    assert stacked.dtype == np.float32


def test_gradients_can_be_kept_as_the_step_takes_them() -> None:
    """Before clipping as they arrive, as in the book; after it, and after several backward passes, on request."""
    model = _Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arriving, taken = Handles(), Handles()
    before = attach_gradients(model, "hidden", arriving)["hidden"]["weight"]
    after = attach_gradients(model, "hidden", taken, optimizer=optimizer)["hidden"]["weight"]

    x = torch.randn(6, 4)
    for part in (x[:3], x[3:]):
        model(part).square().mean().backward()
    whole = model.hidden.weight.grad.clone().numpy()
    torch.nn.utils.clip_grad_value_(model.parameters(), 1e-3)
    optimizer.step()

    assert (before.seen, after.seen) == (2, 1)
    assert before[0] + before[1] == pytest.approx(whole, rel=1e-5)
    assert after[0] == pytest.approx(np.clip(whole, -1e-3, 1e-3))
    remove_hooks(taken)
    optimizer.step()
    assert after.seen == 1


def test_arriving_gradients_of_a_scaled_loss_are_scaled_back() -> None:
    model = _Network()
    gradients = attach_gradients(model, "output", {}, scale=lambda: 1024.0)["output"]["bias"]
    (1024 * model(torch.ones(3, 4)).sum()).backward()
    assert gradients[0].tolist() == [3.0]


def test_frozen_parameters_have_no_gradients_to_keep() -> None:
    model = _Network()
    model.hidden.weight.requires_grad_(False)
    gradients = attach_gradients(model, ["hidden", "relu"], handles := Handles())
    assert {layer: list(kept) for layer, kept in gradients.items()} == {
        "hidden": ["bias"],
        "relu": [],
    }
    assert list(handles) == ["hidden.bias.grad"]


def test_gradients_of_the_model_itself_are_kept_by_full_names() -> None:
    model = _Network()
    gradients = attach_gradients(model, "", handles := Handles())
    assert list(gradients[""]) == ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    assert "hidden.weight.grad" in handles


def test_parameters_are_kept_in_training_passes_only_and_outputs_stay() -> None:
    """D19: the book's class counts validation as well, and throws the gathered outputs away."""
    model, handles = _Network(), Handles()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs = attach_outputs(model, ["hidden"], handles)
    model(torch.zeros(2, 4))
    parameters = attach_parameters(model, ["hidden"], handles)

    expected = []
    for seed in range(2):
        expected.append(model.hidden.weight.detach().numpy().copy())
        _step(model, optimizer, seed)
        model.eval()
        with torch.no_grad():
            model(torch.zeros(3, 4))
            model(torch.zeros(3, 4))
    model.train()
    with torch.no_grad():
        model(torch.zeros(1, 4))  # a look in train mode is no training either

    assert np.array_equal(np.array(parameters["hidden"]["weight"]), np.array(expected))
    assert not np.array_equal(expected[0], expected[1])
    assert list(parameters["hidden"]) == ["weight", "bias"]
    assert len(outputs["hidden"]) == 2 + 2 * (6 + 3 + 3) + 1


def test_parameters_of_a_frozen_layer_in_a_training_model_are_kept() -> None:
    model = _Network()
    parameters = attach_parameters(model, "hidden", {})
    model.train()
    model.hidden.eval().requires_grad_(False)
    model(torch.zeros(1, 4))
    assert parameters["hidden"]["weight"].seen == 1


def test_a_hook_that_is_no_function_is_refused_and_nothing_changes() -> None:
    handles: Handles = {}
    model = nn.Sequential(nn.Linear(2, 2))
    attach_outputs(model, ["0"], handles)
    before = dict(handles)
    with pytest.raises(TrainingError, match="found 5"):
        attach_outputs(model, ["0"], handles, hook_fn=5)  # type: ignore[arg-type]
    assert handles == before
