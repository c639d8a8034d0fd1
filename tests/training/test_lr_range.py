"""Range test: the curve is that of a plain loop, nothing of the test stays, and the suggestion is where it must be."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from headstart.errors import TrainingError
from headstart.freezing import freeze
from headstart.training.batch import Loss
from headstart.training.lr_range import LrRange, RangeTest, lr_range_test, make_lr_fn
from headstart.training.stepbystep import StepByStep


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def _data(samples: int = 64) -> TensorDataset:
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 4, generator=chance)
    return TensorDataset(x, (x @ torch.randn(4, 3, generator=chance)).argmax(1))


def _loader(generator: torch.Generator | None = None) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(_data(), 16, shuffle=True, generator=generator)


def _sgd(model: nn.Module, lr: float = 0.01) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def _run(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: object,
    loss_fn: Loss = nn.functional.cross_entropy,
    **test: Any,
) -> LrRange:
    loop = StepByStep(model, loss_fn, optimizer, device="cpu")
    return lr_range_test(loop, loader, RangeTest(**test))


def _test(model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> LrRange:
    test = {"end_lr": 1.0, "num_iter": 12, **options}
    return _run(model, optimizer, test.pop("loader", None) or _loader(), **test)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 6) -> list[float]:
    losses, loader = [], iter(list(_loader()) * steps)
    model.train()
    for _ in range(steps):
        x, y = next(loader)
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # after the step, as the book does: gradients left by others would count in the first
        losses.append(loss.item())
    return losses


# --- the function of the rate ---


def test_the_rate_grows_by_equal_factors_or_by_equal_steps() -> None:
    exponential, linear = make_lr_fn(0.01, 1.0, 4), make_lr_fn(0.01, 1.0, 4, "linear")

    assert [exponential(i) for i in range(5)] == pytest.approx([1, 10**0.5, 10, 10**1.5, 100])
    assert [linear(i) for i in range(5)] == pytest.approx([1, 25.75, 50.5, 75.25, 100])


@pytest.mark.parametrize("mode", ["log", "", "Linear"])
def test_an_unknown_mode_is_refused_with_the_known_ones(mode: str) -> None:
    with pytest.raises(TrainingError, match="'exp' or 'linear'"):
        make_lr_fn(0.01, 1.0, 10, mode)


@pytest.mark.parametrize(("start", "end", "steps"), [(0.0, 1.0, 10), (0.1, 0.0, 10), (0.1, -1, 10), (0.1, 1.0, 0)])
def test_rates_that_are_not_above_zero_and_tests_without_steps_are_refused(
    start: float, end: float, steps: int
) -> None:
    with pytest.raises(TrainingError, match=r"above 0|at least 1"):
        make_lr_fn(start, end, steps)


# --- the curve ---


def _literal(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, multiple: object, alpha: float) -> tuple:
    """Torch's own scheduler and a plain loop over the loader, over and over."""
    scheduler = LambdaLR(optimizer, multiple)  # type: ignore[arg-type]
    raw: list[float] = []
    rates: list[list[float]] = []
    model.train()
    while len(raw) < steps:
        for x, y in _loader():
            loss = nn.functional.cross_entropy(model(x), y)
            raw.append(loss.item())
            rates.append(scheduler.get_last_lr())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if len(raw) == steps:
                break
    smoothed = [raw[0]]
    for loss_ in raw[1:]:
        smoothed.append(alpha * loss_ + (1 - alpha) * smoothed[-1])
    return raw, smoothed, rates


@pytest.mark.parametrize("mode", ["exp", "linear"])
def test_losses_and_rates_are_those_of_a_plain_loop_in_both_modes(mode: str) -> None:
    """D5: the book's class forgot the mode, and always grew exponentially."""
    model = _network()
    groups = [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[4].parameters(), "lr": 0.002}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    torch.manual_seed(5)
    found = _test(model, optimizer, end_lr=0.2, num_iter=10, step_mode=mode, alpha=0.1)

    multiples = [10 ** (i / 10) if mode == "exp" else 1 + 0.9 * i for i in range(11)]
    torch.manual_seed(5)
    raw, smoothed, rates = _literal(model, optimizer, 10, multiples.__getitem__, 0.1)

    assert found.raw == pytest.approx(raw, rel=1e-6)
    assert found.losses == pytest.approx(smoothed, rel=1e-6)
    assert np.array(found.lrs) == pytest.approx(np.array(rates), rel=1e-12)
    assert found.tracking == {"loss": list(found.losses), "lr": [rate for rate, _ in found.lrs]}


def test_the_corrected_losses_are_means_whose_weights_sum_to_one() -> None:
    model = _network()
    found = _test(model, _sgd(model), alpha=0.2)

    for t in range(len(found.raw)):
        weights = 0.8 ** np.arange(t, -1, -1.0)
        assert found.corrected[t] == pytest.approx(np.average(found.raw[: t + 1], weights=weights), rel=1e-12)


