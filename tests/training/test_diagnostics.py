"""Diagnostics: right numbers, and no trace in the model, the optimiser and the random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset, TensorDataset

from headstart.backbones.preprocess import Preprocess
from headstart.errors import TrainingError
from headstart.training.stepbystep import StepByStep
from small_loops import equal, loop, points


@pytest.mark.parametrize("name", ["predict", "correct", "predict_proba"])
def test_d3_diagnostics_leave_every_mode_as_it_was_and_the_book_leaves_train_mode(name: str) -> None:
    for compat in ("fixed", "book"):
        sbs, (x, y) = loop(compat=compat), points().tensors
        sbs.model.eval()
        getattr(sbs, name)(*((x, y) if name == "correct" else (x,)))
        assert sbs.model[1].training == (compat == "book")


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


DIAGNOSTICS = (
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


IMAGES = TensorDataset(torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 2)


def diagnostics(sbs: StepByStep, folder: Path) -> dict[str, Callable[[], object]]:
    """Every diagnostic, and after `failing` those that cannot succeed."""
    (x, y), picture = points().tensors, folder / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    shuffled, broken = DataLoader(IMAGES, 4, shuffle=True), DataLoader(Broken(), 8, shuffle=False)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_no_diagnostic_leaves_a_trace(name: str, tmp_path: Path) -> None:
    from test_preserve import same, snapshot

    sbs = loop()
    sbs.train(1)
    sbs.model[1].eval()
    sbs.set_loaders(sbs.train_loader, DataLoader(points(), 16, shuffle=True))
    if name == "add_graph":
        pytest.importorskip("tensorboard")
        sbs.set_tensorboard("run", str(tmp_path))
    made = diagnostics(sbs, tmp_path)
    assert sorted(made) == sorted(DIAGNOSTICS)
    before = snapshot(sbs.model, sbs.optimizer)
    with pytest.raises(Exception) if name.startswith("failing") else contextlib.nullcontext():
        made[name]()
    if sbs.writer is not None:
        sbs.writer.close()  # its thread would write into a folder that is removed
    after = snapshot(sbs.model, sbs.optimizer)
    assert {key: same(before[key], after[key]) for key in before} == dict.fromkeys(before, True)


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


def test_filters_are_drawn_by_channel_with_the_books_own_arguments() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3))
    sbs = StepByStep(model, None, None)
    for arguments in ({}, {"cmap": "gray"}, {"cmap": "viridis"}):
        axes = sbs.visualize_filters("0", **arguments).axes[0]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["#0", "#1", "#2"]
        assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"Filter #{i}" for i in range(5)]
    assert "in each colour" in sbs.visualize_filters("0", by_channel=False).get_suptitle()
    with pytest.warns(UserWarning, match="ignores figsize"):
        sbs.visualize_filters("0", figsize=(3, 3))


def test_the_books_loader_apply_and_normalizer_leave_the_random_numbers_as_the_loader_does() -> None:
    class Book(StepByStep):
        compat = "book"

    model = nn.Linear(3, 2)
    instance = StepByStep(model, None, None, compat="book")
    fixed = StepByStep(model, None, None)
    loader = DataLoader(points(), 8, shuffle=True)
    images = DataLoader(IMAGES, 4, shuffle=True)

    def after(action: Callable[[], object]) -> float:
        torch.manual_seed(0)
        action()
        return torch.rand(1).item()

    untouched, drawn = after(lambda: None), after(lambda: list(loader))
    assert untouched != drawn
    leaves = {
        "the class": (lambda: StepByStep.loader_apply(loader, lambda x, y: x.sum()), untouched),
        "fixed": (lambda: fixed.loader_apply(loader, fixed.correct), untouched),
        "book": (lambda: instance.loader_apply(loader, lambda x, y: x.sum()), drawn),
        "a method of a book object": (lambda: StepByStep.loader_apply(loader, instance.correct), drawn),
        "a class of the book": (lambda: Book.loader_apply(loader, lambda x, y: x.sum()), drawn),
        "an object of it": (lambda: Book(model, None, None).loader_apply(loader, lambda x, y: x.sum()), drawn),
        "normalizer of the class": (lambda: StepByStep.make_normalizer(images), untouched),
        "normalizer of a book class": (lambda: Book.make_normalizer(images), after(lambda: list(images))),
    }
    assert {name: after(action) for name, (action, _) in leaves.items()} == {
        name: expected for name, (_, expected) in leaves.items()
    }
    per_image = StepByStep.make_normalizer(images, "per_image")
    assert torch.allclose(Book.make_normalizer(images).std, per_image.std)
    assert torch.allclose(instance.make_normalizer(images).std, per_image.std)
    assert not torch.allclose(StepByStep.make_normalizer(images).std, per_image.std)
    assert Book(model, None, None).book
    assert not Book(model, None, None, compat="fixed").book


@pytest.mark.parametrize("x", ["photo.jpg", None, 5.0, [[1.0], [2.0, 3.0]], np.array(["a"]), []])
def test_inputs_that_are_no_numbers_are_an_error_of_ours(x: object) -> None:
    with pytest.raises(TrainingError, match="inputs as an array or tensor"):
        loop().predict(x)


@pytest.mark.parametrize("y", [None, 5, torch.zeros(3), "ab"])
def test_labels_that_are_none_or_too_few_are_an_error_of_ours(y: object) -> None:
    with pytest.raises(TrainingError, match="label"):
        loop().correct(points()[:4][0], y)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_inputs_get_the_precision_of_the_network(kind: torch.dtype) -> None:
    model = nn.Linear(3, 2).to(kind)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    found = StepByStep(model, None, None).predict(x.numpy())
    assert found == pytest.approx(model(x.to(kind)).detach().double().numpy(), rel=1e-6)


def test_whole_numbers_stay_indices_of_an_embedding() -> None:
    model = nn.Sequential(nn.Embedding(10, 2), nn.Flatten(), nn.Linear(6, 2))
    indices = torch.tensor([[1, 2, 3], [9, 0, 4]])
    assert StepByStep(model, None, None).predict(indices.numpy()) == pytest.approx(model(indices).detach().numpy())


def test_inputs_that_tracing_takes_apart_are_refused_in_words(tmp_path: Path) -> None:
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 2), torch.randn(2, 2)])
    model = nn.GRU(2, 3, batch_first=True)
    sbs = StepByStep(model, nn.MSELoss(), SGD(model.parameters(), lr=0.1))
    sbs.set_loaders([(packed, torch.zeros(2, 1))])
    sbs.set_tensorboard("packed", folder=str(tmp_path))
    with pytest.raises(TrainingError, match="a PackedSequence in the batches"):
        sbs.add_graph()
    sbs.writer.close()
