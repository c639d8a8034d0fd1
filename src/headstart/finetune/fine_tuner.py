"""Tuner: one fine-tuning: the network under its head, what is frozen, the batches, the loop, the held-out images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from headstart.backbones.backbone import Backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import TrainingError
from headstart.finetune.augmentation import centre, views
from headstart.finetune.averaging import Candidate, best_of, ema_of, wise_of, with_mirror
from headstart.finetune.mixing import mixing
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.parameter_groups import batch_norms, parameter_groups
from headstart.finetune.row_loader import Batch, RowLoader
from headstart.finetune.settings import Average, FineTuneImages, FineTuneResult, FineTuneSettings, HeldOut, Labels
from headstart.freezing import FreezePolicy, freeze, policy_of, thaw
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.training.batch import run_model, to_device
from headstart.training.checkpoints import Checkpoints
from headstart.training.meters import accuracy
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.stepbystep import StepByStep

Told = Callable[["StepRecord | EpochRecord | str"], None]
"""Told of each step and epoch, and in words of what the user did not ask for."""

_STILL_BATCH = 64
_WARM_UP = 0.1  # of the steps, before the cosine


class FineTuner:
    """One fine-tuning of a backbone, in place.

    Args:
        head: what the network's own head begins with.
        checkpoints: written on the way; where there are some, training goes on from them.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        images: FineTuneImages,
        settings: FineTuneSettings,
        told: Told,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.backbone, self.images, self.settings, self.told = backbone, images, settings, told
        self.checkpoints = checkpoints
        self.network = HeadedNetwork(backbone, head.stages, len(head.bias), unit=head.unit)
        # scores over the temperature are calibrated logits, which is what the loss takes them for
        self.network.take(replace(head, weight=head.weight / head.temperature, bias=head.bias / head.temperature))
        self.policy = FreezePolicy()
        self.halvings = settings.halvings + (0 if checkpoints is None else checkpoints.halvings)

    @property
    def batch_size(self) -> int:
        """Images that go through the network at once."""
        return max(1, self.settings.batch_size >> self.halvings)

    def freeze(self, until: str | None) -> FreezePolicy:
        """Freeze what lies before a stage, and the batch norms of the rest unless they are to live."""
        network = self.backbone.network
        if self.settings.batch_norm == "recalibrated":
            recalibrate_batch_norm(network, self._calibration)
        thaw(network)
        policy = FreezePolicy() if until is None else freeze(self.backbone, until=until)
        if self.settings.batch_norm != "live":
            inside = [name for name in batch_norms(network) if not within(name, policy)]
            policy = FreezePolicy((*policy.modules, *inside), policy.partly)
        policy.apply(network)
        self.policy = policy_of(network)
        return self.policy

    def run(
        self, strategy: str, trained: nn.Module, train_batch: Batch, still_batch: Batch, cached_seconds: float = 0.0
    ) -> FineTuneResult:
        """Train, choose weights and views, fit the temperature; leaves the backbone in eval mode, all gradients off."""
        network, images = self.backbone.network, self.images
        before = self.policy.digests(network)
        trained.train()  # what is frozen stays in eval mode
        start = {name: tensor.detach().clone() for name, tensor in trained.state_dict().items()}
        held = RowLoader(still_batch, images.validation_labels, _STILL_BATCH, shuffle=False)
        began = time.monotonic()
        with preserve():  # the loop seeds the global random numbers; the caller's are put back
            loop = self._train_within_memory(trained, train_batch, start)
        seconds = time.monotonic() - began
        candidates = self._candidates(loop, start)
        taken, averages, held_out = best_of(trained, candidates, lambda: self.measure(trained, held, loop.device))
        at_start = self._measured_with(start, trained, held, loop.device)
        trained.load_state_dict(taken)
        flip_tta, held_out = self._with_mirror(held_out, loop.device)
        changed = self.policy.changed(network, before)
        thaw(network)
        trained.cpu()
        network.eval().requires_grad_(False)
        both = any(one.taken for one in flip_tta[1:])
        self.backbone.flip_tta = FlipTTA(self.backbone.widths, self.network.unit) if both else None
        head, records = self.network.to_head(held_out.temperature, flip_tta=both), tuple(loop.records)
        return FineTuneResult(
            strategy,
            head,
            records,
            self.policy,
            changed,
            seconds,
            cached_seconds,
            at_start,
            held_out,
            averages,
            self.batch_size,
            flip_tta,
        )

    def loop(self, trained: nn.Module, train_batch: Batch, *, scheduled: bool = True) -> StepByStep:
        """The loop over the training images, with its optimiser and, unless it is not wanted, its schedule."""
        settings, images = self.settings, self.images
        groups = parameter_groups(
            self.network,
            self.backbone,
            settings.lr,
            stage_decay=settings.stage_decay,
            weight_decay=settings.weight_decay,
        )
        classes = self.network.head.out_features
        balance = None if images.class_weights is None else torch.tensor(images.class_weights, dtype=torch.float32)
        loss_fn = nn.CrossEntropyLoss(balance, label_smoothing=settings.label_smoothing)
        optimizer = torch.optim.AdamW(groups)
        loop = StepByStep(
            trained,
            loss_fn,
            optimizer,
            metrics={"accuracy": accuracy},
            accumulate=max(1, settings.batch_size // self.batch_size),
            progress=False,
            device=settings.device,
        )
        loss_fn.to(loop.device)
        mix = mixing(settings.mix, classes)
        loader = RowLoader(train_batch, images.labels, self.batch_size, shuffle=True, mix=mix)
        loop.set_loaders(loader)
        steps = settings.epochs * math.ceil(len(loader) / loop.accumulate)
        if scheduled:
            loop.set_lr_scheduler(_schedule(settings.schedule, optimizer, steps), "batch")
        if settings.average == "ema":
            loop.set_averaging(1 - 1 / max(2.0, steps / 10))  # a window of a tenth of the steps
        return loop

    def measure(self, trained: nn.Module, held: RowLoader, device: torch.device | str = "cpu") -> HeldOut:
        """The validation images, in eval mode, through the very network that is trained."""
        if not len(held.labels):
            return HeldOut.of(torch.empty(0, self.network.head.out_features).double().numpy(), held.labels)
        with preserve(trained, weights=False), torch.inference_mode():
            trained.eval()
            logits = torch.cat([run_model(trained, to_device(x, device)).float().cpu() for x, _ in held])
        return HeldOut.of(logits.double().numpy(), held.labels)

    def random_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of training images, a view of each drawn from (seed, image)."""
        places, preprocess = self.images.rows[positions], self.backbone.preprocess
        stored = self._stored(places)
        return preprocess.normalise(views(stored, preprocess.crop, self.settings.augmentation, seed, places))

    def still_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of validation images as they are."""
        return self._still(self.images.validation_rows[positions])

    def mirrored_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of the mirror images of validation images."""
        return self.still_views(positions, seed).flip(-1)

    def _train_within_memory(self, trained: nn.Module, train_batch: Batch, start: dict[str, Tensor]) -> StepByStep:
        """Train; when memory runs out, from the start again with half the batch and twice the accumulation."""
        while True:
            loop = self.loop(trained, train_batch)
            try:
                self._train(loop)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error) or self.batch_size == 1:
                    raise
            else:
                return loop
            del loop
            self.halvings += 1
            self.told(f"Memory ran out: {self.batch_size} images at once now, and the gradients of several are summed.")
            if self.checkpoints is not None:
                self.checkpoints.start_again()
            trained.load_state_dict(start)

    def _train(self, loop: StepByStep) -> None:
        kept = self.checkpoints
        loop.set_seed(self.settings.seed)
        if kept is not None and not kept.load(loop):
            kept.save(loop)  # the very start: whatever comes, it is resumed from the same head and the same chance
        for record in loop.steps(self.settings.epochs - loop.total_epochs, seed=None):
            self.told(record)
            if kept is not None:
                kept.save_when_due(loop)

    def _candidates(self, loop: StepByStep, start: dict[str, Tensor]) -> Iterator[Candidate]:
        """The last weights, then those that the settings want to have tried; nothing is tried without a judge."""
        last = {name: tensor.detach().clone() for name, tensor in loop.model.state_dict().items()}
        yield Candidate("last", last)
        if not len(self.images.validation_rows):
            return
        if loop.averaged is not None:
            yield ema_of(loop.averaged)
        if self.settings.average == "wise":
            yield from wise_of(loop.model, start, last, self._settle if self.settings.batch_norm == "live" else None)

    def _measured_with(
        self, state: dict[str, Tensor], trained: nn.Module, held: RowLoader, device: torch.device | str
    ) -> HeldOut:
        trained.load_state_dict(state)
        return self.measure(trained, held, device)

    def _with_mirror(self, plain: HeldOut, device: torch.device | str) -> tuple[tuple[Average, ...], HeldOut]:
        """Mirror images through the whole network, where wanted and judged; only plain ones are cached."""
        if not self.settings.flip_tta:
            return (), plain
        if not plain.n:
            self.told("Mirror images are not taken: no image is held out that could say whether they help.")
            return (), plain
        flipped = RowLoader(self.mirrored_views, self.images.validation_labels, _STILL_BATCH, shuffle=False)
        averages, answers, words = with_mirror(plain, self.measure(self.network, flipped, device))
        self.told(words)
        return averages, answers

    def _settle(self) -> None:
        # what is frozen keeps its statistics: others would not fit the cached activations
        moving = [name for name in batch_norms(self.network.body) if not within(name, self.policy)]
        recalibrate_batch_norm(self.network.body, self._calibration, names=moving)

    def _calibration(self) -> Iterator[Tensor]:
        for begin in range(0, len(self.images.rows), _STILL_BATCH):
            still = self._still(self.images.rows[begin : begin + _STILL_BATCH])
            yield still.to(self.network.head.weight.device)  # the CPU before the training, perhaps a GPU after it

    def _still(self, places: Labels) -> Tensor:
        return self.backbone.preprocess.normalise(centre(self._stored(places), self.backbone.preprocess.crop))

    def _stored(self, places: Labels) -> Tensor:
        return torch.from_numpy(self.images.pixels.read(places)[0])


def within(path: str, policy: FreezePolicy) -> bool:
    """Whether a module, or a tensor, is held by a policy."""
    return path in policy.tensors or any(path == name or path.startswith(f"{name}.") for name in policy.modules)


def _schedule(kind: str, optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if kind == "one-cycle":
        return lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(steps, 2))  # one step alone has no shape
    warm = max(1, round(_WARM_UP * steps))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    return lr_scheduler.LambdaLR(optimizer, share)


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU's allocator says it in words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def check_able(settings: FineTuneSettings, strategy: str) -> None:
    """Refuse what a strategy cannot do.

    Raises:
        TrainingError: `wise` without the probe's head at the start, or mixed pixels where activations are cached.
    """
    if settings.average == "wise" and strategy == "full":
        raise TrainingError(
            expected="a start that is worth something: last-stage or probe-then-full",
            found="full, whose head begins at zero",
            where="average wise",
            hint="Use --average ema, or --strategy probe-then-full.",
        )
    if settings.mix != "none" and strategy == "last-stage":
        raise TrainingError(
            expected="a strategy that sees pixels: full or probe-then-full",
            found="last-stage, which sees cached activations",
            where=f"mix {settings.mix}",
            hint="Leave --mix out, or use --strategy probe-then-full.",
        )
