"""Batch-norm statistics estimated anew on given images, exactly, one batch in memory at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import BackboneError
from headstart.hooks import watch_inputs

Batches = Callable[[], Iterable[Tensor]]
"""Starts a new walk through the same batches of pixels N×3×S×S."""


class _Moments:
    """Mean and variance per channel over any number of batches, by the law of total variance, in float64."""

    def __init__(self) -> None:
        self.batches = 0
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # sums of squared distances from `centre`
        self.centre: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Take in activations N×C×…"""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = (part.double() for part in torch.var_mean(x.float(), axes, correction=0))  # C, C
        if self.centre is None:
            # a centre near the data: without it the squares of a mean far from zero swallow the variance
            self.centre = mean
        n = x.numel() // x.shape[1]
        away = mean - self.centre
        self.batches += 1
        self.count += n
        self.sum = self.sum + n * away
        self.squares = self.squares + n * (variance + away.square())

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance, C each."""
        away = torch.as_tensor(self.sum) / self.count
        biased = torch.as_tensor(self.squares) / self.count - away.square()
        centre = torch.as_tensor(self.centre)
        return centre + away, biased.clamp_min(0.0) * (self.count / max(self.count - 1, 1))


@torch.no_grad()
def recalibrate_batch_norm(
    network: nn.Module, batches: Batches, *, prior: float = 0.0, names: Collection[str] | None = None
) -> int:
    """Set every batch norm's running mean and variance to those of its inputs on these images; nothing else changes.

    A layer's inputs depend on the layers before it, so the batch norms are settled one after another in the order in
    which they run, each by a walk through all batches that ends at it: exact for the network in eval mode, whatever the
    size and the order of the batches, at about half a forward pass for each batch norm. If there is one batch only, a
    single pass is enough. Modes are left as they were found.

    Args:
        prior: how many images the statistics that are there count for: the new ones are those of the mixture of so many
            old images and the n new ones. 0: the old ones are forgotten.
        names: batch norms that get new statistics; None: all that have some.

    Returns:
        How many batch norms have new statistics.

    Raises:
        BackboneError: there are no images, or activations are not finite.

    Source: Wu and Johnson 2021, arXiv:2105.07576, section 3. We add the variance between batches, which their code
    leaves out (1.0 instead of 5.0 on images sorted by class), and settle layer after layer. Prior: Schneider et al.
    2020, arXiv:2006.16971, section 3; we add the distance of the two means to the variance, as a mixture has it.
    """
    norms = {name: module for name, module in network.named_modules() if _has_statistics(module)}
    norms = norms if names is None else {name: norms[name] for name in names}
    walk = iter(batches())
    first, second = next(walk, None), next(walk, None)
    if first is None:
        raise BackboneError(
            expected="images to estimate batch-norm statistics on", found="none", where="recalibrate_batch_norm"
        )
    old = prior / (prior + sum(len(pixels) for pixels in batches())) if prior else 0.0
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        if second is None:
            return _in_one_pass(network, norms, first, old)
        runs = _count_runs(network, norms, first)
        for name in runs:
            _settle(network, name, norms[name], runs[name], batches, old)
        return len(runs)
    finally:
        for module, training in modes:
            module.training = training


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _count_runs(network: nn.Module, norms: dict[str, nn.Module], pixels: Tensor) -> Counter[str]:
    """How often each batch norm runs in one forward pass, in the order of their first runs."""
    runs: Counter[str] = Counter()
    with watch_inputs(norms, lambda name, _: runs.update([name])):
        network(pixels)
    return runs


def _in_one_pass(network: nn.Module, norms: dict[str, nn.Module], pixels: Tensor, old: float) -> int:
    """With all images in one batch the statistics are known just before each batch norm runs."""
    moments: defaultdict[str, _Moments] = defaultdict(_Moments)
    before = {name: _statistics(norm) for name, norm in norms.items()}

    def look(name: str, x: Tensor) -> None:
        moments[name].add(x)
        _store(norms[name], name, moments[name], before[name], old)

    with watch_inputs(norms, look):
        network(pixels)
    return len(moments)


class _ReachedError(Exception):
    """The forward pass has come as far as it needs to."""


def _settle(network: nn.Module, name: str, norm: nn.Module, runs: int, batches: Batches, old: float) -> None:
    moments, before = _Moments(), _statistics(norm)

    def look(_: str, x: Tensor) -> None:
        moments.add(x)
        if moments.batches % runs == 0:
            raise _ReachedError

    with watch_inputs({name: norm}, look):
        for pixels in batches():
            with suppress(_ReachedError):
                network(pixels)
    _store(norm, name, moments, before, old)


def _statistics(norm: nn.Module) -> tuple[Tensor, Tensor]:
    return norm.get_buffer("running_mean").double().clone(), norm.get_buffer("running_var").double().clone()


def _store(norm: nn.Module, name: str, moments: _Moments, before: tuple[Tensor, Tensor], old: float) -> None:
    """The statistics of a mixture, of which `old` is the share of what was there before."""
    mean, variance = moments.result()
    if old:
        apart = mean - before[0]
        mean = before[0] + (1 - old) * apart
        variance = old * before[1] + (1 - old) * variance + old * (1 - old) * apart.square()
    if not (mean.isfinite().all() and variance.isfinite().all()):
        raise BackboneError(expected="finite activations", found="infinite ones or NaN", where=f"the input of {name}")
    for buffer, value in (("running_mean", mean), ("running_var", variance)):
        getattr(norm, buffer).copy_(value)
