"""FineTuner: one fine-tuning: network and head, what is frozen, the batches, the loop, the held-out images."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from headstart.backbones.cut_network import CutNetwork
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import TrainingError
from headstart.finetune.activations import Tail
from headstart.finetune.augmentation import centre, mixing, views
from headstart.finetune.averaging import Candidate, best_of, compare_flips, ema_of, wise_of
from headstart.finetune.network_with_head import HeadedNetwork, lay_out
from headstart.finetune.parameter_groups import batch_norms, parameter_groups
from headstart.finetune.result import FineTuneResult, HeldOut, Labels, Variant
from headstart.finetune.row_loader import Batch, RowLoader
from headstart.finetune.settings import BFLOAT16, PLAIN, FineTuneTask
from headstart.freezing import FreezePolicy, freeze, policy_of, thaw
from headstart.preserve import preserve
from headstart.training.batch import run_model, to_device
from headstart.training.meters import accuracy
from headstart.training.parallel_loop import ParallelLoop
from headstart.training.process_group import ProcessGroup
from headstart.training.stepbystep import StepByStep
from headstart.wording import counted

State = dict[str, Tensor]
Trained = HeadedNetwork | Tail
"""What is trained: the whole network on pixels, or what follows the cut on activations."""

EVALUATION_BATCH = 64
"""Images in a forward pass that needs no gradients."""
_CENTRED_ON = 128  # images: their mean is known to a tenth of what differs between images
_LEAST_WARM_UP = 10
_WARM_UP = 0.1  # of the steps, before the cosine


class FineTuner:
    """One fine-tuning of a backbone, in place; a strategy freezes, and runs it on the batches of its choice."""

    def __init__(self, task: FineTuneTask) -> None:
        self.task = task
        self.backbone, self.images, self.settings = task.backbone, task.images, task.settings
        head = task.head
        self.network = HeadedNetwork(task.backbone, head.stages, len(head.bias), unit=head.unit)
        # scores over the temperature are calibrated logits, which is what the loss expects
        self.network.take(replace(head, weight=head.weight / head.temperature, bias=head.bias / head.temperature))
        self.policy = FreezePolicy()
        self.group = task.group
        self.halvings = self.settings.halvings + (0 if task.checkpoints is None else task.checkpoints.halvings)

    @property
    def batch_size(self) -> int:
        """Images that go through the network at once."""
        return max(1, self.settings.batch_size >> self.halvings)

    def freeze(self, until: str | None) -> FreezePolicy:
        """Freeze what comes before a stage, and the batch norms of the rest unless their mode is `live`."""
        network = self.backbone.network
        if self.settings.batch_norm == "recalibrated":
            recalibrate_batch_norm(network, self.calibration_batches)
        thaw(network)
        policy = FreezePolicy() if until is None else freeze(self.backbone, until=until)
        if self.settings.batch_norm != "live":
            inside = [name for name in batch_norms(network) if not within(name, policy)]
            policy = FreezePolicy((*policy.modules, *inside), policy.partly)
        policy.apply(network)
        self.policy = policy_of(network)
        return self.policy

    def cut(self) -> CutNetwork:
        """The network cut at the frozen boundary.

        Raises:
            BackboneError: nothing lies before or after it.
        """
        policy = self.policy
        return CutNetwork(self.network.body, lambda path: not within(path, policy))

    def run(
        self,
        strategy: str,
        trained: Trained,
        *,
        train_batch: Batch,
        evaluation_batch: Batch,
        cached_seconds: float = 0.0,
    ) -> FineTuneResult:
        """Train, choose weights and views, fit the temperature; leaves the backbone in eval mode, all gradients off.

        Args:
            strategy: its name, for the result. trained: the module to train; the network, or what follows the cut.
            train_batch, evaluation_batch: give its input for training and for held-out images.
        """
        network = self.backbone.network
        before = self.policy.digests(network)
        self.centre_head(trained, train_batch)
        if self.group is not None:
            self.group.share(trained)
            self.network.step_scales = self.group.same(self.network.step_scales)
        trained.train()  # what is frozen stays in eval mode
        lay_out(trained, self.settings.form)
        start = {name: tensor.detach().clone() for name, tensor in trained.state_dict().items()}
        held = self.held_out(evaluation_batch)
        began = time.monotonic()
        with preserve():  # the loop seeds the global random numbers; the caller's are put back
            loop = self._train_within_memory(trained, train_batch, start)
        seconds = time.monotonic() - began
        candidates = self.candidates(loop, start)
        taken, averages, held_out = best_of(trained, candidates, lambda: self.measure(trained, held, loop.device))
        at_start = self._measured_with(start, trained, held=held, device=loop.device)
        trained.load_state_dict(taken)
        flip_tta, held_out = self._compare_flips(held_out, loop.device)
        changed = self.policy.changed(network, before)
        thaw(network)
        trained.cpu()
        lay_out(trained, PLAIN)
        network.eval().requires_grad_(False)
        flips = any(variant.taken for variant in flip_tta[1:])
        self.backbone.flip_tta = FlipTTA(self.backbone.widths, self.network.unit) if flips else None
        return FineTuneResult(
            strategy=strategy,
            head=self.network.to_head(held_out.temperature, flip_tta=flips),
            records=tuple(loop.records),
            frozen=self.policy,
            changed=changed,
            seconds=seconds,
            cached_seconds=cached_seconds,
            at_start=at_start,
            held_out=held_out,
            averages=averages,
            batch_size=self.batch_size,
            flip_tta=flip_tta,
        )

    def centre_head(self, trained: Trained, train_batch: Batch) -> None:
        """Centre the head on some training images, evenly chosen, and so find the size of its steps."""
        count = len(self.images.rows)
        chosen = np.unique(np.linspace(0, count - 1, min(count, _CENTRED_ON)).round().astype(np.int64))
        with preserve(trained, weights=False), torch.inference_mode():
            trained.eval()
            inputs = [train_batch(places, 0) for places in np.array_split(chosen, -(-len(chosen) // EVALUATION_BATCH))]
            found = [trained.features(*x) if isinstance(x, tuple) else trained.features(x) for x in inputs]
            features = torch.cat(found)
        self.network.centre(features.clone())  # no longer of inference mode

    def loop(self, trained: nn.Module, train_batch: Batch, *, scheduled: bool = True) -> StepByStep:
        """The loop over the training images, with its optimiser and, if `scheduled`, its schedule."""
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
        options: dict[str, Any] = {
            "metrics": {"accuracy": accuracy},
            "precision": "bf16" if settings.form == BFLOAT16 else "fp32",
            "accumulate": max(1, settings.batch_size // self.batch_size),
            "progress": False,
            "device": settings.device,
        }
        if self.group is None:
            loop = StepByStep(trained, loss_fn, optimizer, **options)
        else:
            live = settings.batch_norm == "live"
            loop = ParallelLoop(trained, loss_fn, optimizer, group=self.group, live=live, **options)
        loss_fn.to(loop.device)
        mix = mixing(settings.mix, classes)
        loader = RowLoader(train_batch, images.labels, self.batch_size, shuffle=True, mix=mix, group=self.group)
        loop.set_loaders(loader)
        steps = settings.epochs * math.ceil(len(loader) / loop.accumulate)
        if scheduled:
            loop.set_lr_scheduler(_schedule(settings.schedule, optimizer, steps), "batch")
        if settings.average == "ema":
            loop.set_averaging(1 - 1 / max(2.0, steps / 10))  # a window of a tenth of the steps
        return loop

    def held_out(self, batch: Batch) -> RowLoader:
        """Batches of the held-out images, in order; several processes share each."""
        return RowLoader(batch, self.images.validation_labels, EVALUATION_BATCH, shuffle=False, group=self.group)

    def measure(self, trained: nn.Module, held: RowLoader, device: torch.device | str = "cpu") -> HeldOut:
        """The held-out images, in eval mode, through the network that is trained."""
        if not len(held.labels):
            return HeldOut.of(torch.empty(0, self.network.head.out_features).double().numpy(), held.labels)
        with preserve(trained, weights=False), torch.inference_mode():
            trained.eval()
            found = [(run_model(trained, to_device(x, device)).float().cpu(), len(y)) for x, y in held]
            group = self.group
            if group is not None:  # own rows; one that only stands in is none
                found = [(group.gather(own[: len(group.own(range(n)))], n), n) for own, n in found]
            logits = torch.cat([scores for scores, _ in found])
        return HeldOut.of(logits.double().numpy(), held.labels, self.images.validation_groups)

    def random_views(self, positions: Labels, seed: int) -> Tensor:
        """Pixels of training images, a view of each drawn from (seed, image)."""
        places, preprocess = self.images.rows[positions], self.backbone.preprocess
        stored = self._stored(places)
        return self._normalised(views(stored, preprocess.crop, self.settings.augmentation, seed=seed, images=places))

    def evaluation_views(self, positions: Labels, seed: int) -> Tensor:
        """Centre crops of held-out images."""
        return self._centre(self.images.validation_rows[positions])

    def flipped_views(self, positions: Labels, seed: int) -> Tensor:
        """Centre crops of held-out images, flipped horizontally."""
        return self.evaluation_views(positions, seed).flip(-1)

    def candidates(self, loop: StepByStep, start: State) -> Iterator[Candidate]:
        """The last weights, then those that the settings want to try, if there are held-out images to compare them."""
        last = {name: tensor.detach().clone() for name, tensor in loop.model.state_dict().items()}
        yield Candidate("last", last)
        if not len(self.images.validation_rows):
            return
        if loop.averaged is not None:
            yield ema_of(loop.averaged)
        if self.settings.average == "wise":
            live = self.settings.batch_norm == "live"
            yield from wise_of(loop.model, start, last, self._estimate_statistics if live else None)

    def calibration_batches(self) -> Iterator[Tensor]:
        """Centre crops of all training images, on the network's device: for batch-norm statistics."""
        for begin in range(0, len(self.images.rows), EVALUATION_BATCH):
            yield self._centre(self.images.rows[begin : begin + EVALUATION_BATCH])

    def _train_within_memory(self, trained: nn.Module, train_batch: Batch, start: State) -> StepByStep:
        """Train; when memory runs out, start again with half the batch and twice the accumulation."""
        while True:
            loop = self.loop(trained, train_batch)
            try:
                self._train(loop)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error) or self.batch_size == 1:
                    raise
                if self.group is not None:  # the others wait in a step that does not come
                    raise TrainingError(
                        expected=f"memory for a batch of {self.batch_size} in {self.group.size} processes",
                        found="too little",
                        where="--processes",
                        hint="Use fewer --processes.",
                    ) from error
            else:
                return loop
            del loop
            self.halvings += 1
            self.task.report(
                f"Out of memory: training starts again with {counted(self.batch_size, 'image')} in a forward pass; "
                "the gradients of several passes are summed."
            )
            if self.task.checkpoints is not None:
                self.task.checkpoints.start_again()
            trained.load_state_dict(start)

    def _train(self, loop: StepByStep) -> None:
        checkpoints = self.task.checkpoints
        loop.set_seed(self.settings.seed)
        resumed = checkpoints is not None and checkpoints.load(loop)
        if self.group is not None:
            _share(loop, self.group)
        if checkpoints is not None and not resumed:
            checkpoints.save(loop)  # a run that is killed now is resumed from the same head and random numbers
        for record in loop.steps(self.settings.epochs - loop.total_epochs, seed=None):
            self.task.report(record)
            if checkpoints is not None:
                checkpoints.save_when_due(loop)

    def _measured_with(
        self, state: State, trained: nn.Module, *, held: RowLoader, device: torch.device | str
    ) -> HeldOut:
        trained.load_state_dict(state)
        return self.measure(trained, held, device)

    def _compare_flips(self, plain: HeldOut, device: torch.device | str) -> tuple[tuple[Variant, ...], HeldOut]:
        """Flips through the whole network, if they are wanted and can be compared; only plain images are cached."""
        if not self.settings.flip_tta:
            return (), plain
        if not plain.n:
            self.task.report("Flip TTA is not used: no image is held out to compare it on.")
            return (), plain
        flipped = self.measure(self.network, self.held_out(self.flipped_views), device)
        variants, held_out, sentence = compare_flips(plain, flipped)
        self.task.report(sentence)
        return variants, held_out

    def _estimate_statistics(self) -> None:
        # frozen layers keep their statistics: others would not fit the cached activations
        moving = [name for name in batch_norms(self.network.body) if not within(name, self.policy)]
        recalibrate_batch_norm(self.network.body, self.calibration_batches, names=moving)

    def _centre(self, places: Labels) -> Tensor:
        return self._normalised(centre(self._stored(places), self.backbone.preprocess.crop))

    def _normalised(self, pixels: Tensor) -> Tensor:
        """On the network's device, the CPU before the training and perhaps a GPU in it; bytes are quicker to send."""
        return self.backbone.preprocess.normalise(pixels.to(self.network.head.weight.device))

    def _stored(self, places: Labels) -> Tensor:
        return torch.from_numpy(self.images.pixels.read(places)[0])


def _share(loop: StepByStep, group: ProcessGroup) -> None:
    """Bring the loops of all processes to where that of the first one is."""
    state = io.BytesIO()
    if group.rank == 0:
        loop.save_checkpoint(state)
    state = io.BytesIO(group.same(state.getvalue()))
    if group.rank:
        loop.load_checkpoint(state)


def within(path: str, policy: FreezePolicy) -> bool:
    """Whether a policy freezes a module or a tensor."""
    return path in policy.tensors or any(path == name or path.startswith(f"{name}.") for name in policy.modules)


def _schedule(kind: str, optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if kind == "one-cycle":
        return lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(steps, 2))  # one step alone has no shape
    # at least ten steps, where there are thirty: Adam divides by gradients that it has hardly seen
    warm = max(1, round(_WARM_UP * steps), min(_LEAST_WARM_UP, steps // 3))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    return lr_scheduler.LambdaLR(optimizer, share)


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU's allocator says it in words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