def test_the_test_stops_when_the_loss_is_ten_times_its_best() -> None:
    model = _network()
    found = _test(model, torch.optim.SGD(model.parameters(), lr=0.01), end_lr=1e9, num_iter=200)

    assert found.diverged
    assert 10 < len(found.raw) < 200
    assert found.corrected[-1] > 10 * min(found.corrected)
    assert all(now <= 10 * min(found.corrected[: i + 1]) for i, now in enumerate(found.corrected[:-1]))


def test_a_loss_that_is_no_number_ends_the_test_and_is_not_recorded() -> None:
    model = nn.Linear(4, 1)

    def loss_fn(yhat: Tensor, y: Tensor) -> Tensor:
        loss_fn.calls += 1  # type: ignore[attr-defined]
        return yhat.mean() * (math.nan if loss_fn.calls > 3 else 1)  # type: ignore[attr-defined]

    loss_fn.calls = 0  # type: ignore[attr-defined]
    found = _run(model, _sgd(model), _loader(), loss_fn, end_lr=1)
    assert (len(found.losses), found.diverged, found.suggestion) == (3, True, None)

    found = _run(model, _sgd(model), _loader(), loss_fn, end_lr=1)
    assert found.losses == ()
    assert "very first loss" in str(found)


def test_each_step_is_clipped_before_it_is_taken() -> None:
    model = _network()
    loop = StepByStep(model, nn.CrossEntropyLoss(), _sgd(model, 1.0), device="cpu")
    loop.set_clip_grad_value(1e-12)

    found = lr_range_test(loop, _loader(), RangeTest(end_lr=100.0, num_iter=12))

    torch.manual_seed(0)
    assert not found.diverged
    assert max(found.raw) < 2  # next to no gradient: no step moves the weights, whatever the rate
    assert _test(model, _sgd(model, 1.0), end_lr=100.0).raw[-1] > 2


# --- nothing stays ---


def _state(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> dict[str, object]:
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "same gradients": [id(p.grad) for p in model.parameters()],
        "modes": [part.training for part in model.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "step": vars(optimizer).get("step"),
        "random": [torch.get_rng_state(), generator.get_state(), random.getstate()],
        "numpy": list(np.random.get_state(legacy=True))[1:],
    }


def _same(one: object, other: object) -> bool:
    if isinstance(one, (Tensor, np.ndarray)):
        return bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)  # type: ignore
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))  # type: ignore[arg-type]
    return one == other


@pytest.mark.parametrize("fails", [False, True])
def test_weights_buffers_gradients_modes_optimizer_and_chance_are_put_back(fails: bool) -> None:
    """D6, D7; also when the loss fails in the middle."""
    model, own = _network(), torch.Generator().manual_seed(3)
    optimizer = _sgd(model)
    StepLR(optimizer, 3)  # wraps `step` and puts initial_lr into the groups
    _train(model, optimizer, 2)
    nn.functional.cross_entropy(model(torch.randn(5, 4)), torch.zeros(5, dtype=torch.long)).backward()
    model.eval()
    model[1].train()
    calls: list[int] = []

    def loss_fn(yhat: Tensor, y: Tensor) -> Tensor:
        calls.append(1)
        random.random(), np.random.rand()
        if fails and len(calls) == 5:
            raise ValueError("in the middle")
        return nn.functional.cross_entropy(yhat, y)

    before = _state(model, optimizer, own)
    try:
        _run(model, optimizer, _loader(own), loss_fn, end_lr=10, num_iter=9)
    except ValueError:
        assert fails
    after = _state(model, optimizer, own)

    assert len(calls) == (5 if fails else 9)
    assert [name for name in before if not _same(before[name], after[name])] == []


def test_training_after_the_test_is_training_without_it() -> None:
    """D6: the book's class leaves the last batch's gradients, which the first step of training then adds to its own."""
    plain, tested = _network(), _network()
    optimizers = _sgd(plain), _sgd(tested)

    torch.manual_seed(9)
    _test(tested, optimizers[1])
    losses = _train(tested, optimizers[1])
    torch.manual_seed(9)

    assert losses == _train(plain, optimizers[0])
    assert all(map(torch.equal, plain.state_dict().values(), tested.state_dict().values()))


def test_the_test_runs_in_train_mode_though_the_model_was_left_in_eval_mode() -> None:
    """D7: after training with validation the book's model is in eval mode, and its test was of another network."""
    model = _network().eval()
    modes: list[bool] = []
    place = model[1].register_forward_hook(lambda part, *_: modes.append(part.training))

    _test(model, _sgd(model))
    place.remove()

    assert modes == [True] * 12
    assert not model.training


def test_parts_that_are_frozen_stay_so_during_the_test() -> None:
    model = _network()
    freeze(model, until="4")
    optimizer = _sgd(model)
    seen: list[tuple[bool, Tensor]] = []
    place = model[1].register_forward_hook(lambda part, *_: seen.append((part.training, part.running_mean.clone())))

    _test(model, optimizer)
    place.remove()

    assert not any(training for training, _ in seen)
    assert all(torch.equal(mean, seen[0][1]) for _, mean in seen)


