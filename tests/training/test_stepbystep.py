"""StepByStep: the interface of the book, its defects D1 to D30 fixed; each test fails on the behaviour it names."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, lr_scheduler
from torch.utils.data import DataLoader

from headstart.errors import TrainingError
from headstart.training.meters import accuracy
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.stepbystep import StepByStep
from small_loops import equal, loop, network, points, weights


@pytest.mark.slow
def test_d1_training_in_two_calls_is_training_in_one_and_the_book_starts_again() -> None:
    once, twice, book = loop(), loop(), loop(compat="book")
    once.train(6)
    twice.train(3)
    twice.train(3)
    book.train(3)
    book.train(3)
    assert equal(once, twice)
    assert once.losses == twice.losses
    assert not equal(once, book)


def test_train_returns_none_and_epochs_gives_the_same_run_as_records() -> None:
    one, other = loop(), loop()
    assert one.train(3) is None
    records = list(other.epochs(3))
    assert equal(one, other)
    assert [record.epoch for record in records] == [1, 2, 3]
    assert [record.loss for record in records] == one.losses == other.losses
    assert [record.val_loss for record in records] == one.val_losses
    assert other.total_epochs == 3
    assert records == other.records


def test_an_optimizer_of_another_model_is_refused_and_one_of_a_part_or_of_the_loss_is_not() -> None:
    sbs = loop()
    sbs.model = network()
    with pytest.raises(TrainingError, match="one that has none of them"):
        sbs.train(1)
    assert sbs.losses == []

    sbs.optimizer = SGD(list(sbs.model.parameters())[-1:], lr=0.1)
    sbs.train(1)
    sbs.loss_fn = _WeightedLoss()
    sbs.optimizer = SGD(sbs.loss_fn.parameters(), lr=0.1)
    sbs.train(1)
    assert sbs.loss_fn.weight.item() != 1
    sbs.model, sbs.train_step_fn = network(), lambda x, y: 0.5
    sbs.train(1)
    assert len(sbs.losses) == 3


class _WeightedLoss(nn.Module):
    """A loss that is trained too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return self.weight * nn.functional.cross_entropy(scores, labels)


def test_a_plain_loop_written_out_gives_the_same_weights() -> None:
    sbs = loop(validation=False)
    sbs.train(2, seed=7)

    model, data = network(), points()
    optimizer, loss_fn = SGD(model.parameters(), lr=0.1, momentum=0.9), nn.CrossEntropyLoss()
    torch.manual_seed(7)
    loader, means = DataLoader(data, 16, shuffle=True), []
    for _ in range(2):
        total = 0.0
        for x, y in loader:
            model.train()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(y)
        means.append(total / len(data))

    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), weights(sbs), strict=True))
    assert sbs.losses == pytest.approx(means, rel=1e-12)


def test_d2_the_loss_is_the_mean_over_samples_and_the_books_the_mean_of_batch_means() -> None:
    data = points(10)
    expected: dict[str, float] = {}
    for compat in ("fixed", "book"):
        model = network()
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=1e-12), compat=compat)
        sbs.set_loaders(DataLoader(data, 10), DataLoader(data, 4))
        sbs.train(1)
        model.eval()
        losses = nn.CrossEntropyLoss(reduction="none")(model(data.tensors[0]), data.tensors[1]).detach()
        means = [losses[:4].mean(), losses[4:8].mean(), losses[8:].mean()]
        expected = {"fixed": float(losses.mean()), "book": float(sum(means) / 3)}
        assert sbs.val_losses[0] == pytest.approx(expected[compat], rel=1e-5)
    assert expected["fixed"] != pytest.approx(expected["book"], rel=1e-4)


def test_d27_an_interrupted_epoch_is_counted_when_it_is_finished_and_goes_on_where_it_was() -> None:
    whole, broken = loop(batch=4), loop(batch=4)
    whole.train(2)
    records = broken.steps(2)
    for _ in range(3):
        next(records)
    records.close()
    assert broken.total_epochs == 0
    assert broken.losses == []

    torch.rand(5)  # random numbers drawn in between do not matter
    broken.train(2)

    assert broken.total_epochs == 2
    assert equal(whole, broken)
    assert whole.losses == broken.losses


def test_an_interrupt_inside_a_step_leaves_records_that_agree() -> None:
    sbs = loop(batch=4)
    step, calls = sbs.train_step_fn, [0]

    def failing(x: Tensor, y: Tensor) -> float:
        calls[0] += 1
        if calls[0] == 14:
            raise KeyboardInterrupt
        return step(x, y)

    sbs.train_step_fn = failing
    with pytest.raises(KeyboardInterrupt):
        sbs.train(5)
    assert sbs.total_epochs == len(sbs.losses) == len(sbs.val_losses) == 1
    sbs.train(2)
    assert sbs.total_epochs == len(sbs.losses) == 3


