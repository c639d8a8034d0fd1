"""Fine-tuning: strategies over the one loop, each a function.

In: a backbone, prepared images on disk, the probe's head. Out: FineTuned; the backbone's weights are changed in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.cut_network import CutNetwork
from headstart.backbones.recalibrate import recalibrate
from headstart.classifier.classifier import Head
from headstart.evaluation.calibration import fit_temperature
from headstart.features.cache import FeatureCache
from headstart.freezing import FreezePolicy, freeze, policy_of, thaw
from headstart.preserve import preserve
from headstart.training.activations import Activations, Tail
from headstart.training.augment import centre, views
from headstart.training.batch import run_model, to_device
from headstart.training.checkpoints import Checkpoints
from headstart.training.headed_network import HeadedNetwork
from headstart.training.meters import accuracy
from headstart.training.parameter_groups import batch_norms, parameter_groups
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.row_loader import Batch, RowLoader
from headstart.training.stepbystep import StepByStep
from headstart.training.tuning import FineTuned, HeldOut, Labels, TuningImages, TuningSettings

Told = Callable[["StepRecord | EpochRecord"], None]
Progress = Callable[[int, int], None]


def last_stage(
    backbone: Backbone,
    head: Head,
    images: TuningImages,
    settings: TuningSettings,
    told: Told,
    *,
    until: str,
    cache: FeatureCache,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> FineTuned:
    """Everything before a stage is frozen and its output cached once; only what follows is run and trained.

    Args:
        until: the first stage, or module, that trains.
        progress: called with (activations done, activations to do).
        checkpoints: written on the way; where there are some, training goes on from them.

    Raises:
        BackboneError: there is no such stage, or nothing lies before or after it.
    """
    tuning = _Tuning(backbone, head, images, settings, told, checkpoints)
    policy = tuning.freeze(until)
    began = time.monotonic()
    cut = CutNetwork(tuning.network.body, lambda path: not _within(path, policy))
    kept = Activations(backbone, cut, images, settings, cache, until, progress)
    seconds = time.monotonic() - began
    return tuning.run("last-stage", Tail(cut, tuning.network), kept.random_view, kept.still_view, seconds)


def full(
    backbone: Backbone,
    head: Head,
    images: TuningImages,
    settings: TuningSettings,
    told: Told,
    *,
    checkpoints: Checkpoints | None = None,
) -> FineTuned:
    """All stages, under a head that begins at zero; of the given head only its stages and its scaling count."""
    empty = replace(head, weight=np.zeros_like(head.weight), bias=np.zeros_like(head.bias), temperature=1.0)
    tuning = _Tuning(backbone, empty, images, settings, told, checkpoints)
    tuning.freeze(None)
    return tuning.run("full", tuning.network, tuning.random_views, tuning.still_views)


def probe_then_full(
    backbone: Backbone,
    head: Head,
    images: TuningImages,
    settings: TuningSettings,
    told: Told,
    *,
    checkpoints: Checkpoints | None = None,
) -> FineTuned:
    """All stages, from the solved head: the first answers are the probe's.

    Source: Kumar et al. 2022, arXiv:2202.10054 (LP-FT).
    """
    tuning = _Tuning(backbone, head, images, settings, told, checkpoints)
    tuning.freeze(None)
    return tuning.run("probe-then-full", tuning.network, tuning.random_views, tuning.still_views)


class _Tuning:
    """One fine-tuning: the network, what is frozen in it, its batches and its loop."""

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        images: TuningImages,
        settings: TuningSettings,
        told: Told,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.backbone, self.images, self.settings, self.told = backbone, images, settings, told
        self.checkpoints = checkpoints
        self.network = HeadedNetwork(backbone, head.stages, len(head.bias), unit=head.unit)
        # scores over the temperature are calibrated logits, which is what the loss takes them for
        self.network.take(replace(head, weight=head.weight / head.temperature, bias=head.bias / head.temperature))
        self.policy = FreezePolicy()

    def freeze(self, until: str | None) -> FreezePolicy:
        """Freeze what lies before a stage, and the batch norms of the rest unless they are to live."""
        network = self.backbone.network
        if self.settings.batch_norm == "recalibrated":
            recalibrate(network, self._calibration)
        thaw(network)
        policy = FreezePolicy() if until is None else freeze(self.backbone, until=until)
        if self.settings.batch_norm != "live":
            inside = [name for name in batch_norms(network) if not _within(name, policy)]
            policy = FreezePolicy((*policy.modules, *inside), policy.partly)
        policy.apply(network)
        self.policy = policy_of(network)
        return self.policy

    def run(
        self, strategy: str, trained: nn.Module, train_batch: Batch, still_batch: Batch, cached_seconds: float = 0.0
    ) -> FineTuned:
        """Train, fit the temperature, and leave the backbone in eval mode with all gradients off."""
        network, images = self.backbone.network, self.images
        before = self.policy.digests(network)
        trained.train()  # what is frozen stays in eval mode
        loop = self._loop(trained, RowLoader(train_batch, images.labels, self.settings.batch_size, shuffle=True))
        held = RowLoader(still_batch, images.validation_labels, 64, shuffle=False)
        at_start, began = self._measure(loop, held), time.monotonic()
        with preserve():  # the loop seeds the global random numbers; the caller's are put back
            self._train(loop)
        seconds, held_out = time.monotonic() - began, self._measure(loop, held)
        changed = self.policy.changed(network, before)
        thaw(network)
        network.eval().requires_grad_(False)
        head, records = self.network.to_head(held_out.temperature), tuple(loop.records)
        return FineTuned(strategy, head, records, self.policy, changed, seconds, cached_seconds, at_start, held_out)

    def _train(self, loop: StepByStep) -> None:
        kept = self.checkpoints
        loop.set_seed(self.settings.seed)
        if kept is not None and not kept.load(loop):
            kept.save(loop)  # the very start: whatever comes, it is resumed from the same head and the same chance
        for record in loop.steps(self.settings.epochs - loop.total_epochs, seed=None):
            self.told(record)
            if kept is not None:
                kept.save_when_due(loop)

    def random_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of training images, a view of each drawn from (seed, image)."""
        places, preprocess = self.images.rows[positions], self.backbone.preprocess
        stored = self._stored(places)
        return preprocess.normalise(views(stored, preprocess.crop, self.settings.augmentation, seed, places))

    def still_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of validation images as they are."""
        return self._still(self.images.validation_rows[positions])

    def _calibration(self) -> Iterator[Tensor]:
        for begin in range(0, len(self.images.rows), 64):
            yield self._still(self.images.rows[begin : begin + 64])

    def _still(self, places: Labels) -> Tensor:
        preprocess = self.backbone.preprocess
        return preprocess.normalise(centre(self._stored(places), preprocess.crop))

    def _stored(self, places: Labels) -> Tensor:
        return torch.from_numpy(self.images.pixels.read(places)[0])

    def _loop(self, trained: nn.Module, loader: RowLoader) -> StepByStep:
        settings, weights = self.settings, self.images.class_weights
        groups = parameter_groups(
            self.network,
            self.backbone,
            settings.lr,
            stage_decay=settings.stage_decay,
            weight_decay=settings.weight_decay,
        )
        balance = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        loss_fn = nn.CrossEntropyLoss(balance, label_smoothing=settings.label_smoothing)
        optimizer = torch.optim.AdamW(groups)
        loop = StepByStep(trained, loss_fn, optimizer, metrics={"accuracy": accuracy}, progress=False)
        loop.set_loaders(loader)
        steps = max(settings.epochs * len(loader), 2)  # a cycle of a single step has no shape
        rates = [float(group["lr"]) for group in groups]
        loop.set_lr_scheduler(torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps))
        return loop

    def _measure(self, loop: StepByStep, held: RowLoader) -> HeldOut:
        """The validation images, in eval mode, through the very network that is trained."""
        if not len(held.labels):
            return HeldOut(float("nan"), 1.0, 0)
        with preserve(loop.model, weights=False), torch.inference_mode():
            loop.model.eval()
            logits = torch.cat([run_model(loop.model, to_device(x, loop.device)).float().cpu() for x, _ in held])
        scores = logits.double().numpy()
        right = float((scores.argmax(1) == held.labels).mean())
        return HeldOut(right, fit_temperature(scores, held.labels).value, len(held.labels))


def _within(path: str, policy: FreezePolicy) -> bool:
    return path in policy.tensors or any(path == name or path.startswith(f"{name}.") for name in policy.modules)
