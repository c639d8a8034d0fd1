"""LoopState: everything that changes during training, moved between devices, written to disk and read back."""

from __future__ import annotations

import inspect
import numbers
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from headstart import runtime
from headstart.errors import TrainingError, first_line, kind_and_line
from headstart.freezing import FreezePolicy, policy_of
from headstart.preserve import RandomState, keep_module
from headstart.training.batch import Loss
from headstart.training.best import BestModel
from headstart.training.checkpoint import (
    EXTRA,
    VERSION,
    File,
    check_fits,
    check_optimizer,
    place_of,
    read_checkpoint,
    unfit,
    write_checkpoint,
)
from headstart.training.clipping import Clipping, check_clipping, remove_clipping
from headstart.training.loaders import generators_of
from headstart.training.meters import Mean, Metric
from headstart.training.records import EpochRecord
from headstart.training.schedule import PER_BATCH, Schedule
from headstart.training.wrappers import own_names, renamed

BOOK = "book"
"""The value of `compat` for the book's arithmetic."""

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Position:
    """Where an epoch stands, so that an interrupted one is finished and not started again.

    Args:
        start: state of the random numbers before the loader drew its order.
        batches: done. loss: over them. means: of the metrics over them. seconds: spent.
        now: state of the random numbers where the epoch was left; None while it runs.
    """

    start: RandomState
    loss: Mean
    means: dict[str, Mean] = field(default_factory=dict)
    batches: int = 0
    seconds: float = 0.0
    now: RandomState | None = None

    def to_state(self, now: RandomState) -> dict[str, Any]:
        """Plain values for a checkpoint; `now` stands for the random numbers of an epoch that runs."""
        return {
            "start": vars(self.start),
            "now": vars(self.now or now),
            "batches": self.batches,
            "seconds": self.seconds,
            "loss": asdict(self.loss),
            "means": {name: asdict(mean) for name, mean in self.means.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Position:
        """The position that `to_state` described."""
        return cls(
            start=RandomState(**state["start"]),
            loss=Mean(**state["loss"]),
            means={name: Mean(**mean) for name, mean in state["means"].items()},
            batches=state["batches"],
            seconds=state["seconds"],
            now=RandomState(**state["now"]),
        )


class LoopState:
    """A model, a loss, an optimiser, and everything that training changes or records.

    Its attributes may be assigned, as the book's readers do: `model`, `loss_fn`, `optimizer`, `scheduler`, `clipping`.

    Attributes:
        is_batch_lr_scheduler: whether the scheduler steps after batches; set with it, by its kind.
        compat: of the class, the default of its objects: `StepByStep.compat = "book"` at the top of a notebook.
    """

    compat = "fixed"

    def __init__(  # the book's three arguments, and one option for each way in which a loop trains differently
        self,
        model: nn.Module,
        loss_fn: Loss | None,
        optimizer: Optimizer | None,
        *,
        metrics: Mapping[str, Metric] | None = None,
        precision: str = "fp32",  # the same numbers on every machine; half precision is for a GPU
        accumulate: int = 1,
        compat: str | None = None,
        progress: bool | None = None,
        device: str = "auto",
    ) -> None:
        self.compat = compat or type(self).compat
        _check_parts(model, loss_fn, optimizer, metrics)
        _check_weights(model, trained=optimizer is not None)
        _check_options(precision, accumulate, self.compat, progress)
        self._scheduler: LRScheduler | None = None
        self._clipping: Clipping = None
        self.is_batch_lr_scheduler = False
        self.model = model
        self.loss_fn: Any = loss_fn  # a Loss, or None where the model is only evaluated
        self.optimizer = optimizer
        self.book = self.compat == BOOK
        self.metrics = dict(metrics or {})
        self.amp, self.accumulate, self.progress = PRECISIONS[precision], accumulate, progress
        self.train_loader: Any = None
        self.val_loader: Any = None
        self.writer: Any = None
        self.losses: list[float] = []
        self.val_losses: list[float | None] = []
        self.learning_rates: list[list[float]] = []
        self.records: list[EpochRecord] = []
        self.total_epochs = 0
        self.best: BestModel | None = None
        self.averaged: AveragedModel | None = None
        self.device: Any = "cpu"
        self.to(runtime.choose_device(device))
        self.scaler = torch.amp.GradScaler(torch.device(self.device).type, enabled=precision == "fp16")
        self._position: Position | None = None
        self._random: RandomState | None = None  # from a checkpoint, until training goes on
        self._seeded = False
        self._prepare()

    def _prepare(self) -> None:
        """Set up what subclasses add."""

    @property
    def optimizer(self) -> Any:
        """Of the model's parameters; None: the model is only evaluated."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer | None) -> None:
        """Take another one; a scheduler of the old one is dropped with a warning."""
        self._optimizer = optimizer
        if getattr(self._scheduler, "optimizer", optimizer) is not optimizer:
            name = type(self._scheduler).__name__
            warnings.warn(f"{name} moved the old optimizer's rates and is dropped; set another", stacklevel=3)
            self.scheduler = None

    @property
    def scheduler(self) -> LRScheduler | None:
        """Of the learning rate; one that is assigned steps after batches if it is made for that, else after epochs."""
        return self._scheduler

    @scheduler.setter
    def scheduler(self, scheduler: LRScheduler | None) -> None:
        """Take another one, and when it steps from its kind."""
        self._scheduler = scheduler
        self.is_batch_lr_scheduler = isinstance(scheduler, PER_BATCH)

    @property
    def clipping(self) -> Clipping:
        """Of the gradients: None, a function without arguments that clips them, or a list of handles of hooks."""
        return self._clipping

    @clipping.setter
    def clipping(self, clipping: Clipping) -> None:
        """Take another one; the hooks of the old one are removed."""
        check_clipping(clipping)
        if clipping is not self._clipping:
            remove_clipping(self._clipping)
        self._clipping = clipping

    @property
    def _schedule(self) -> Schedule | None:
        if self.scheduler is None:
            return None
        return Schedule(self.scheduler, "batch" if self.is_batch_lr_scheduler else "epoch")

    def to(self, device: Any) -> None:
        """Move the model and the optimiser's state to a device.

        Raises:
            TrainingError: this machine has no such device; nothing was moved.
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            found = f"{device!r}: {first_line(error)}"
            raise TrainingError(
                expected="a device of this machine", found=found, where="to", hint="Use 'cpu'."
            ) from error
        self.device = device
        self.model.to(device)
        if self.averaged is not None:
            self.averaged.to(device)
        for values in () if self.optimizer is None else self.optimizer.state.values():
            for name, value in values.items():
                if isinstance(value, torch.Tensor) and name != "step":  # torch keeps its step counters on the CPU
                    values[name] = value.to(device)

    def needed_optimizer(self, where: str) -> Optimizer:
        """The optimiser, for what cannot do without.

        Raises:
            TrainingError: there is none: this loop evaluates only; or its step computes the loss several times.
        """
        if self._optimizer is None:
            raise TrainingError(
                expected="an optimizer", found="None", where=where, hint="Call set_optimizer(optimizer) first."
            )
        closure = inspect.signature(self._optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:  # LBFGS
            raise TrainingError(
                expected="an optimizer that takes one gradient for a step",
                found=f"{type(self._optimizer).__name__}, whose step needs a closure",
                where=where,
                hint="Take SGD or AdamW; for this one write the loop yourself.",
            )
        return self._optimizer

    def needed_loss(self, where: str) -> Loss:
        """The loss, for what cannot do without.

        Raises:
            TrainingError: there is none: this loop evaluates only.
        """
        if self.loss_fn is None:
            raise TrainingError(expected="a loss", found="None", where=where, hint="Assign one to loss_fn first.")
        loss_fn: Loss = self.loss_fn
        return loss_fn

    def set_seed(self, seed: int = 42) -> None:
        """Seed torch, numpy, Python and the generators of the training loader.

        Raises:
            TrainingError: it is no whole number that all of them take.
        """
        given: object = seed  # of a notebook, which no type checker has seen
        if isinstance(given, bool) or not isinstance(given, numbers.Integral) or not -(2**63) <= int(given) < 2**64:
            raise TrainingError(expected="a whole number of 64 bits as seed", found=repr(given), where="set_seed")
        seed = int(given)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        for generator in generators_of(self.train_loader):
            generator.manual_seed(seed)
        if self._position is None:
            self._random = None  # of a checkpoint: this seed was asked for after it was loaded

    def save_checkpoint(self, filename: str | File) -> None:
        """Write everything, also in the middle of an epoch; the book's loader can read its own keys.

        Args:
            filename: a path, or a file that is open for writing bytes.

        Raises:
            TrainingError: the file cannot be written; one that was there is untouched.
        """
        values = {
            "epoch": self.total_epochs,
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": {} if self.optimizer is None else self.optimizer.state_dict(),
            "loss": list(self.losses),
            "val_loss": list(self.val_losses),
            EXTRA: self._own_state(),
        }
        write_checkpoint(Path(filename) if isinstance(filename, (str, PathLike)) else filename, values)

    def load_checkpoint(self, filename: str | File) -> None:
        """Load a checkpoint, the book's or ours, without running code from it; ends in train mode.

        Random numbers are restored when training goes on without a seed, so that draws in between do not matter. A
        network may be wrapped (`torch.compile`, DataParallel) where that of the checkpoint was not, and the other way
        round. Without an optimiser only the model and the history are loaded.

        Args:
            filename: a path, or a file that is open for reading bytes, at its beginning.

        Raises:
            TrainingError: the file is damaged, holds more than plain values, or is of another model; nothing changed.
        """
        file = Path(filename) if isinstance(filename, (str, PathLike)) else filename
        values = read_checkpoint(file)
        state = renamed(values["model_state_dict"], self.model.state_dict())
        check_fits(self.model, state, file)
        with self._kept_on_error(file):
            self._load(values, state, file)

    @contextmanager
    def _kept_on_error(self, file: File) -> Iterator[None]:
        """Put everything back where a checkpoint turns out to be damaged when half of it is loaded.

        Raises:
            TrainingError: for whatever was raised inside.
        """
        movable = (self._scheduler, self._optimizer, self.scaler)
        own, others = dict(vars(self)), [(one, dict(vars(one))) for one in movable if one is not None]
        undo = [keep_module(one) for one in (self.model, self.averaged) if one is not None]
        try:
            yield
        except Exception as error:  # whatever a damaged value leads to
            vars(self).update(own)
            for one, values in others:
                vars(one).update(values)
            for restore in undo:
                restore()
            if isinstance(error, TrainingError):
                raise
            found = kind_and_line(error)
            raise unfit("a checkpoint whose values make sense", found, file) from error

    def _load(self, values: dict[str, Any], state: Mapping[str, torch.Tensor], file: File) -> None:
        """Bring everything to what a checkpoint says."""
        if self.optimizer is not None:
            _load_optimizer(self.optimizer, values["optimizer_state_dict"], file)
        self.model.load_state_dict(state)
        self.total_epochs = int(values["epoch"])
        self.losses = [float(loss) for loss in values["loss"]]
        self.val_losses = [None if loss is None else float(loss) for loss in values["val_loss"]]
        self._position = self._random = None
        if EXTRA in values:
            self._load_own_state(values[EXTRA])
        self.train_mode()

    def train_mode(self) -> None:
        """Put the model into train mode, except layers that were put into eval mode by hand while the model trained."""
        resting = [layer for layer in self.model.modules() if not layer.training]
        keep = self.model.training and not self.book
        self.model.train()
        for layer in resting if keep else []:
            layer.training = False

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        if self.amp is None:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=self.amp)

    def _reproducible(self) -> AbstractContextManager[Any]:
        """The same kernels in every run; cuDNN's flags are restored, so that other code keeps its own."""
        if torch.device(self.device).type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)

    def _own_state(self) -> dict[str, Any]:
        now = RandomState.now(generators_of(self.train_loader, self.val_loader))
        return {
            "version": VERSION,
            "learning_rates": list(self.learning_rates),
            "records": [asdict(record) for record in self.records],
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": None if self.best is None else self.best.to_state(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "frozen": policy_of(self.model).to_dict(),
            "random": vars(now),
            "position": None if self._position is None else self._position.to_state(now),
            "seeded": self._seeded,
        }

    def _load_own_state(self, state: dict[str, Any]) -> None:
        self.learning_rates = [list(rates) for rates in state["learning_rates"]]
        self.records = [EpochRecord(**record) for record in state["records"]]
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
            vars(self.optimizer)["_opt_called"] = (
                True  # it was, before: torch would warn of a scheduler that comes first
            )
        elif state["scheduler"] is not None and self.optimizer is not None:
            warnings.warn(
                "the checkpoint holds a scheduler's state: set_lr_scheduler() before loading it", stacklevel=3
            )
        self.scaler.load_state_dict(state["scaler"])
        self.best = None if state["best"] is None else BestModel(**state["best"])
        if self.averaged is not None and state.get("averaged") is not None:
            self.averaged.load_state_dict(renamed(state["averaged"], self.averaged.state_dict()))
        _own_policy(state["frozen"], self.model).apply(self.model)
        self._random = RandomState(**state["random"])
        self._position = None if state["position"] is None else Position.from_state(state["position"])
        self._seeded = state["seeded"]


def _own_policy(frozen: Mapping[str, Any], model: nn.Module) -> FreezePolicy:
    """A policy from a checkpoint under the names of this model."""
    modules, tensors = [name for name, _ in model.named_modules()], list(model.state_dict())
    return FreezePolicy(
        modules=own_names(frozen["modules"], modules),
        partly=own_names(frozen["partly"], modules),
        tensors=own_names(frozen["tensors"], tensors),
    )


def _load_optimizer(optimizer: Optimizer, state: dict[str, Any], file: File) -> None:
    before = dict(vars(optimizer))  # loading replaces groups and state
    try:
        optimizer.load_state_dict(state)
        _ = [group[name] for group in optimizer.param_groups for name in optimizer.defaults]  # all that it reads
        check_optimizer(optimizer, file)
    except TrainingError:
        vars(optimizer).update(before)
        raise
    except (ValueError, KeyError) as error:
        vars(optimizer).update(before)
        raise TrainingError(
            expected="the state of this optimizer",
            found=f"one without {error}" if isinstance(error, KeyError) else str(error),
            where=place_of(file),
            hint="Build the same optimizer.",
        ) from error


def _check_parts(
    model: object, loss_fn: object, optimizer: object, metrics: object
) -> None:  # four: the parts of a loop, as a notebook gives them
    """Refuse what would fail, or be left out, in the first epoch."""
    wrong = (
        (isinstance(model, nn.Module), "a network (nn.Module) as model", model),
        (loss_fn is None or (callable(loss_fn) and not isinstance(loss_fn, type)), "a function as loss_fn", loss_fn),
        (optimizer is None or isinstance(optimizer, Optimizer), "an optimizer or None", optimizer),
        (metrics is None or isinstance(metrics, Mapping), "a mapping of names to functions as metrics", metrics),
    )
    found = [(expected, one) for fits, expected, one in wrong if not fits]
    for name, one in metrics.items() if isinstance(metrics, Mapping) else ():
        if not callable(one) and not hasattr(one, "update"):  # torchmetrics' have that
            found.append((f"a function as the metric {name!r}", one))
    for expected, one in found:
        raise TrainingError(
            expected=expected,
            found=f"{one!r:.60}" if not isinstance(one, type) else f"the class {one.__name__}, not an object of it",
            where="StepByStep",
            hint="StepByStep(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())).",
        )


def _check_weights(model: nn.Module, *, trained: bool) -> None:
    """Refuse weights that cannot be computed with, or not changed."""
    tensors = [one for one in (*model.parameters(), *model.buffers()) if not is_lazy(one)]
    for wrong, found, hint in (
        (any(one.is_meta for one in tensors), "on the device meta, without numbers", "model.to_empty(device='cpu')"),
        (trained and any(one.is_inference() for one in tensors), "made under torch.inference_mode", ""),
    ):
        if wrong:
            raise TrainingError(
                expected="a model with weights that can be trained" if trained else "a model with weights",
                found=f"some {found}",
                where="StepByStep",
                hint=f"Load its weights after {hint}." if hint else "Build the model outside of it.",
            )


def _check_options(  # four: the options of the loop
    precision: str, accumulate: int, compat: str, progress: object
) -> None:
    if progress is not None and not isinstance(progress, bool):
        raise TrainingError(expected="progress as True, False or None", found=repr(progress), where="StepByStep")
    if precision not in PRECISIONS:
        raise TrainingError(expected=f"precision {', '.join(PRECISIONS)}", found=repr(precision), where="StepByStep")
    if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
        raise TrainingError(expected="accumulate of at least 1 batch", found=repr(accumulate), where="StepByStep")
    if compat not in ("fixed", BOOK):
        raise TrainingError(expected="compat 'fixed' or 'book'", found=repr(compat), where="StepByStep")
