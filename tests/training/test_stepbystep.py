"""StepByStep: the book's interface, and its defects D1 to D30 mended; each test fails on the behaviour it names."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Adam, lr_scheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from headstart import runtime
from headstart.backbones.preprocess import Preprocess
from headstart.errors import TrainingError
from headstart.training.batch import two_output_loss
from headstart.training.meters import accuracy
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.stepbystep import StepByStep


def points(n: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(13)
    x = torch.randn(n, 3, generator=generator)
    return TensorDataset(x, (x[:, 0] > 0).long())


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def loop(*, lr: float = 0.1, batch: int = 16, validation: bool = True, **options: Any) -> StepByStep:
    model = network()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=lr, momentum=0.9), **options)
    data = points()
    sbs.set_loaders(DataLoader(data, batch, shuffle=True), DataLoader(data, 16) if validation else None)
    return sbs


def weights(sbs: StepByStep) -> list[Tensor]:
    return [tensor.clone() for tensor in sbs.model.state_dict().values()]


def equal(one: StepByStep, other: StepByStep) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


# ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_d1_training_in_two_calls_is_training_in_one_and_the_book_begins_again() -> None:
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


@pytest.mark.parametrize("look", ["predict", "correct", "predict_proba"])
def test_d3_looking_leaves_every_mode_as_it_was_and_the_book_leaves_train_mode(look: str) -> None:
    for compat in ("fixed", "book"):
        sbs, (x, y) = loop(compat=compat), points().tensors
        sbs.model.eval()
        getattr(sbs, look)(*((x, y) if look == "correct" else (x,)))
        assert sbs.model[1].training == (compat == "book")


def test_d4_a_batch_norm_put_into_eval_mode_by_hand_stays_there() -> None:
    sbs, book = loop(), loop(compat="book")
    for one in (sbs, book):
        one.model[1].eval()
        one.model[1].requires_grad_(False)
        one.train(2)
    assert torch.equal(sbs.model[1].running_mean, torch.zeros(8))
    assert not sbs.model[1].training
    assert sbs.model[3].training
    assert not torch.equal(book.model[1].running_mean, torch.zeros(8))


def test_d27_an_interrupted_epoch_is_counted_when_it_is_finished_and_goes_on_where_it_was() -> None:
    whole, broken = loop(batch=4), loop(batch=4)
    whole.train(2)
    records = broken.steps(2)
    for _ in range(3):
        next(records)
    records.close()
    assert broken.total_epochs == 0
    assert broken.losses == []

    torch.rand(5)  # what happens in between does not matter
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


def test_steps_are_told_one_by_one_with_their_rate() -> None:
    records = list(loop(batch=16).steps(2))
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert [(step.epoch, step.step) for step in steps] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {step.rates for step in steps} == {(0.1,)}
    assert [type(record) for record in records[3:4]] == [EpochRecord]


def test_a_seed_that_is_named_seeds_and_none_does_not() -> None:
    first, again, free = loop(), loop(), loop()
    first.train(1, seed=5)
    again.train(1, 5)
    torch.manual_seed(99)
    free.train(1, seed=None)
    assert equal(first, again)
    assert not equal(first, free)


def test_a_generator_of_the_loader_is_seeded_too() -> None:
    orders = []
    for _ in range(2):
        seen: list[list[float]] = []
        sbs = loop(validation=False)
        data, generator = points(), torch.Generator()
        generator.seed()  # from the operating system
        sbs.set_loaders(DataLoader(data, 8, shuffle=True, generator=generator))
        step = sbs.train_step_fn
        sbs.train_step_fn = lambda x, y, seen=seen, step=step: (seen.append(x[:, 0].tolist()), step(x, y))[1]
        sbs.train(1)
        orders.append(seen)
    assert orders[0] == orders[1]


def test_replacing_model_loss_or_optimizer_afterwards_works_as_in_the_book() -> None:
    sbs = loop()
    sbs.model = nn.Linear(3, 2)
    sbs.optimizer = SGD(sbs.model.parameters(), lr=0.1)
    before = sbs.model.weight.clone()
    sbs.train(1)
    assert not torch.equal(before, sbs.model.weight)


def test_a_subclass_with_its_own_mini_batch_is_asked_instead() -> None:
    class Halved(StepByStep):
        def _mini_batch(self, validation: bool = False) -> float | None:
            return 0.25 if validation else 0.5

    model = network()
    sbs = Halved(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    sbs.set_loaders(DataLoader(points(), 8))
    sbs.train(2)
    assert sbs.losses == [0.5, 0.5]
    assert sbs.val_losses == [0.25, 0.25]


# ── what must be said ──────────────────────────────────────────────────────────────────────────────────────────────


def test_d15_training_without_a_loader_is_an_error() -> None:
    model = network()
    with pytest.raises(TrainingError, match="set_loaders"):
        StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1)).train(1)


def test_d16_an_empty_loader_is_an_error_for_training_and_validation_with_and_without_a_length() -> None:
    class Nothing(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(())

    sbs, empty = loop(), DataLoader(points(3), 4, drop_last=True)
    with pytest.raises(TrainingError, match="at least one batch"):
        sbs.set_loaders(empty)
    with pytest.raises(TrainingError, match="validation loader"):
        sbs.set_loaders(DataLoader(points(), 4), empty)
    sbs.set_loaders(DataLoader(Nothing()))
    with pytest.raises(TrainingError, match="training loader"):
        sbs.train(1)


def test_d14_a_plateau_scheduler_without_validation_is_an_error_before_the_first_epoch() -> None:
    sbs = loop(validation=False)
    sbs.set_lr_scheduler(lr_scheduler.ReduceLROnPlateau(sbs.optimizer))
    before = weights(sbs)
    with pytest.raises(TrainingError, match="ReduceLROnPlateau"):
        sbs.train(1)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(sbs), strict=True))


def test_loaders_of_other_classes_or_too_few_outputs_are_errors() -> None:
    named, other = DataLoader(points(), 8), DataLoader(points(), 8)
    named.dataset.classes, other.dataset.classes = ["cat", "dog"], ["dog", "cat"]  # type: ignore[attr-defined]
    sbs = loop()
    with pytest.raises(TrainingError, match="validation images of cat, dog"):
        sbs.set_loaders(named, other)
    named.dataset.classes = ["ant", "bee", "cat"]  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="3 outputs"):
        sbs.set_loaders(named)


def test_unknown_options_and_devices_are_errors_and_move_nothing() -> None:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    for options in ({"precision": "int8"}, {"accumulate": 0}, {"compat": "v2"}):
        with pytest.raises(TrainingError):
            StepByStep(model, nn.CrossEntropyLoss(), optimizer, **options)  # type: ignore[arg-type]
    sbs = loop()
    with pytest.raises(TrainingError, match="device"):
        sbs.to("cuda:7")
    assert sbs.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_device_that_is_named_is_taken_and_no_other_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "choose_device", lambda name="auto": "meta" if name == "auto" else name)
    assert loop(device="cpu").model[0].weight.device.type == "cpu"
    assert loop().model[0].weight.device.type == "meta"


def test_a_loss_that_is_not_a_number_is_said() -> None:
    sbs = loop(lr=1e30)
    with pytest.warns(UserWarning, match="learning rate may be too high") as warned:
        sbs.train(4)
    assert len([warning for warning in warned if "learning rate" in str(warning.message)]) == 1


# ── schedulers, optimisers, clipping ───────────────────────────────────────────────────────────────────────────────


def test_d12_a_scheduler_of_another_optimizer_is_an_error() -> None:
    sbs = loop()
    other = SGD(network().parameters(), lr=0.1)
    with pytest.raises(TrainingError, match="another one"):
        sbs.set_lr_scheduler(lr_scheduler.StepLR(other, 1))


def test_d13_a_new_optimizer_drops_the_scheduler_of_the_old_one_with_a_warning() -> None:
    sbs = loop()
    sbs.set_lr_scheduler(lr_scheduler.StepLR(sbs.optimizer, 1))
    with pytest.warns(UserWarning, match="StepLR"):
        sbs.set_optimizer(Adam(sbs.model.parameters()))
    assert sbs.scheduler is None
    sbs.train(1)
    assert sbs.learning_rates == []


def test_epoch_and_batch_schedulers_leave_the_rates_the_book_records() -> None:
    sbs = loop(batch=20)
    sbs.set_lr_scheduler(lr_scheduler.StepLR(sbs.optimizer, 2))
    sbs.train(4)
    assert np.allclose(sbs.learning_rates, [[0.1], [0.01], [0.01], [0.001]])
    assert not sbs.is_batch_lr_scheduler

    sbs = loop(batch=20)
    sbs.set_lr_scheduler(lr_scheduler.OneCycleLR(sbs.optimizer, 0.5, total_steps=4))
    sbs.train(2)
    assert sbs.is_batch_lr_scheduler
    assert len(sbs.learning_rates) == 4


def test_d11_warm_restarts_begin_at_zero_and_the_books_at_one() -> None:
    firsts = {}
    for compat in ("fixed", "book"):
        sbs = loop(batch=20, compat=compat)
        sbs.set_lr_scheduler(lr_scheduler.CosineAnnealingWarmRestarts(sbs.optimizer, 4))
        sbs.train(1)
        firsts[compat] = sbs.learning_rates[0][0]
    assert firsts["fixed"] == pytest.approx(0.1)
    assert firsts["book"] == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)) / 2)


def test_any_scheduler_steps_at_the_interval_that_is_named() -> None:
    sbs = loop(batch=10)
    sequence = lr_scheduler.SequentialLR(
        sbs.optimizer,
        [lr_scheduler.LinearLR(sbs.optimizer, 0.1, 1.0, 4), lr_scheduler.CosineAnnealingLR(sbs.optimizer, 4)],
        [4],
    )
    sbs.set_lr_scheduler(sequence, interval="batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own SequentialLR calls step with an epoch, which torch deprecates
        sbs.train(2)
    assert len(sbs.learning_rates) == 8
    assert sbs.learning_rates[3][0] == pytest.approx(0.1)
    with pytest.raises(TrainingError, match="interval"):
        sbs.set_lr_scheduler(sequence, interval="hour")


def test_d23_one_clipping_at_a_time_in_every_order_and_none_is_left_behind() -> None:
    for first, second in (("set_clip_grad_norm", "set_clip_backprop"), ("set_clip_backprop", "set_clip_grad_value")):
        sbs = loop(validation=False)
        getattr(sbs, first)(1e-6)
        getattr(sbs, second)(1e-6)
        sbs.remove_clip()
        assert sbs.clipping is None
        plain = loop(validation=False)
        sbs.train(1)
        plain.train(1)
        assert equal(sbs, plain)


@pytest.mark.parametrize("kind", ["value", "backprop"])
def test_clipped_elements_move_by_no_more_than_rate_times_limit(kind: str) -> None:
    model = nn.Linear(3, 2)
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=1.0))
    getattr(sbs, {"value": "set_clip_grad_value", "backprop": "set_clip_backprop"}[kind])(1e-3)
    x, y = points().tensors
    before = model.weight.detach().clone()
    sbs.train_step_fn(x, y)
    moved = (model.weight - before).abs().max().item()
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_d24_gradients_of_two_backward_passes_are_clipped_once_they_are_summed() -> None:
    model = nn.Linear(3, 1, bias=False)
    sbs = StepByStep(model, nn.MSELoss(), SGD(model.parameters(), lr=1.0))
    sbs.set_clip_backprop(1e-3)
    for _ in range(2):
        model(torch.ones(1, 3)).sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.max().item() == pytest.approx(1e-3)


def test_gradients_that_arrive_scaled_are_not_clipped_as_they_arrive() -> None:
    sbs = loop(accumulate=2)
    with pytest.raises(TrainingError, match="set_clip_grad_value"):
        sbs.set_clip_backprop(1e-3)
    assert sbs.clipping is None


def test_the_norm_before_clipping_is_told() -> None:
    sbs = loop(validation=False)
    sbs.set_clip_grad_norm(1e-3)
    record = next(sbs.steps(1))
    assert isinstance(record, StepRecord)
    assert record.norm is not None
    assert record.norm > 1e-3


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


# ── forms of batches and models ────────────────────────────────────────────────────────────────────────────────────


def test_batches_may_be_mappings_or_have_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pixels: Tensor, extra: Tensor) -> Tensor:
            return self.linear(pixels) + extra[:, :2]

    x, y = points().tensors
    finals = []
    for batches in (
        [{"pixels": x, "extra": x, "labels": y}],
        [(x, x, y)],
    ):
        torch.manual_seed(0)
        model = Two()
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
        sbs.set_loaders(batches, batches)
        sbs.train(3)
        finals.append(sbs.losses)
    assert finals[0] == finals[1]
    sbs.set_loaders([{"pixels": x}])
    with pytest.raises(TrainingError, match="mapping with"):
        sbs.train(1)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.main, self.aux = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        from torchvision.models.inception import InceptionOutputs

        return InceptionOutputs(self.main(x), self.aux(x)) if self.training else self.main(x)


def test_d28_two_outputs_are_known_by_their_type_so_that_a_batch_of_two_rows_is_one_output() -> None:
    model = TwoHeads()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    x, y = points(2).tensors
    loss_fn = nn.CrossEntropyLoss()
    model.eval()
    assert sbs.val_step_fn(x, y) == pytest.approx(loss_fn(model(x), y).item())
    expected = loss_fn(model.main(x), y) + 0.4 * loss_fn(model.aux(x), y)
    assert sbs.train_step_fn(x, y) == pytest.approx(expected.item())
    assert two_output_loss(loss_fn)(model.eval()(x), y).shape == ()


# ── metrics, best, stopping ────────────────────────────────────────────────────────────────────────────────────────


def test_d29_metrics_are_means_over_samples_of_each_pass() -> None:
    sbs = loop(metrics={"accuracy": accuracy}, batch=16)
    record = list(sbs.epochs(4))[-1]
    x, y = points().tensors
    right = (sbs.predict(x).argmax(1) == y.numpy()).mean()
    assert record.val_metrics["accuracy"] == pytest.approx(right)
    assert 0 < record.metrics["accuracy"] <= 1
    assert record.metrics["accuracy"] * 40 == pytest.approx(round(record.metrics["accuracy"] * 40))
    assert "val_accuracy" in str(record)


def test_a_metric_with_a_memory_is_reset_and_computed_over_the_whole_validation_set() -> None:
    class Worst:
        def reset(self) -> None:
            self.margins: list[float] = []

        def update(self, logits: Tensor, y: Tensor) -> None:
            self.margins += logits.gather(1, y[:, None]).flatten().tolist()

        def compute(self) -> float:
            return min(self.margins)

    sbs = loop(metrics={"worst": Worst()})
    record = list(sbs.epochs(2))[-1]
    x, y = points().tensors
    assert record.val_metrics == {"worst": pytest.approx(float(sbs.predict(x)[np.arange(40), y].min()), rel=1e-6)}
    assert record.metrics == {}


def test_the_best_epoch_is_kept_and_early_stopping_goes_back_to_it() -> None:
    sbs = loop(lr=0.5)
    sbs.set_early_stopping(patience=3)
    seen: dict[int, list[Tensor]] = {}
    for record in sbs.epochs(60):
        seen[record.epoch] = weights(sbs)
    assert sbs.total_epochs < 60
    assert sbs.best is not None
    lowest = min(sbs.val_losses)  # type: ignore[type-var]
    assert sbs.val_losses.index(lowest) + 1 == sbs.best.epoch == sbs.total_epochs - 3
    assert all(torch.equal(a, b) for a, b in zip(weights(sbs), seen[sbs.best.epoch], strict=True))
    assert [record.epoch for record in sbs.records if record.best][-1] == sbs.best.epoch


def test_early_stopping_in_several_calls_is_that_in_one_and_waits_anew_after_a_stop() -> None:
    def still() -> StepByStep:
        sbs = loop(lr=0.0)
        sbs.model[1] = nn.Identity()  # whose statistics would move: the first epoch stays the best
        sbs.set_early_stopping(patience=3)
        return sbs

    whole, parts = still(), still()
    whole.train(9)
    parts.train(2)
    parts.train(7)
    assert whole.total_epochs == parts.total_epochs == 4
    parts.train(9)
    assert parts.total_epochs == 7


def test_the_best_by_a_metric_goes_up_and_a_wrong_name_is_said() -> None:
    sbs = loop(metrics={"accuracy": accuracy})
    sbs.keep_best("val_accuracy")
    sbs.train(5)
    assert sbs.best is not None
    assert sbs.best.value == max(record.val_metrics["accuracy"] for record in sbs.records)
    sbs.keep_best("val_f1")
    with pytest.raises(TrainingError, match="val_accuracy"):
        sbs.train(1)
    with pytest.raises(TrainingError, match="keep_best"):
        loop().load_best()


# ── looks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_predict_gives_the_networks_logits_for_arrays_and_tensors_in_chunks() -> None:
    sbs, x = loop(), torch.randn(600, 3, generator=torch.Generator().manual_seed(1))
    logits = sbs.predict(x.double().numpy())
    assert isinstance(logits, np.ndarray)
    assert np.allclose(logits, sbs.model.eval()(x).detach().numpy(), atol=1e-6)
    assert np.allclose(sbs.predict_proba(x).sum(1), 1, atol=1e-6)


def test_correct_counts_by_class_for_logits_and_for_a_single_one() -> None:
    sbs, (x, y) = loop(), points().tensors
    answers = sbs.predict(x).argmax(1)
    expected = [[int(((answers == c) & (y.numpy() == c)).sum()), int((y == c).sum())] for c in range(2)]
    assert sbs.correct(x, y).tolist() == expected
    assert StepByStep.loader_apply(DataLoader(points(), 16), sbs.correct).tolist() == expected
    single = nn.Linear(3, 1)
    one = StepByStep(single, nn.BCEWithLogitsLoss(), SGD(single.parameters(), lr=0.1))
    yes = torch.sigmoid(single(x)).flatten() > 0.7
    expected = [[int((~yes & (y == 0)).sum()), int((y == 0).sum())], [int((yes & (y == 1)).sum()), int(y.sum())]]
    assert one.correct(x, y[:, None].float(), threshold=0.7).tolist() == expected


def test_parameters_are_counted_all_trained_or_frozen_and_by_block() -> None:
    sbs = loop()
    sbs.model[0].requires_grad_(False)
    assert sbs.count_parameters() == 16 + 18
    assert sbs.count_parameters(trainable=False) == 32
    assert sbs.count_parameters(None, by_block=True) == {"0": 32, "1": 16, "4": 18}


def test_d5_d6_d7_training_after_a_range_test_equals_training_without_it() -> None:
    with_test, without = loop(), loop()
    with_test.train(1)
    without.train(1)
    tracking, figure = with_test.lr_range_test(with_test.train_loader, end_lr=10, num_iter=20, step_mode="linear")
    assert set(tracking) == {"loss", "lr"}
    assert np.allclose(np.diff(tracking["lr"]), np.diff(tracking["lr"])[0])
    assert type(figure).__name__ == "Figure"
    with_test.train(1, seed=1)
    without.train(1, seed=1)
    assert equal(with_test, without)


class Broken(Dataset[Any]):
    """Gives two batches and then fails."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if i >= 16:
            raise OSError("the disk is gone")
        return torch.zeros(3), 0