def test_a_layer_that_was_put_into_eval_mode_by_hand_stays_there() -> None:
    model = _network().train()
    model[1].eval()
    modes: list[tuple[bool, bool]] = []
    handle = model.register_forward_hook(lambda module, *_: modes.append((module[0].training, module[1].training)))

    _test(model, _sgd(model))
    handle.remove()

    assert set(modes) == {(True, False)}


def test_rates_that_are_tensors_stay_tensors() -> None:
    model = _network()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01), foreach=False)

    found = _test(model, optimizer)

    assert found.lrs[0][0] == pytest.approx(0.01)
    assert isinstance(optimizer.param_groups[0]["lr"], Tensor)
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.01)


# --- loaders ---


def _once() -> Iterator[tuple[Tensor, Tensor]]:
    yield from _loader()


@pytest.mark.parametrize("loader", [[], DataLoader(_data(5), 16, drop_last=True), _once()])
def test_a_loader_that_gives_nothing_is_refused_and_not_waited_for(loader: object) -> None:
    """D7: the book's loop never ends on it."""
    model = _network()
    before = copy.deepcopy(model.state_dict())

    with pytest.raises(TrainingError, match="every pass"):
        _run(model, _sgd(model), loader, end_lr=1, num_iter=50)

    assert _same(before, model.state_dict())


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_a_weight_outside_its_range_is_refused(alpha: float) -> None:
    model = _network()
    with pytest.raises(TrainingError, match="alpha"):
        _test(model, _sgd(model), alpha=alpha)


# --- the suggestion ---


class _Scripted(nn.Module):
    """A model whose loss is a known function of how many batches it has seen."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.losses = losses
        self.seen = 0

    def forward(self, _: Tensor) -> Tensor:
        self.seen += 1
        return self.losses[self.seen - 1] + 0 * self.weight


def _of(losses: list[float], start: float = 1e-5, end: float = 1e1) -> LrRange:
    model, batch = _Scripted(losses), (torch.zeros(1), torch.zeros(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=start)
    return _run(model, optimizer, [batch], lambda yhat, _: yhat, end_lr=end, num_iter=len(losses), alpha=1.0)


def test_the_suggestion_lies_between_the_steepest_fall_and_a_tenth_of_the_lowest_loss() -> None:
    steps = np.arange(120)  # twenty to a decade, from 1e-5 on
    falling = 2 - 1.5 / (1 + np.exp(-(steps - 50) / 5))  # steepest at step 50: 10 ** -2.5
    rising = np.where(steps > 90, (steps - 90) * 0.1, 0.0)  # lowest at step 90: 10 ** -0.5
    found = _of(list(falling + rising))

    assert found.low == pytest.approx(10**-2.5)
    assert found.high == pytest.approx(10**-1.5)
    assert found.suggestion == pytest.approx(10**-2)
    assert "0.01" in str(found)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([1.0] * 60, "hardly falls"),
        ([1.0 + 0.001 * i for i in range(60)], "hardly falls"),
        ([2.0 - 0.02 * i for i in range(60)], "still falls at the end; take an end_lr above 10"),
        ([1.0, 1.0, 11.0], "only 3 iterations, the loss shot up; begin with a smaller rate"),
        ([1.0] * 20 + [11.0], "begin with a smaller rate"),
        ([2.0, 1.0, 2.0], "take 10 or more"),
    ],
)
def test_a_curve_that_says_nothing_gives_a_sentence_and_no_rate(losses: list[float], words: str) -> None:
    found = _of(losses)

    assert words in found.sentence
    assert found.suggestion is None is found.low is found.high


def test_a_range_of_less_than_a_decade_gives_no_rate() -> None:
    assert "less than a factor of ten" in str(_of([2 - abs(i) * 0.03 for i in range(-30, 30)][::-1], 0.1, 0.5))


def test_a_loss_near_zero_that_doubles_a_few_times_is_no_divergence() -> None:
    found = _of([1.0] * 20 + [1e-4] * 20 + [0.01] * 20)

    assert not found.diverged
    assert len(found.losses) == 60


def test_losses_below_zero_have_no_multiples_and_go_on() -> None:
    """Ten times -3 is far below: any later loss would seem to have shot up."""
    found = _of([-1.0] * 20 + [-3.0] * 20 + [-0.5] * 20)

    assert not found.diverged
    assert len(found.losses) == 60


def test_the_value_is_plain_numbers_and_a_sentence() -> None:
    found = _of([2.0 - 0.02 * i for i in range(60)])

    values = json.loads(json.dumps(found.to_dict()))
    assert values["losses"] == list(found.losses)
    assert values["lrs"][0] == [pytest.approx(1e-5)]
    assert str(found) == values["sentence"]


def test_a_rate_that_is_no_number_is_named() -> None:
    with pytest.raises(TrainingError, match="end_lr above 0, found '1'"):
        make_lr_fn(1e-3, "1", 10)  # type: ignore[arg-type]
