"""What cells of the course's notebooks do with StepByStep: methods replaced on the class, attributes, figures.

The cells follow the chapters' patterns; each is checked against torch alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn, optim
from torch.nn.utils import rnn
from torch.utils.data import DataLoader, TensorDataset

from headstart import StepByStep

INLINE = "module://matplotlib_inline.backend_inline"


@pytest.fixture
def notebook() -> Iterator[None]:
    """The backend of a notebook; a cell's end is what the inline backend does then: show and close all figures."""
    pytest.importorskip("matplotlib_inline")
    before = dict.__getitem__(matplotlib.rcParams, "backend")
    plt.switch_backend(INLINE)
    yield
    plt.close("all")
    matplotlib.rcParams["backend"] = before if isinstance(before, str) else "agg"
    plt.switch_backend(matplotlib.rcParams["backend"])


@pytest.fixture
def course() -> type[StepByStep]:
    """A class of its own, whose methods the cells replace."""

    class Course(StepByStep):
        compat = "book"

    return Course


def images() -> DataLoader[Any]:
    torch.manual_seed(13)
    pixels = torch.rand(48, 3, 10, 10)
    return DataLoader(TensorDataset(pixels, (pixels.mean((1, 2, 3)) > 0.5).long()), 16, shuffle=True)


def convolutional() -> nn.Sequential:
    torch.manual_seed(17)
    layers = {"conv1": nn.Conv2d(3, 5, 3), "relu": nn.ReLU(), "flatten": nn.Flatten(), "fc": nn.Linear(320, 2)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


@pytest.mark.slow
def test_a_binary_classifier_that_ends_in_a_sigmoid(course: type[StepByStep]) -> None:
    loader = images()
    torch.manual_seed(11)
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 1), nn.Sigmoid())
    sbs = course(model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.01))
    floats = DataLoader(TensorDataset(loader.dataset.tensors[0], loader.dataset.tensors[1][:, None].float()), 16)
    sbs.set_loaders(floats, floats)
    sbs.train(20)
    answers = sbs.predict(floats.dataset.tensors[0]) >= 0.5
    right = (answers == floats.dataset.tensors[1].numpy()).sum()
    counts = course.loader_apply(sbs.val_loader, sbs.correct)
    assert counts[:, 0].sum() == right > 40


@pytest.mark.slow
@pytest.mark.usefixtures("notebook")
def test_filters_hooks_losses_and_the_range_test_are_drawn_and_shown(course: type[StepByStep], tmp_path: Path) -> None:
    loader, model = images(), convolutional()
    sbs = course(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    sbs.set_loaders(loader, loader)
    sbs.train(3)

    fig = sbs.plot_losses()
    assert plt.gcf() is fig
    plt.title("Losses")
    plt.savefig(tmp_path / "losses.png")
    assert fig.axes[0].get_title() == "Losses"
    assert fig.axes[0].lines[0].get_xdata().tolist() == [0, 1, 2]
    assert plt.imread(tmp_path / "losses.png").shape[:2] == (440, 1100)  # ten by four inches
    plt.close("all")

    fig_filters = sbs.visualize_filters("conv1", cmap="gray")
    assert plt.gcf() is fig_filters
    sbs.attach_hooks(layers_to_hook=["conv1", "fc"])
    x_batch, _y_batch = next(iter(loader))
    logits = sbs.predict(x_batch)
    sbs.remove_hooks()
    assert np.allclose(sbs.visualization["fc"], logits)
    fig_maps = sbs.visualize_outputs(["conv1", "fc"], n_images=4, y=_y_batch, yhat=logits.argmax(1))
    assert plt.gcf() is fig_maps
    assert len(plt.get_fignums()) == 2
    plt.close("all")

    fig, ax = plt.subplots(1, 1, figsize=(6, 4))
    tracking, drawn = sbs.lr_range_test(loader, end_lr=1.0, num_iter=12, ax=ax)
    assert drawn is fig
    assert plt.get_fignums() == [fig.number]
    assert len(tracking["lr"]) == len(tracking["loss"]) == 12


def test_schedulers_by_the_cells_own_methods(course: type[StepByStep]) -> None:
    def set_lr_scheduler(self: StepByStep, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.is_batch_lr_scheduler = isinstance(scheduler, (optim.lr_scheduler.CyclicLR, optim.lr_scheduler.OneCycleLR))

    def mini_batch_schedulers(self: StepByStep, frac_epoch: float) -> None:
        if self.scheduler and self.is_batch_lr_scheduler:
            self.scheduler.step()
            self.learning_rates.append([group["lr"] for group in self.optimizer.param_groups])

    course.set_lr_scheduler = set_lr_scheduler  # type: ignore[method-assign,assignment]
    course._mini_batch_schedulers = mini_batch_schedulers  # type: ignore[method-assign]
    loader, model = images(), convolutional()
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    sbs = course(model, nn.CrossEntropyLoss(), optimizer)
    sbs.set_loaders(loader)
    sbs.set_lr_scheduler(optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 4e-3, step_size_up=3))
    sbs.train(2)
    assert np.allclose(np.ravel(sbs.learning_rates), [2e-3, 3e-3, 4e-3, 3e-3, 2e-3, 1e-3])
    sbs.set_lr_scheduler(optim.lr_scheduler.StepLR(optimizer, 1, 0.5))
    sbs.train(1)
    assert np.allclose(sbs.learning_rates[-1], 5e-4)


def test_clipping_by_the_cells_own_methods(course: type[StepByStep]) -> None:
    def set_clip_grad_norm(self: StepByStep, max_norm: float) -> None:
        self.clipping = lambda: nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)

    def set_clip_backprop(self: StepByStep, clip_value: float) -> None:
        if self.clipping is None:
            self.clipping = []
        for parameter in self.model.parameters():
            self.clipping.append(parameter.register_hook(lambda grad: grad.clamp(-clip_value, clip_value)))

    def remove_clip(self: StepByStep) -> None:
        if isinstance(self.clipping, list):
            for handle in self.clipping:
                handle.remove()
        self.clipping = None

    def train_step(self: StepByStep) -> Any:
        def step(x: Tensor, y: Tensor) -> float:
            self.model.train()
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            if callable(self.clipping):
                self.clipping()
            self.optimizer.step()
            self.optimizer.zero_grad()
            return loss.item()

        return step

    course.set_clip_grad_norm = set_clip_grad_norm  # type: ignore[method-assign,assignment]
    course.set_clip_backprop = set_clip_backprop  # type: ignore[method-assign]
    course.remove_clip = remove_clip  # type: ignore[method-assign]
    course._make_train_step_fn = train_step  # type: ignore[method-assign]
    loader, model = images(), convolutional()
    sbs = course(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1.0))
    sbs.set_loaders(loader, loader)
    for set_clip, bound in ((sbs.set_clip_grad_norm, 1e-4), (sbs.set_clip_backprop, 1e-6)):
        before = model.fc.weight.detach().clone()
        set_clip(bound)
        sbs.train(1)
        sbs.remove_clip()
        assert 0 < (model.fc.weight - before).abs().max() <= 3.1 * bound  # three steps
    sbs.capture_gradients("fc")
    sbs.train(1)
    sbs.remove_hooks()
    assert np.array(sbs._gradients["fc"]["weight"]).shape == (3, 2, 320)


