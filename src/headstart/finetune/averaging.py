"""Averaging: weights, and answers over two views, tried after a training; taken only where held-out images say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from headstart.finetune.settings import Average, HeldOut

State = dict[str, Tensor]

ALPHAS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the fine-tuned weights; 0 is the probe and 1 the last weights, which are there anyway."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Weights under a name."""

    name: str
    state: State


def ema_of(averaged: AveragedModel) -> Candidate:
    """The running average of the weights."""
    return Candidate("ema", {name: tensor.detach().clone() for name, tensor in averaged.module.state_dict().items()})


def wise_of(
    model: nn.Module, start: State, last: State, settle: Callable[[], object] | None = None
) -> Iterator[Candidate]:
    """Weights between the start (the probe on the given backbone) and the last ones: (1-α)·θ₀ + α·θ₁.

    Args:
        settle: estimates batch-norm statistics anew for the weights that are in the model; None where they are frozen,
            and so the same at both ends.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT); statistics as in Izmailov et al. 2018, arXiv:1803.05407.
    """
    for alpha in ALPHAS:
        state = {
            name: torch.lerp(start[name].to(tensor), tensor, alpha) if tensor.is_floating_point() else tensor
            for name, tensor in last.items()
        }
        if settle is not None:
            model.load_state_dict(state)
            settle()
            state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        yield Candidate(f"wise α={alpha:g}", state)


def best_of(
    model: nn.Module, candidates: Iterable[Candidate], measure: Callable[[], HeldOut]
) -> tuple[State, tuple[Average, ...], HeldOut]:
    """The candidate with the lowest log loss on the held-out images, the first of equals; the model ends with any.

    Returns:
        Its weights, what was measured of each, and its answers.
    """
    found: list[tuple[Candidate, HeldOut]] = []
    for candidate in candidates:
        model.load_state_dict(candidate.state)
        found.append((candidate, measure()))
    best = min(range(len(found)), key=lambda i: found[i][1].log_loss if found[i][1].n else i)
    averages = tuple(
        Average(candidate.name, held.accuracy, held.log_loss, i == best) for i, (candidate, held) in enumerate(found)
    )
    return found[best][0].state, averages if len(found) > 1 else (), found[best][1]


def with_mirror(plain: HeldOut, mirrored: HeldOut) -> tuple[tuple[Average, Average], HeldOut, str]:
    """Whether the mean of the scores for an image and its mirror image has the lower log loss, each calibrated.

    Args:
        plain: answers for the held-out images as they are. mirrored: for their mirror images alone.

    Returns:
        What was measured of plain answers and of means; the answers that are taken, plain ones of equals; a sentence.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, section 3.2; there the mean is of probabilities, and unjudged.
    """
    mean = HeldOut.of((plain.scores + mirrored.scores) / 2, plain.labels)
    taken = mean.log_loss < plain.log_loss
    averages = (
        Average("as they are", plain.accuracy, plain.log_loss, not taken),
        Average("with mirror images", mean.accuracy, mean.log_loss, taken),
    )
    told = (
        f"Mirror images are {'taken' if taken else 'not taken'}: with them {plain.n} held-out images have a log loss "
        f"of {mean.log_loss:.3f} instead of {plain.log_loss:.3f}, and {mean.accuracy:.1%} instead of "
        f"{plain.accuracy:.1%} are right; {'every answer costs two forward passes' if taken else 'nothing changes'}."
    )
    return averages, mean if taken else plain, told
