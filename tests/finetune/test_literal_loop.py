"""A fine-tuning beside the same one as a loop of plain PyTorch: rates by stage, class weights, smoothing, sums."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fine_tune_set import STILL, backbone, make_head, make_images, task
from headstart.features.cache import FeatureCache
from headstart.finetune.row_loader import RowLoader
from headstart.finetune.settings import FineTuneImages, FineTuneSettings
from headstart.finetune.strategies import STRATEGIES
from headstart.heads.head import Head

STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",))
SETTINGS = dataclasses.replace(STILL, epochs=3, lr=3e-3, batch_size=12, label_smoothing=0.1, device="cpu")
WEIGHTS = (0.2, 1.5, 3.0)


class LiteralLoop:
    """Pixels, features, groups of parameters, loss and steps, written out for the CIFAR ResNet of these tests."""

    def __init__(self, strategy: str, images: FineTuneImages, head: Head, settings: FineTuneSettings) -> None:
        self.made, self.images, self.settings = backbone(), images, settings
        self.network = self.made.network
        first = 2 if strategy == "last-stage" else 0  # the stages before it are frozen
        self.maps: dict[str, Tensor] = {}
        for name in head.stages:
            stage = self.network.get_submodule(self.made.child_of(name))
            stage.register_forward_hook(lambda module, inputs, output, name=name: self.maps.update({name: output}))
        self.linear = nn.Linear(head.weight.shape[0], head.weight.shape[1])
        self.linear.weight.data.copy_(torch.from_numpy(head.weight.T / head.temperature) * (strategy != "full"))
        self.linear.bias.data.copy_(torch.from_numpy(head.bias / head.temperature) * (strategy != "full"))
        self._freeze(first, live=settings.batch_norm == "live")
        with torch.no_grad():
            x = self.features(self.pixels(images.rows)).double()
        scores = (x - x.mean(0)) @ self.linear.weight.detach().double().T
        self.mean = x.mean(0).float()
        self.linear.bias.data += (x.mean(0) @ self.linear.weight.detach().double().T).float()
        spread = float(scores.square().mean().sqrt()) or 1.0
        self.scales = (spread / float((x - x.mean(0)).abs().sum(1).mean()), spread)
        for module in self.modules(STAGES[first:]):
            module.train(settings.batch_norm == "live")

    def modules(self, stages: tuple[tuple[str, ...], ...]) -> list[nn.Module]:
        return [self.network.get_submodule(name) for names in stages for name in names]

    def _freeze(self, first: int, *, live: bool) -> None:
        self.network.eval().requires_grad_(True)
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in [*self.modules(STAGES[:first]), self.network.get_submodule("linear"), *([] if live else norms)]:
            module.requires_grad_(False)

    def pixels(self, rows: Any) -> Tensor:
        stored, preprocess = torch.from_numpy(self.images.pixels.read(rows)[0]), self.made.preprocess
        mean, deviation = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        return (stored / 255 - mean[:, None, None]) / deviation[:, None, None]

    def features(self, pixels: Tensor) -> Tensor:
        self.network(pixels)
        return torch.cat([F.normalize(maps.mean((2, 3)), dim=1) for maps in self.maps.values()], 1)

    def scores(self, rows: Any) -> Tensor:
        scores: Tensor = self.linear(self.features(self.pixels(rows)) - self.mean)
        return scores

    def groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for depth, names in enumerate(STAGES):
            trained = [p for module in self.modules((names,)) for p in module.parameters() if p.requires_grad]
            for decays in (True, False):
                own = [p for p in trained if (p.ndim > 1) == decays]
                if own:
                    size = math.sqrt(float(torch.cat([p.detach().flatten() for p in own]).double().square().mean()))
                    rate = self.settings.lr * self.settings.stage_decay ** (len(STAGES) - depth) * max(size, 1e-3)
                    found.append({"params": own, "lr": rate, "weight_decay": 0.01 if decays else 0.0})
        head = [(self.linear.weight, self.scales[0], 0.01), (self.linear.bias, self.scales[1], 0.0)]
        return found + [{"params": [p], "lr": self.settings.lr * s, "weight_decay": w} for p, s, w in head]

    def loss(self, scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        logs, share = scores.log_softmax(1), self.settings.label_smoothing
        of_label = -(logs.gather(1, labels[:, None])[:, 0] * weights[labels]).sum()
        of_all = -(logs * weights).sum() / len(weights)
        return ((1 - share) * of_label + share * of_all) / weights[labels].sum()

    def train(self, orders: list[Any], weights: Tensor) -> None:
        groups, size = self.groups(), self.settings.batch_size
        optimizer = torch.optim.AdamW(groups)
        rates = [group["lr"] for group in groups]
        steps = len(orders) * math.ceil(len(orders[0]) / size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
        for order in orders:
            for chosen in np.array_split(order, range(size, len(order), size)):
                optimizer.zero_grad()
                labels = torch.from_numpy(self.images.labels[chosen])
                self.loss(self.scores(self.images.rows[chosen]), labels, weights).backward()
                optimizer.step()
                schedule.step()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "probe-then-full", "last-stage"])
@pytest.mark.parametrize(("batch_norm", "halvings"), [("frozen", 0), ("frozen", 2), ("live", 0)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_fine_tuning_moves_the_weights_as_a_literal_loop_does(
    strategy: str,
    batch_norm: str,
    halvings: int,
    weights: tuple[float, ...] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = dataclasses.replace(make_images(tmp_path), class_weights=weights)
    head = make_head(images)
    settings = dataclasses.replace(SETTINGS, batch_norm=batch_norm, halvings=halvings)
    orders: list[Any] = []
    batches = RowLoader._batches

    def noted(loader: RowLoader, seed: int) -> Any:
        if loader.shuffle:
            orders.append(np.random.default_rng(seed).permutation(len(loader.labels)))
        return batches(loader, seed)

    monkeypatch.setattr(RowLoader, "_batches", noted)
    made, cache = backbone(), FeatureCache(tmp_path / "activations", 1e9)
    until = "stage2" if strategy == "last-stage" else ""
    tuned = STRATEGIES[strategy](task(made, head, images, settings, until=until, cache=cache))
    literal = LiteralLoop(strategy, images, head, settings)
    literal.train(orders, torch.tensor(weights or (1.0, 1.0, 1.0)))
    literal.network.eval()
    with torch.no_grad():
        expected = literal.scores(images.validation_rows).double().numpy()
    # Adam's first steps magnify rounding where gradients are near zero: single weights differ, their direction does not
    assert np.abs(tuned.held_out.scores - expected).max() < 0.01
    moved, wanted = _moved(made.network), _moved(literal.network)
    assert float(F.cosine_similarity(moved, wanted, 0)) > 0.998
    assert float(moved.norm() / wanted.norm()) == pytest.approx(1, abs=0.002)


def _moved(network: nn.Module) -> Tensor:
    start = backbone().network
    pairs = zip(network.parameters(), start.parameters(), strict=True)
    return torch.cat([(now.detach() - before.detach()).flatten() for now, before in pairs])
