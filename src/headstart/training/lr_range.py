"""Learning-rate range test: train with a growing learning rate for a moment, record the loss, put everything back."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from headstart.errors import TrainingError
from headstart.plain import Plain
from headstart.preserve import preserve
from headstart.training.batch import loss_of, run_model, to_device, unpack
from headstart.training.clipping import apply_clipping, follow_model
from headstart.training.loaders import generators_of
from headstart.training.loop_state import LoopState

STEP_MODES = ("exp", "linear")
FEWEST = 10  # points below which a curve says nothing
DIVERGED = 10.0  # times the best loss: far beyond noise, and early enough to save most of the time
LEAST_FALL = 0.05  # of the loss at the beginning: less is noise, since every point is another batch


@dataclass(frozen=True)
class LrRange(Plain):
    """The curve of a range test, and what it suggests.

    Args:
        losses: smoothed as in the book: the first as it is, then `alpha` times the loss and the rest of the one before.
        lrs: at each point the rate of every group of the optimiser; all grow by the same factor.
        raw: losses of single batches. corrected: smoothed from zero and divided by the sum of the weights, so that the
            first batch weighs no more than any other; the suggestion is read from these.
        step_mode: `exp` or `linear`.
        suggestion: a rate for the first group, between low and high (their geometric mean); None: unusable.
        low, high: where the loss falls fastest, and a tenth of where it is lowest; in ascending order.
        sentence: the suggestion, or why there is none, in words.
        diverged: whether the test stopped early because the loss shot up.
    """

    losses: tuple[float, ...]
    lrs: tuple[tuple[float, ...], ...]
    raw: tuple[float, ...]
    corrected: tuple[float, ...]
    step_mode: str
    suggestion: float | None
    low: float | None
    high: float | None
    sentence: str
    diverged: bool

    @property
    def tracking(self) -> dict[str, list[float]]:
        """The book's answer: losses under `loss`, rates of the first group under `lr`."""
        return {"loss": list(self.losses), "lr": [rates[0] for rates in self.lrs]}

    def __str__(self) -> str:
        return self.sentence


def make_lr_fn(  # the book's signature
    start_lr: float, end_lr: float, num_iter: int, step_mode: str = "exp"
) -> Callable[[int], float]:
    """Function of the iteration that gives the multiple of start_lr: 1 at iteration 0, end_lr / start_lr at num_iter.

    Args:
        step_mode: `exp`, equal factors; `linear`, equal steps.

    Raises:
        TrainingError: the mode is unknown, a rate is not above 0, or there is no iteration.
    """
    if step_mode not in STEP_MODES:
        raise TrainingError(expected="step_mode 'exp' or 'linear'", found=repr(step_mode), where="make_lr_fn")
    for name, rate in (("the optimizer's learning rate", start_lr), ("end_lr", end_lr)):
        given: object = rate  # of a notebook
        if not isinstance(given, numbers.Real) or not (rate > 0 and math.isfinite(rate)):
            raise TrainingError(
                expected=f"{name} above 0", found=repr(rate), where="make_lr_fn", hint="Start from 1e-6, for example."
            )
    if num_iter < 1:
        raise TrainingError(expected="num_iter of at least 1", found=repr(num_iter), where="make_lr_fn")
    factor = end_lr / start_lr
    if step_mode == "linear":
        return lambda iteration: 1 + (factor - 1) * iteration / num_iter
    return lambda iteration: float(factor ** (iteration / num_iter))


@dataclass(frozen=True)
class RangeTest:
    """How a range test is run.

    Args:
        end_lr: the last learning rate; the first is the optimiser's.
        alpha: weight of a new loss in the smoothed one, in (0, 1].
        scale: from the first group's learning rate to the one the user knows, where the two differ.

    Raises:
        TrainingError: alpha is out of range.
    """

    end_lr: float
    num_iter: int = 100
    step_mode: str = "exp"
    alpha: float = 0.05
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise TrainingError(expected="alpha in (0, 1]", found=repr(self.alpha), where="lr_range_test")


def lr_range_test(loop: LoopState, loader: Any, test: RangeTest) -> LrRange:
    """Train a loop's model from the optimiser's learning rate up to `end_lr`, record the loss, put everything back.

    Stops after num_iter batches, or when the smoothed loss is ten times its best and above its first, or a loss is not
    a number; where losses fall below 0, no multiple means anything.

    Raises:
        TrainingError: the loader gives nothing, or an option is out of range.

    Source: Smith 2017, "Cyclical learning rates", section 3.3; smoothing from zero: Kingma & Ba 2015, section 3.
    """
    model, optimizer, loss_fn = loop.model, loop.needed_optimizer("lr_range_test"), loop.needed_loss("lr_range_test")
    starts = [float(group["lr"]) for group in optimizer.param_groups]
    multiple = make_lr_fn(starts[0], test.end_lr, test.num_iter, test.step_mode)
    modules = [module for module in (model, loss_fn) if isinstance(module, nn.Module)]
    curve, generators = _Curve(test.alpha), generators_of(loop.train_loader, loop.val_loader, loader)
    with preserve(*modules, optimizer=optimizer, generators=generators):
        loop.train_mode()
        with torch.enable_grad():
            for iteration, batch in enumerate(_endless(loader)):
                rates = _set_rates(optimizer, starts, multiple(iteration))
                optimizer.zero_grad()
                x, y = (to_device(value, loop.device) for value in unpack(batch))
                with loop.autocast():
                    loss = loss_of(loss_fn, run_model(model, x), y)
                if not curve.add(loss.item(), rates) or iteration + 1 == test.num_iter:
                    break
                follow_model(loop.clipping)
                loss.backward()  # type: ignore[no-untyped-call]
                apply_clipping(loop.clipping)
                optimizer.step()
    return curve.interpreted(test)


