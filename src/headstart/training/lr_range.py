"""Learning-rate range test: train with ever larger steps for a moment, watch the loss, and put everything back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from headstart.errors import TrainingError
from headstart.preserve import preserve
from headstart.training.batch import Loss, loss_of, run_model, to_device, unpack
from headstart.training.loaders import generators_of

STEP_MODES = ("exp", "linear")
FEWEST = 10  # points below which a curve says nothing
DIVERGED = 10.0  # times the best loss: far beyond noise, and early enough to save most of the time
LEAST_FALL = 0.05  # of the loss at the beginning: less is noise, since every point is another batch


@dataclass(frozen=True)
class LrRange:
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "lrs": [list(rates) for rates in self.lrs]}

    def __str__(self) -> str:
        return self.sentence


def make_lr_fn(start_lr: float, end_lr: float, num_iter: int, step_mode: str = "exp") -> Callable[[int], float]:
    """Function of the iteration that gives the multiple of start_lr: 1 at iteration 0, end_lr / start_lr at num_iter.

    Args:
        step_mode: `exp`, equal factors; `linear`, equal steps.

    Raises:
        TrainingError: the mode is unknown, a rate is not above 0, or there is no iteration.
    """
    if step_mode not in STEP_MODES:
        raise TrainingError(expected="step_mode 'exp' or 'linear'", found=repr(step_mode), where="make_lr_fn")
    for name, rate in (("the optimizer's learning rate", start_lr), ("end_lr", end_lr)):
        if not (rate > 0 and math.isfinite(rate)):
            raise TrainingError(
                expected=f"{name} above 0", found=repr(rate), where="make_lr_fn", hint="Start from 1e-6, for example."
            )
    if num_iter < 1:
        raise TrainingError(expected="num_iter of at least 1", found=repr(num_iter), where="make_lr_fn")
    factor = end_lr / start_lr
    if step_mode == "linear":
        return lambda iteration: 1 + (factor - 1) * iteration / num_iter
    return lambda iteration: float(factor ** (iteration / num_iter))


def lr_range_test(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: Optimizer,
    loader: Any,
    device: Any,
    *,
    end_lr: float,
    num_iter: int = 100,
    step_mode: str = "exp",
    alpha: float = 0.05,
    clip: Callable[[], object] | None = None,
    train_mode: Callable[[], object] | None = None,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    generators: Sequence[torch.Generator] = (),
    scale: float = 1.0,
) -> LrRange:
    """Train from the optimiser's rate up to end_lr and watch the loss; nothing of it stays.

    Stops after num_iter batches, or when the smoothed loss is ten times its best and above its first, or a loss is not
    a number; of losses that fall below 0 no multiple means anything.

    Args:
        alpha: weight of a new loss in the smoothed one, in (0, 1].
        clip: called before each step. train_mode: puts the model into train mode; None: `model.train()`.
        precision: context of the forward pass. generators: to be put back, besides the global ones and the loader's.
        scale: from the first group's rate to the number that the user knows, where the two are not the same.

    Raises:
        TrainingError: the loader gives nothing, or an option is out of range.

    Source: Smith 2017, "Cyclical learning rates", section 3.3; smoothing from zero: Kingma & Ba 2015, section 3.
    """
    if not 0 < alpha <= 1:
        raise TrainingError(expected="alpha in (0, 1]", found=repr(alpha), where="lr_range_test")
    starts = [float(group["lr"]) for group in optimizer.param_groups]
    multiple = make_lr_fn(starts[0], end_lr, num_iter, step_mode)
    modules = [part for part in (model, loss_fn) if isinstance(part, nn.Module)]
    curve = _Curve(alpha)
    with preserve(*modules, optimizer=optimizer, generators=(*generators, *generators_of(loader))):
        (train_mode or model.train)()
        with torch.enable_grad():
            for iteration, batch in enumerate(_endless(loader)):
                rates = _set_rates(optimizer, starts, multiple(iteration))
                optimizer.zero_grad()
                x, y = (to_device(part, device) for part in unpack(batch))
                with precision():
                    loss = loss_of(loss_fn, run_model(model, x), y)
                if not curve.goes_on(loss.item(), rates) or iteration + 1 == num_iter:
                    break
                loss.backward()  # type: ignore[no-untyped-call]
                if clip is not None:
                    clip()
                optimizer.step()
    return curve.judged(step_mode, end_lr, scale)


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

    def goes_on(self, loss: float, rates: tuple[float, ...]) -> bool:
        """Take a loss; False when the curve ends with it."""
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

    def judged(self, step_mode: str, end_lr: float, scale: float) -> LrRange:
        """The whole as a value, with a suggestion or the reason why there is none."""
        rates, corrected = scale * np.array([r[0] for r in self.rates]), np.array(self.corrected)
        reason = self._unusable(rates, corrected, scale * end_lr)
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
            tuple(self.losses), tuple(self.rates), tuple(self.raw), tuple(self.corrected), step_mode,
            suggestion, low, high, reason, self.diverged,
        )  # fmt: skip

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
    """Batches for as long as they are wanted, in as many passes as it takes."""
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