LOOKS = (
    "predict",
    "predict_proba",
    "correct",
    "lr_range_test",
    "plot_losses",
    "count_parameters",
    "add_graph",
    "hooks",
    "captures",
    "loader_apply",
    "make_normalizer",
    "validation",
    "failing predict",
    "failing predict_files",
    "failing correct",
    "failing lr_range_test",
    "failing loader_apply",
    "failing make_normalizer",
    "failing visualize_filters",
    "failing visualize_outputs",
    "failing attach_hooks",
    "failing to_classifier",
)

PICTURES = TensorDataset(torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 2)


def looks(sbs: StepByStep, folder: Path) -> dict[str, Callable[[], object]]:
    """Every look, and after `failing` those that cannot succeed."""
    (x, y), picture = points().tensors, folder / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    shuffled, broken = DataLoader(PICTURES, 4, shuffle=True), DataLoader(Broken(), 8, shuffle=False)
    preprocess = Preprocess(8, 8, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def shown() -> None:
        sbs.attach_hooks(["0", "4"])
        sbs.predict(x)
        sbs.visualize_outputs(["0", "4"])
        sbs.remove_hooks()

    def captured() -> None:
        sbs.capture_gradients("0")
        sbs.capture_parameters("0")
        sbs.predict(x)
        sbs.remove_hooks()

    return {
        "predict": lambda: sbs.predict(x),
        "predict_proba": lambda: sbs.predict_proba(x),
        "correct": lambda: sbs.correct(x, y),
        "lr_range_test": lambda: sbs.lr_range_test(sbs.train_loader, 1.0, 5),
        "plot_losses": sbs.plot_losses,
        "count_parameters": sbs.count_parameters,
        "add_graph": sbs.add_graph,
        "hooks": shown,
        "captures": captured,
        "loader_apply": lambda: StepByStep.loader_apply(shuffled, StepByStep.statistics_per_channel),
        "make_normalizer": lambda: StepByStep.make_normalizer(shuffled),
        "validation": lambda: sbs._validation(),
        "failing predict": lambda: sbs.predict(torch.ones(2, 7)),
        "failing predict_files": lambda: sbs.predict_files([picture], preprocess),
        "failing correct": lambda: sbs.correct(torch.ones(2, 7), y[:2]),
        "failing lr_range_test": lambda: sbs.lr_range_test(broken, 1.0, 5),
        "failing loader_apply": lambda: StepByStep.loader_apply(broken, lambda x, y: x),
        "failing make_normalizer": lambda: StepByStep.make_normalizer(broken),
        "failing visualize_filters": lambda: sbs.visualize_filters("0"),
        "failing visualize_outputs": lambda: sbs.visualize_outputs("0"),
        "failing attach_hooks": lambda: sbs.attach_hooks("nowhere"),
        "failing to_classifier": lambda: sbs.to_classifier(None, ("no", "yes")),
    }


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_leaves_a_trace(look: str, tmp_path: Path) -> None:
    from test_preserve import same, snapshot

    sbs = loop()
    sbs.train(1)
    sbs.model[1].eval()
    sbs.set_loaders(sbs.train_loader, DataLoader(points(), 16, shuffle=True))
    if look == "add_graph":
        pytest.importorskip("tensorboard")
        sbs.set_tensorboard("look", str(tmp_path))
    made = looks(sbs, tmp_path)
    assert sorted(made) == sorted(LOOKS)
    before = snapshot(sbs.model, sbs.optimizer)
    with pytest.raises(Exception) if look.startswith("failing") else contextlib.nullcontext():
        made[look]()
    after = snapshot(sbs.model, sbs.optimizer)
    assert {key: same(before[key], after[key]) for key in before} == dict.fromkeys(before, True)


def test_d26_tensorboard_steps_go_on_over_calls(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sbs = loop()
    sbs.set_tensorboard("run", str(tmp_path))
    sbs.train(2)
    sbs.train(1)
    folder = next(tmp_path.glob("run_*")) / "loss_training"
    events = EventAccumulator(str(folder)).Reload()
    scalars = events.Scalars("loss")
    assert [event.step for event in scalars] == [1, 2, 3]
    assert [event.value for event in scalars] == pytest.approx(sbs.losses, rel=1e-6)


def test_figures_change_no_style_and_open_no_window() -> None:
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    sbs = loop()
    sbs.train(2)
    figures = [sbs.plot_losses(), sbs.lr_range_test(sbs.train_loader, 1.0, 5)[1]]
    assert {type(figure).__name__ for figure in figures} == {"Figure"}
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_progress_is_shown_when_asked_for_and_not_for_a_moments_training(capsys: pytest.CaptureFixture[str]) -> None:
    loop(progress=True).train(3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1 · loss ")
    assert "left" in lines[0]
    loop().train(3)
    assert capsys.readouterr().err == ""