class _Curve:
    """Losses as they come, and their two running means."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.raw: list[float] = []
        self.rates: list[tuple[float, ...]] = []
        self.losses: list[float] = []
        self.corrected: list[float] = []
        self.diverged = False
        self._sum = 0.0

    def add(self, loss: float, rates: tuple[float, ...]) -> bool:
        """Add a loss; False when the curve ends with it."""
        if not math.isfinite(loss):
            self.diverged = True
            return False
        self.raw.append(loss)
        self.rates.append(rates)
        self.losses.append(self.alpha * loss + (1 - self.alpha) * self.losses[-1] if self.losses else loss)
        self._sum = self.alpha * loss + (1 - self.alpha) * self._sum
        self.corrected.append(self._sum / (1 - (1 - self.alpha) ** len(self.raw)))
        best, latest = min(self.corrected), self.corrected[-1]
        self.diverged = 0 < best < latest / DIVERGED and latest > self.corrected[0]
        return not self.diverged

    def interpreted(self, test: RangeTest) -> LrRange:
        """The curve as a value, with a suggestion or the reason why there is none."""
        rates, corrected = test.scale * np.array([r[0] for r in self.rates]), np.array(self.corrected)
        reason = self._unusable(rates, corrected, test.scale * test.end_lr)
        low = high = suggestion = None
        if reason is None:
            bottom = int(corrected.argmin())
            first = min(FEWEST // 2, bottom - 1)  # the earliest means are of too few batches
            slope = np.gradient(corrected, np.log(rates))
            steepest = rates[first + int(slope[first:bottom].argmin())]
            low, high = sorted((float(steepest), float(rates[bottom]) / 10))
            suggestion = math.sqrt(low * high)
            reason = (
                f"Try a learning rate of {suggestion:.2g} ({low:.2g} to {high:.2g}): "
                f"the loss falls fastest at {steepest:.2g} and is lowest at {rates[bottom]:.2g}."
            )
        return LrRange(
            losses=tuple(self.losses),
            lrs=tuple(self.rates),
            raw=tuple(self.raw),
            corrected=tuple(self.corrected),
            step_mode=test.step_mode,
            suggestion=suggestion,
            low=low,
            high=high,
            sentence=reason,
            diverged=self.diverged,
        )

    def _unusable(self, rates: Any, corrected: Any, end_lr: float) -> str | None:
        points = len(corrected)
        if points == 0:
            return "No suggestion: the very first loss is not a finite number."
        began, bottom = float(np.median(self.raw[: max(3, points // 10)])), int(corrected.argmin())
        if points < FEWEST:
            why = "the loss shot up; begin with a smaller rate" if self.diverged else f"take {FEWEST} or more"
            return f"No suggestion: only {points} iterations, {why}."
        if corrected[bottom] > began - LEAST_FALL * abs(began) or bottom < 2:
            why = "begin with a smaller rate" if self.diverged else "try other rates, or more iterations"
            return f"No suggestion: the loss hardly falls below its beginning, {began:.3g}; {why}."
        if rates[-1] < 10 * rates[0]:
            return f"No suggestion: from {rates[0]:.2g} to {rates[-1]:.2g} is less than a factor of ten; widen it."
        if not self.diverged and bottom >= points - max(2, points // 50):
            return f"No suggestion: the loss still falls at the end; take an end_lr above {end_lr:.2g}."
        return None


def _endless(loader: Any) -> Iterator[Any]:
    """Batches without end, in as many passes over the loader as it takes."""
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise TrainingError(
                expected="a loader that gives batches in every pass",
                found="none",
                where="lr_range_test",
                hint="Is the data set empty, or smaller than one batch with drop_last=True, or a one-way iterator?",
            )


def _set_rates(optimizer: Optimizer, starts: Sequence[float], multiple: float) -> tuple[float, ...]:
    rates = tuple(start * multiple for start in starts)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        # a rate that is a tensor is part of a captured graph and must stay one
        group["lr"] = torch.full_like(group["lr"], rate) if isinstance(group["lr"], torch.Tensor) else rate
    return rates
