"""Batch norm in one dimension: which statistics it uses, which it stores, and how it averages them.

Claim: in training, every feature is standardised by the mean and the *biased* variance of the batch; stored for eval
    mode are the mean and the *unbiased* variance: their mean over the batches with `momentum=None`, else stored ←
    momentum · batch + (1 − momentum) · stored. In eval mode the stored statistics are used, whatever the batch.
Source: the chapter's section on batch normalisation; Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.
Settings: 200 points of two features, randn + 2·randn from seed 23, in shuffled batches of 64.
Expected (printed in the chapter, four decimals, ± 5e-5): third batch in eval mode after two in training: means 0.1350
    0.1450, biased variances 1.0134 1.2981. Momentum 0.1, one batch: stored means -0.0228 -0.0212, variances 1.2743
    1.3761. Its check by hand prints 0.8772 0.8788 because it adds (1 − 0.1) where it must multiply by it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.figures.panels import Line, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import Cell, Table
from headstart.lab.experiment import Experiment, Number, numbers, require, seeded

SOURCE = "chapter on transfer learning, section on batch normalisation; Ioffe and Szegedy 2015, algorithms 1 and 2"
_PRINTED = 5e-5  # half of the last of four decimals


def run(
    *, seed: int = 23, points: int = 200, batch_size: int = 64, momentum: float = 0.1, eps: float = 1e-5
) -> Experiment:
    """Send three batches through batch norm, and compare each number with one computed by hand.

    Args:
        points: enough for at least three batches.

    Raises:
        RecipeError: there are too few points or the batches are too small.
    """
    require(batch_size >= 2, "batches of at least 2", found=batch_size, where="batch_size")
    require(points > 2 * batch_size + 1, "points for at least three batches", found=points, where="points")
    settings = {"seed": seed, "points": points, "batch_size": batch_size, "momentum": momentum, "eps": eps}
    with seeded(seed), torch.no_grad():
        first, second, third, later = _batches(points, batch_size)
    plain = nn.BatchNorm1d(2, eps=eps, affine=False, momentum=None)
    weighted = nn.BatchNorm1d(2, eps=eps, affine=False, momentum=momentum)
    normed = plain(first)
    plain(second)
    unseen = plain.eval()(third)
    weighted(first)
    return Experiment(
        "batch_norm_1d",
        SOURCE,
        settings,
        numbers=(
            *_training(normed, first),
            *_stored(plain, first, second),
            *_unseen(unseen),
            *_momentum(weighted, first, momentum),
        ),
        tables=(_table((("first", first), ("second", second), ("third", third), ("first, normalised", normed))),),
        interpretation=_interpretation(weighted, first, momentum),
        panels=(*_clouds(first, normed), _averages(later, momentum)),
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
        *numbers("mean of the normalised batch, feature", _mean(normed), (0.0, 0.0), tolerance=1e-6),
        *numbers("its biased variance, feature", _var(normed), (1.0, 1.0), tolerance=1e-4),
        *numbers("its unbiased variance, n/(n-1), feature", _unbiased(normed), (n / (n - 1),) * 2, tolerance=1e-4),
    )


def _stored(layer: nn.BatchNorm1d, first: Tensor, second: Tensor) -> tuple[Number, ...]:
    means, variances = _state(layer)
    by_hand = [sum(pair) / 2 for pair in zip(_unbiased(first), _unbiased(second), strict=True)]
    return (
        *numbers(
            "stored mean, momentum=None, feature",
            means,
            _mean(torch.stack([first.mean(0), second.mean(0)])),
            tolerance=1e-5,
        ),
        *numbers("stored variance, momentum=None, feature", variances, by_hand, tolerance=1e-4),
    )


def _unseen(normed: Tensor) -> tuple[Number, ...]:
    return (
        *numbers(
            "third batch in eval mode: mean, feature", _mean(normed), (0.1350, 0.1450), tolerance=_PRINTED, printed=True
        ),
        *numbers(
            "third batch in eval mode: variance, feature",
            _var(normed),
            (1.0134, 1.2981),
            tolerance=_PRINTED,
            printed=True,
        ),
    )


def _momentum(layer: nn.BatchNorm1d, batch: Tensor, momentum: float) -> tuple[Number, ...]:
    means, variances = _state(layer)
    expected_means = [momentum * value + (1 - momentum) * 0.0 for value in _mean(batch)]
    expected_variances = [momentum * value + (1 - momentum) * 1.0 for value in _unbiased(batch)]
    wrong = _chapter_error(batch, momentum)
    return (
        *numbers("stored mean, with momentum, feature", means, expected_means, tolerance=1e-6),
        *numbers("stored variance, with momentum, feature", variances, expected_variances, tolerance=1e-5),
        *numbers("the same mean as printed, feature", means, (-0.0228, -0.0212), tolerance=_PRINTED, printed=True),
        *numbers(
            "the same variance as printed, feature", variances, (1.2743, 1.3761), tolerance=_PRINTED, printed=True
        ),
        *numbers(
            "the chapter's check by hand (an error), feature", wrong, (0.8772, 0.8788), tolerance=_PRINTED, printed=True
        ),
        Number("what the error adds to the correct mean", wrong[0] - means[0], 1 - momentum, 1e-6),
    )


def _chapter_error(batch: Tensor, momentum: float) -> list[float]:
    """The mean with a plus instead of a times: stored + (1 − momentum), from stored means of zero."""
    return [momentum * value + (1 - momentum) + 0.0 for value in _mean(batch)]


def _interpretation(layer: nn.BatchNorm1d, batch: Tensor, momentum: float) -> tuple[str, ...]:
    means, wrong = _state(layer)[0], _chapter_error(batch, momentum)
    expected = [momentum * value for value in _mean(batch)]
    is_correct = all(abs(a - b) < 1e-6 for a, b in zip(means, expected, strict=True))
    return (
        f"The layer stores the means {means[0]:.4f} and {means[1]:.4f}.",
        f"By the rule they are {expected[0]:.4f} and {expected[1]:.4f}; the chapter computes {wrong[0]:.4f} and "
        f"{wrong[1]:.4f}. {'The rule is correct, the chapter is not' if is_correct else 'The rule does not apply'}: "
        f"from stored means of zero, (1 - {momentum:g}) times zero is zero, but plus zero is {1 - momentum:g}.",
    )


def _table(batches: tuple[tuple[str, Tensor], ...]) -> Table:
    columns = (
        "batch",
        "points",
        "mean 1",
        "mean 2",
        "biased var 1",
        "biased var 2",
        "unbiased var 1",
        "unbiased var 2",
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, len(batch), *_mean(batch), *_var(batch), *_unbiased(batch)) for name, batch in batches
    )
    return Table("Statistics of the batches", columns, rows)


def _clouds(before: Tensor, after: Tensor) -> tuple[Plot, Plot]:
    def plot(title: str, cloud: Tensor, color: str) -> Plot:
        reach = float(before.abs().max()) * 1.1
        frame = Line("", (-reach, reach, reach, -reach), (-reach, -reach, reach, reach), "none")  # one scale for both
        x, y = cloud.T.tolist()
        return Plot(title, (frame, Line("", x, y, color, style="dots")), x_label="feature 1", y_label="feature 2")

    return plot("A batch before batch norm", before, ORANGE), plot("The same batch after it", after, BLUE)


def _averages(batches: list[Tensor], momentum: float) -> Plot:
    layers = nn.BatchNorm1d(2, momentum=None), nn.BatchNorm1d(2, momentum=momentum)
    stored: tuple[list[float], list[float]] = ([1.0], [1.0])
    for batch in batches:
        for layer, values in zip(layers, stored, strict=True):
            layer(batch)
            values.append(_state(layer)[1][0])
    steps = range(len(batches) + 1)
    lines = (
        Line("each batch", steps[1:], [_unbiased(batch)[0] for batch in batches], style="dots"),
        Line("momentum=None: mean", steps, stored[0], BLUE),
        Line(f"momentum={momentum:g}", steps, stored[1], ORANGE),
    )
    return Plot("Variance of feature 1", lines, x_label="batches", y_label="stored variance")


def _mean(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.mean(0)]


def _var(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.var(0, unbiased=False)]


def _unbiased(batch: Tensor) -> list[float]:
    return [float(value) for value in batch.var(0, unbiased=True)]


def _state(layer: nn.BatchNorm1d) -> tuple[list[float], list[float]]:
    state = layer.state_dict()
    return state["running_mean"].tolist(), state["running_var"].tolist()
