"""Batch norm in one dimension: which statistics it uses, which it keeps, and how it averages them.

Claim: in training, every feature is standardised by the batch's own mean and *biased* variance; what is kept for
    later is the mean and the *unbiased* variance: their plain mean over the batches with `momentum=None`, else kept ←
    momentum · batch + (1 − momentum) · kept. In eval mode the kept numbers are used, whatever the batch.
Source: the chapter's section on batch normalisation; Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.
Settings: 200 points of two features, randn + 2·randn from seed 23, in shuffled batches of 64.
Expected (printed in the chapter, four decimals, ± 5e-5): third batch in eval mode after two in training: means 0.1350
    0.1450, biased variances 1.0134 1.2981. Momentum 0.1, one batch: kept means -0.0228 -0.0212, variances 1.2743
    1.3761. Its check by hand prints 0.8772 0.8788 because it adds (1 − 0.1) where it must multiply by it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.figures.panels import Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need, numbers

SOURCE = "chapter on transfer learning, section on batch normalisation; Ioffe and Szegedy 2015, algorithms 1 and 2"
_PRINTED = 5e-5  # half of the last of four decimals


def run(
    *, seed: int = 23, points: int = 200, batch_size: int = 64, momentum: float = 0.1, eps: float = 1e-5
) -> Experiment:
    """Follow three batches through batch norm, each number beside the one computed by hand.

    Args:
        points: at least three batches of them.

    Raises:
        RecipeError: there are too few points or the batches are too small.
    """
    need(batch_size >= 2, "batches of at least 2", batch_size, "batch_size")
    need(points > 2 * batch_size + 1, "points for at least three batches", points, "points")
    settings = {"seed": seed, "points": points, "batch_size": batch_size, "momentum": momentum, "eps": eps}
    with drawn_from(seed), torch.no_grad():
        first, second, third, later = _batches(points, batch_size)
    plain = nn.BatchNorm1d(2, eps=eps, affine=False, momentum=None)
    weighted = nn.BatchNorm1d(2, eps=eps, affine=False, momentum=momentum)
    normed = plain(first)
    plain(second)
    unseen = plain.eval()(third)
    weighted(first)
    return Experiment(
        "batch_norm_1d",
        CLAIMS["batch_norm_1d"],
        SOURCE,
        settings,
        (
            *_training(normed, first),
            *_kept(plain, first, second),
            *_unseen(unseen),
            *_momentum(weighted, first, momentum),
        ),
        (_table((("first", first), ("second", second), ("third", third), ("first, normalised", normed))),),
        _reading(weighted, first, momentum),
        (*_clouds(first, normed), _averages(later, momentum)),
    )


def _batches(points: int, batch_size: int) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Three batches of one pass, and forty of later passes; the order of the draws is that of the chapter."""
    data = torch.randn((points, 2)) + torch.randn((points, 2)) * 2
    labels = torch.randint(2, (points, 1))
    loader = DataLoader(TensorDataset(data, labels), batch_size=batch_size, shuffle=True)
    first, second, third = (batch for _, (batch, _) in zip(range(3), loader, strict=False))
    later = [batch for _ in range(12) for batch, _ in loader if len(batch) == batch_size]
    return first, second, third, later[:40]


def _training(normed: Tensor, batch: Tensor) -> tuple[Number, ...]:
    n = len(batch)
    return (
        *numbers("mean of the normalised batch, feature", _mean(normed), (0.0, 0.0), 1e-6),
        *numbers("its biased variance, feature", _var(normed), (1.0, 1.0), 1e-4),
        *numbers("its unbiased variance, n/(n-1), feature", _unbiased(normed), (n / (n - 1),) * 2, 1e-4),
    )


def _kept(layer: nn.BatchNorm1d, first: Tensor, second: Tensor) -> tuple[Number, ...]:
    means, variances = _state(layer)
    by_hand = [sum(pair) / 2 for pair in zip(_unbiased(first), _unbiased(second), strict=True)]
    return (
        *numbers("kept mean, momentum=None, feature", means, _mean(torch.stack([first.mean(0), second.mean(0)])), 1e-5),
        *numbers("kept variance, momentum=None, feature", variances, by_hand, 1e-4),
    )


def _unseen(normed: Tensor) -> tuple[Number, ...]:
    return (
        *numbers("third batch in eval mode: mean, feature", _mean(normed), (0.1350, 0.1450), _PRINTED, printed=True),
        *numbers("third batch in eval mode: variance, feature", _var(normed), (1.0134, 1.2981), _PRINTED, printed=True),
    )