def test_sequences_of_several_lengths_are_packed_by_the_loader(course: type[StepByStep]) -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.classifier = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 1)

        def forward(self, x: rnn.PackedSequence) -> Tensor:
            _, (hidden, _) = self.rnn(x)
            return self.classifier(hidden[-1])

    torch.manual_seed(21)
    data = [(torch.randn(2 + i % 3, 2), torch.tensor([float(i % 2)])) for i in range(12)]

    def pack(items: Any) -> tuple[Any, Tensor]:
        return rnn.pack_sequence([x for x, _ in items], enforce_sorted=False), torch.stack([y for _, y in items])

    loader, model = DataLoader(data, 4, shuffle=True, collate_fn=pack), Square()
    sbs = course(model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.01))
    sbs.set_loaders(loader, loader)
    sbs.train(3)
    assert course.loader_apply(loader, sbs.correct)[:, 1].tolist() == [6, 6]


def test_a_model_is_evaluated_without_loss_and_optimizer_as_an_ensemble_of_features_is(
    course: type[StepByStep],
) -> None:
    loader, model = images(), convolutional()
    sbs = course(model, None, None)
    sbs.model = nn.Sequential(model, nn.Identity())
    counts = course.loader_apply(loader, sbs.correct)
    labels = loader.dataset.tensors[1]
    right = (model(loader.dataset.tensors[0]).argmax(1) == labels).sum()
    assert counts[:, 1].tolist() == torch.bincount(labels).tolist()
    assert counts[:, 0].sum() == right


def test_the_normalizer_of_the_class_has_the_books_numbers(course: type[StepByStep]) -> None:
    pixels = images().dataset.tensors[0]
    normalizer = course.make_normalizer(images())
    assert torch.allclose(normalizer.mean, pixels.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(normalizer.std, pixels.flatten(2).std(2).mean(0), atol=1e-6)


@pytest.mark.slow
def test_in_a_real_kernel_each_figure_is_shown_once(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    begin = """
import torch, matplotlib.pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from headstart import StepByStep
x, y = torch.randn(32, 1, 8, 8), torch.randint(3, (32,))
loader = DataLoader(TensorDataset(x, y), 16)
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
sbs = StepByStep(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
sbs.set_loaders(loader, loader)
sbs.train(2)"""
    cells = {
        begin: 0,
        "fig = sbs.plot_losses()": 1,
        "fig": 1,
        "sbs.plot_losses()": 1,
        "fig = sbs.plot_losses(); plt.show()": 1,
        "fig = sbs.visualize_filters('0', cmap='gray')": 1,
        "tracking, fig = sbs.lr_range_test(loader, 1.0, 12)": 1,
        "fig, ax = plt.subplots(); _ = sbs.lr_range_test(loader, 1.0, 12, ax=ax)": 1,
        "assert plt.get_fignums() == []": 0,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with contextlib.chdir(tmp_path) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in notebook.cells]
    assert shown == list(cells.values())
