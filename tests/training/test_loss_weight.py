"""The loss of an epoch, and the step of accumulated batches, are those of torch on the whole set at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from headstart.training.batch import Loss, two_output_loss
from headstart.training.loss_weight import SUM, loss_weight
from headstart.training.meters import Mean
from headstart.training.stepbystep import StepByStep

CHANCE = torch.Generator().manual_seed(0)
WEIGHT = torch.tensor([1.0, 10.0, 0.1])
SCORES = torch.randn(33, 3, generator=CHANCE)
LABELS = torch.randint(0, 3, (33,), generator=CHANCE)
IGNORED = torch.where(torch.arange(33) < 11, -100, LABELS)  # the whole first batch and a part of the second
SOFT = torch.rand(33, 3, generator=CHANCE).softmax(1)
MAPS = torch.randn(33, 3, 4, 5, generator=CHANCE)
MAP_LABELS = torch.where(torch.rand(33, 4, 5, generator=CHANCE) < 0.4, -100, torch.arange(5) % 3)

LOSSES: dict[str, tuple[Any, Tensor, Tensor]] = {
    "cross entropy": (nn.CrossEntropyLoss(), SCORES, LABELS),
    "class weights": (nn.CrossEntropyLoss(WEIGHT), SCORES, LABELS),
    "class weights and ignored": (nn.CrossEntropyLoss(WEIGHT), SCORES, IGNORED),
    "an ignored class": (nn.CrossEntropyLoss(WEIGHT, ignore_index=1), SCORES, LABELS),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), SCORES, IGNORED),
    "smoothed with class weights": (nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.2), SCORES, IGNORED),
    "probabilities with class weights": (nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), SCORES, SOFT),
    "pixels": (nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), MAPS, MAP_LABELS),
    "NLL": (nn.NLLLoss(WEIGHT), SCORES.log_softmax(1), IGNORED),
    "NLL of pixels": (nn.NLLLoss(WEIGHT), MAPS.log_softmax(1), MAP_LABELS),
    "a function": (F.cross_entropy, SCORES, IGNORED),
    "a partial function": (partial(F.cross_entropy, weight=WEIGHT, label_smoothing=0.1), SCORES, IGNORED),
    "two outputs": (two_output_loss(nn.CrossEntropyLoss(WEIGHT)), SCORES, IGNORED),
    "sum": (nn.CrossEntropyLoss(WEIGHT, reduction="sum"), SCORES, LABELS),
    "partial sum": (partial(F.mse_loss, reduction="sum"), SCORES, SOFT),
    "positive weights": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), SCORES, SOFT),
    "rescaled": (nn.BCELoss(weight=WEIGHT), SCORES.sigmoid(), SOFT),
    "multi margin": (nn.MultiMarginLoss(weight=WEIGHT), SCORES, LABELS),
    "multi label": (nn.MultiLabelSoftMarginLoss(weight=WEIGHT), SCORES, SOFT.round()),
    "divergence": (nn.KLDivLoss(reduction="batchmean"), SCORES.log_softmax(1), SOFT),
    "squares": (nn.MSELoss(), SCORES, SOFT),
}


@pytest.mark.parametrize("name", LOSSES)
def test_batches_joined_by_their_weights_give_the_loss_of_the_whole_set(name: str) -> None:
    loss_fn, scores, target = LOSSES[name]
    mean = Mean()
    for x, y in zip(scores.split(8), target.split(8), strict=True):
        mean.add(loss_fn(x, y).item(), len(y), loss_weight(loss_fn, y))
    assert mean.value == pytest.approx(loss_fn(scores, target).item(), rel=1e-5)
    assert mean.samples == 33


def test_a_subclass_with_a_forward_of_its_own_and_an_unknown_function_count_their_samples() -> None:
    class Focal(nn.CrossEntropyLoss):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(input, target, reduction="none").square().mean()

    assert loss_weight(Focal(WEIGHT), IGNORED[:8]) == 8
    assert loss_weight(lambda x, y: x.mean(), IGNORED[:8]) == 8
    assert loss_weight(nn.MSELoss(reduction="sum"), SOFT) == SUM


def _loop(loss_fn: Loss, batch: int, **options: Any) -> StepByStep:
    torch.manual_seed(1)
    model = nn.Linear(3, 3)
    sbs = StepByStep(model, loss_fn, SGD(model.parameters(), lr=0.5), **options)
    data = TensorDataset(SCORES, LABELS)
    sbs.set_loaders(DataLoader(data, batch), DataLoader(data, 8))
    return sbs


def test_the_loop_reports_the_whole_sets_loss_and_the_books_loop_the_mean_of_means() -> None:
    loss_fn = nn.CrossEntropyLoss(WEIGHT)
    fixed, book = _loop(loss_fn, 8), _loop(loss_fn, 8, compat="book")
    fixed.train(1)
    book.train(1)
    with torch.no_grad():
        whole = loss_fn(fixed.model(SCORES), LABELS).item()
        means = [loss_fn(book.model(x), y).item() for x, y in zip(SCORES.split(8), LABELS.split(8), strict=True)]
    assert fixed.val_losses == pytest.approx([whole], rel=1e-6)
    assert book.val_losses == pytest.approx([sum(means) / 5], rel=1e-6)
    assert whole != pytest.approx(sum(means) / 5, rel=1e-2)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_accumulated_batches_of_a_class_weighted_loss_make_the_step_of_one_large_batch(reduction: str) -> None:
    loss_fn = nn.CrossEntropyLoss(WEIGHT, reduction=reduction)
    large, small = _loop(loss_fn, 33), _loop(loss_fn, 8, accumulate=5)
    large.train(2)
    small.train(2)
    assert torch.allclose(large.model.weight, small.model.weight, rtol=1e-5)
