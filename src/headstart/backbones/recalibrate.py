"""Batch-norm statistics re-estimated on given images, exactly, with one batch in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import BackboneError
from headstart.hooks import watch_inputs
from headstart.progress import OnProgress
from headstart.public_api import public_api

Batches = Callable[[], Iterable[Tensor]]
"""Starts a new pass over the same batches of pixels N×3×S×S."""


class _Moments:
    """Mean and variance per channel over any number of batches, by the law of total variance, in float64."""

    def __init__(self) -> None:
        self.batches = 0
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # sums of squared distances from `centre`
        self.centre: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Add activations N×C×…"""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = (part.double() for part in torch.var_mean(x.float(), axes, correction=0))  # C, C
        if self.centre is None:
            # a centre near the data: the squares of a mean far from zero would hide the variance
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


@public_api
@torch.no_grad()
def recalibrate_batch_norm(
    network: nn.Module,
    batches: Batches,
    *,
    prior: float = 0.0,
    names: Collection[str] | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Set every batch norm's running mean and variance to those of its inputs on these images; nothing else changes.

    A layer's inputs depend on the layers before it, so the batch norms are estimated one after another in the order in
    which they run, each in a pass over all batches that ends at it: exact for the network in eval mode, whatever the
    size and the order of the batches, at about half a forward pass for each batch norm. For one batch a single pass is
    enough. Modes are left unchanged.

    Args:
        prior: how many images the present statistics count for: the new ones are those of the mixture of so many old
            images and the n new ones. 0: the old ones are discarded.
        names: batch norms that get new statistics; None: all that have statistics.
        on_progress: called with (batch norms done, in all) where there are several batches, which takes a while.

    Returns:
        How many batch norms have new statistics.

    Raises:
        BackboneError: there are no images, or activations are not finite.

    Source: Wu and Johnson 2021, arXiv:2105.07576, section 3. We add the variance between batches, which their code
    leaves out (1.0 instead of 5.0 on images sorted by class), and estimate layer after layer. Prior: Schneider et al.
    2020, arXiv:2006.16971, section 3; we add the distance of the two means to the variance, as a mixture has it.
    """
    norms = {name: module for name, module in network.named_modules() if _has_statistics(module)}
    norms = norms if names is None else {name: norms[name] for name in names}
    passes = iter(batches())
    first, second = next(passes, None), next(passes, None)
    if first is None:
        raise BackboneError(
            expected="images to estimate batch-norm statistics on", found="none", where="recalibrate_batch_norm"
        )
    old = prior / (prior + sum(len(pixels) for pixels in batches())) if prior else 0.0
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        if second is None:
            return _in_one_pass(network, norms, first, old=old)
        runs = _count_runs(network, norms, first)
        for done, name in enumerate(runs, start=1):
            _estimate(network, batches, _Norm(name, norms[name], runs[name], old))
            if on_progress is not None:
                on_progress(done, len(runs))
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


def _in_one_pass(network: nn.Module, norms: dict[str, nn.Module], pixels: Tensor, *, old: float) -> int:
    """With all images in one batch the statistics are known just before each batch norm runs."""
    estimated = {name: _Norm(name, norm, 1, old) for name, norm in norms.items()}
    ran: set[str] = set()

    def estimate(name: str, x: Tensor) -> None:
        ran.add(name)
        estimated[name].moments.add(x)
        estimated[name].store()

    with watch_inputs(norms, estimate):
        network(pixels)
    return len(ran)


class _ReachedError(Exception):
    """The forward pass has come as far as it needs to."""


class _Norm:
    """One batch norm whose statistics are estimated; `old` is the share of its present ones in the mixture."""

    def __init__(self, name: str, module: nn.Module, runs: int, old: float) -> None:  # its four facts
        self.name, self.module, self.runs, self.old = name, module, runs, old
        self.moments = _Moments()
        self.mean = module.get_buffer("running_mean").double().clone()  # as they were before
        self.variance = module.get_buffer("running_var").double().clone()

    def store(self) -> None:
        """Write the statistics of the mixture."""
        mean, variance = self.moments.result()
        if self.old:
            apart, new = mean - self.mean, 1 - self.old
            mean = self.mean + new * apart
            variance = self.old * self.variance + new * variance + self.old * new * apart.square()
        if not (mean.isfinite().all() and variance.isfinite().all()):
            raise BackboneError(
                expected="finite activations", found="infinite ones or NaN", where=f"the input of {self.name}"
            )
        self.module.get_buffer("running_mean").copy_(mean)
        self.module.get_buffer("running_var").copy_(variance)


def _estimate(network: nn.Module, batches: Batches, norm: _Norm) -> None:
    def add(_: str, x: Tensor) -> None:
        norm.moments.add(x)
        if norm.moments.batches % norm.runs == 0:
            raise _ReachedError

    with watch_inputs({norm.name: norm.module}, add):
        for pixels in batches():
            with suppress(_ReachedError):
                network(pixels)
    norm.store()