def test_an_interrupt_in_the_validation_loses_neither_the_epoch_nor_its_metrics_nor_a_step_of_the_schedule() -> None:
    def make() -> StepByStep:
        sbs = loop(metrics={"accuracy": accuracy})
        sbs.model[1].eval()  # by hand: it stays so
        sbs.set_lr_scheduler(lr_scheduler.OneCycleLR(sbs.optimizer, 0.1, epochs=4, steps_per_epoch=3), "batch")
        return sbs

    whole, broken = make(), make()
    whole.train(4)
    step = broken.val_step_fn

    def failing(x: Tensor, y: Tensor) -> float:
        step(x, y)
        raise KeyboardInterrupt

    broken.val_step_fn = failing
    with pytest.raises(KeyboardInterrupt):
        broken.train(4)
    assert broken.total_epochs == len(broken.losses) == 0
    broken.val_step_fn = step
    broken.train(4)

    assert equal(whole, broken)
    assert broken.losses == whole.losses
    assert broken.learning_rates == whole.learning_rates
    assert [one.metrics for one in broken.records] == [one.metrics for one in whole.records]
    assert [one.val_metrics for one in broken.records] == [one.val_metrics for one in whole.records]


def test_each_step_has_a_record_with_its_rate() -> None:
    records = list(loop(batch=16).steps(2))
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert [(step.epoch, step.step) for step in steps] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {step.rates for step in steps} == {(0.1,)}
    assert [type(record) for record in records[3:4]] == [EpochRecord]


def test_an_int_seeds_and_none_does_not() -> None:
    first, again, free = loop(), loop(), loop()
    first.train(1, seed=5)
    again.train(1, 5)
    torch.manual_seed(99)
    free.train(1, seed=None)
    assert equal(first, again)
    assert not equal(first, free)


def test_replacing_model_loss_or_optimizer_afterwards_works_as_in_the_book() -> None:
    sbs = loop()
    sbs.model = nn.Linear(3, 2)
    sbs.optimizer = SGD(sbs.model.parameters(), lr=0.1)
    before = sbs.model.weight.clone()
    sbs.train(1)
    assert not torch.equal(before, sbs.model.weight)


def test_the_mini_batch_of_a_subclass_is_used() -> None:
    class Halved(StepByStep):
        def _mini_batch(self, validation: bool = False) -> float | None:
            return 0.25 if validation else 0.5

    model = network()
    sbs = Halved(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    sbs.set_loaders(DataLoader(points(), 8))
    sbs.train(2)
    assert sbs.losses == [0.5, 0.5]
    assert sbs.val_losses == [0.25, 0.25]


def test_d15_training_without_a_loader_is_an_error() -> None:
    model = network()
    with pytest.raises(TrainingError, match="set_loaders"):
        StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1)).train(1)


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    def trained(batch: int, accumulate: int) -> tuple[Tensor, int]:
        torch.manual_seed(3)
        model = nn.Linear(3, 2)
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.5), accumulate=accumulate)
        sbs.set_loaders(DataLoader(points(40), batch))
        steps = [record for record in sbs.steps(2) if isinstance(record, StepRecord)]
        return model.weight.detach(), len(steps)

    large, small = trained(24, 1), trained(6, 4)  # 24 + 16 samples, and 4 × 6 + 2 × 6 + 4
    assert small[1] == large[1] == 4
    assert torch.allclose(large[0], small[0], atol=1e-6)


def test_bf16_trains_under_autocast_with_weights_in_fp32() -> None:
    seen = []
    sbs = loop(precision="bf16")
    sbs.attach_hooks("0", lambda layer, inputs, outputs: seen.append(outputs.dtype))
    sbs.train(3)
    assert set(seen) == {torch.bfloat16}
    assert sbs.model[0].weight.dtype == torch.float32
    assert sbs.losses[-1] < sbs.losses[0]


def _pickled(loop: StepByStep) -> StepByStep:
    copied: StepByStep = pickle.loads(pickle.dumps(loop))
    return copied


@pytest.mark.parametrize("clip", ["set_clip_grad_value", "set_clip_grad_norm", "set_clip_backprop"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_a_copy_of_a_loop_trains_its_own_model_and_clips_its_own_gradients(
    clip: str, duplicate: Callable[[StepByStep], StepByStep]
) -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(4, 2), (10 * torch.randn(8, 4), torch.randint(0, 2, (8,)))
    loop = StepByStep(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=1.0))
    loop.set_loaders([batch])
    getattr(loop, clip)(1e-3)
    loop.train(1)
    before = model.weight.detach().clone()

    other = duplicate(loop)
    other.train(1)

    assert torch.equal(model.weight, before)
    moved = float((other.model.weight.detach() - before).abs().max())
    assert 0 < moved <= 1.1e-3
    assert (len(loop.losses), len(other.losses)) == (1, 2)


@pytest.mark.parametrize("progress", ["x", 5])
def test_progress_is_a_word_of_yes_or_no(progress: object) -> None:
    with pytest.raises(TrainingError, match="progress as True, False or None"):
        StepByStep(nn.Linear(4, 2), None, None, progress=progress)  # type: ignore[arg-type]
