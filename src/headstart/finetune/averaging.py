"""Averaged weights and flip TTA, tried after the training and taken only where the held-out images say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from headstart.finetune.result import HeldOut, Variant
from headstart.wording import counted, percent

State = dict[str, Tensor]

ALPHAS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the fine-tuned weights; 0 is the start and 1 the last weights, which are always a candidate."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Weights under a name."""

    name: str
    state: State


def ema_of(averaged: AveragedModel) -> Candidate:
    """The running average of the weights."""
    return Candidate("ema", {name: tensor.detach().clone() for name, tensor in averaged.module.state_dict().items()})


def wise_of(  # positional: the line runs from start to last
    model: nn.Module, start: State, last: State, estimate_statistics: Callable[[], object] | None = None
) -> Iterator[Candidate]:
    """Weights between those at the start and the last ones: (1-α)·θ₀ + α·θ₁.

    Args:
        estimate_statistics: measures batch-norm statistics for the weights in the model; None where they are frozen,
            and so the same at both ends.

    Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT); statistics as in Izmailov et al. 2018, arXiv:1803.05407.
    """
    for alpha in ALPHAS:
        state = {
            name: torch.lerp(start[name].to(tensor), tensor, alpha) if tensor.is_floating_point() else tensor
            for name, tensor in last.items()
        }
        if estimate_statistics is not None:
            model.load_state_dict(state)
            estimate_statistics()
            state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        yield Candidate(f"wise α={alpha:g}", state)


def best_of(
    model: nn.Module, candidates: Iterable[Candidate], measure: Callable[[], HeldOut]
) -> tuple[State, tuple[Variant, ...], HeldOut]:
    """The candidate with the lowest log loss on the held-out images, the first of equals; the model holds the last one.

    Returns:
        Its weights, what was measured of each, and its scores.
    """
    found: list[tuple[Candidate, HeldOut]] = []
    for candidate in candidates:
        model.load_state_dict(candidate.state)
        found.append((candidate, measure()))
    best = min(range(len(found)), key=lambda i: found[i][1].log_loss if found[i][1].n else i)
    averages = tuple(
        Variant(candidate.name, held.accuracy, held.log_loss, i == best) for i, (candidate, held) in enumerate(found)
    )
    return found[best][0].state, averages if len(found) > 1 else (), found[best][1]


def compare_flips(plain: HeldOut, flipped: HeldOut) -> tuple[tuple[Variant, Variant], HeldOut, str]:
    """Whether the mean of the scores for an image and its horizontal flip has the lower log loss, each calibrated.

    Args:
        plain: held-out images. flipped: the same images, flipped.

    Returns:
        What was measured without and with flips; the scores that are taken, plain ones of equals; a sentence.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, section 3.2; there the mean is of probabilities, and always
    taken.
    """
    mean = HeldOut.of((plain.scores + flipped.scores) / 2, plain.labels, plain.groups)
    taken = mean.log_loss < plain.log_loss
    variants = (
        Variant("without flips", plain.accuracy, plain.log_loss, not taken),
        Variant("with flips", mean.accuracy, mean.log_loss, taken),
    )
    sentence = (
        f"Flip TTA is {'used' if taken else 'not used'}: on {counted(plain.n, 'held-out image')} the log loss is "
        f"{plain.log_loss:.3f} without and {mean.log_loss:.3f} with flips, accuracy {percent(plain.accuracy)} and "
        f"{percent(mean.accuracy)}{'; each prediction takes two forward passes' if taken else ''}."
    )
    return variants, mean if taken else plain, sentence