def _momentum(layer: nn.BatchNorm1d, batch: Tensor, momentum: float) -> tuple[Number, ...]:
    means, variances = _state(layer)
    right = [momentum * value + (1 - momentum) * 0.0 for value in _mean(batch)]
    right_variances = [momentum * value + (1 - momentum) * 1.0 for value in _unbiased(batch)]
    slip = _slip(batch, momentum)
    return (
        *numbers("kept mean, with momentum, feature", means, right, 1e-6),
        *numbers("kept variance, with momentum, feature", variances, right_variances, 1e-5),
        *numbers("the same mean as printed, feature", means, (-0.0228, -0.0212), _PRINTED, printed=True),
        *numbers("the same variance as printed, feature", variances, (1.2743, 1.3761), _PRINTED, printed=True),
        *numbers("the chapter's check by hand (a slip), feature", slip, (0.8772, 0.8788), _PRINTED, printed=True),
        Number("what the slip adds to the right mean", slip[0] - means[0], 1 - momentum, 1e-6),
    )


def _slip(batch: Tensor, momentum: float) -> list[float]:
    """The mean with a plus where the rule has a times: kept + (1 − momentum), from kept means of zero."""
    return [momentum * value + (1 - momentum) + 0.0 for value in _mean(batch)]


def _reading(layer: nn.BatchNorm1d, batch: Tensor, momentum: float) -> tuple[str, ...]:
    means, slip = _state(layer)[0], _slip(batch, momentum)
    right = [momentum * value for value in _mean(batch)]
    is_right = all(abs(a - b) < 1e-6 for a, b in zip(means, right, strict=True))
    return (
        f"The layer keeps the means {means[0]:.4f} and {means[1]:.4f}.",
        f"By the rule they are {right[0]:.4f} and {right[1]:.4f}; the chapter's sum gives {slip[0]:.4f} and "
        f"{slip[1]:.4f}. {'The rule is right, the sum a slip' if is_right else 'The rule does not give them'}: with "
        f"kept means of zero, (1 - {momentum:g}) times zero is nothing, plus zero is {1 - momentum:g}.",
    )


def _table(batches: tuple[tuple[str, Tensor], ...]) -> Table:
    heads = ("batch", "points", "mean 1", "mean 2", "biased var 1", "biased var 2", "unbiased var 1", "unbiased var 2")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, len(batch), *_mean(batch), *_var(batch), *_unbiased(batch)) for name, batch in batches
    )
    return Table("Statistics of the batches", heads, rows)


def _clouds(before: Tensor, after: Tensor) -> tuple[Plot, Plot]:
    def plot(title: str, cloud: Tensor, colour: str) -> Plot:
        reach = float(before.abs().max()) * 1.1
        frame = Line("", (-reach, reach, reach, -reach), (-reach, -reach, reach, reach), "none")  # one scale for both
        x, y = cloud.T.tolist()
        return Plot(title, (frame, Line("", x, y, colour, "dots")), "feature 1", "feature 2")

    return plot("A batch before batch norm", before, ORANGE), plot("The same batch after it", after, BLUE)


def _averages(batches: list[Tensor], momentum: float) -> Plot:
    layers = nn.BatchNorm1d(2, momentum=None), nn.BatchNorm1d(2, momentum=momentum)
    kept: tuple[list[float], list[float]] = ([1.0], [1.0])
    for batch in batches:
        for layer, values in zip(layers, kept, strict=True):
            layer(batch)
            values.append(_state(layer)[1][0])
    steps = range(len(batches) + 1)
    lines = (
        Line("each batch", steps[1:], [_unbiased(batch)[0] for batch in batches], style="dots"),
        Line("momentum=None: plain mean", steps, kept[0], BLUE),
        Line(f"momentum={momentum:g}", steps, kept[1], ORANGE),
    )
    return Plot("Variance of feature 1", lines, "batches seen", "kept variance")


def _mean(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.mean(0)]


def _var(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.var(0, unbiased=False)]


def _unbiased(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.var(0, unbiased=True)]


def _state(layer: nn.BatchNorm1d) -> tuple[list[float], list[float]]:
    state = layer.state_dict()
    return state["running_mean"].tolist(), state["running_var"].tolist()
