"""The part of `train` after the probe: the plan made on this machine, one strategy, and whether it is kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from headstart.backbones.backbone import Backbone, Provenance
from headstart.data.dataset import Dataset
from headstart.evaluation.intervals import Interval
from headstart.finetune.auto import boundary_of, epochs_of, plan_fine_tuning, settings_of, start_of
from headstart.finetune.plan import FineTunePlan
from headstart.finetune.result import FineTuneResult
from headstart.finetune.settings import FineTuneTask
from headstart.finetune.strategies import STRATEGIES
from headstart.heads.head import Head
from headstart.progress import ProgressReporter
from headstart.recipe import Recipe
from headstart.training.records import EpochRecord, StepRecord
from headstart.wording import counted, duration
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_images
from headstart.workbench.job import Job
from headstart.workbench.session import Session


@dataclass(frozen=True)
class FineTuneOutcome:
    """What came of a fine-tuning.

    Args:
        fine_tuned: None where the network stays as it was. plan: made before the first step.
        seconds: it took, beside what was predicted. gain: of `auto`, what it was kept or dropped for.
    """

    fine_tuned: FineTuneResult | None
    plan: FineTunePlan
    seconds: float = 0.0
    gain: Interval | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        own = {} if self.fine_tuned is None else self.fine_tuned.to_dict()
        gain = None if self.gain is None else self.gain.to_dict()
        return {**own, "plan": self.plan.to_dict(), "total_seconds": self.seconds, "gain": gain}


def fine_tune_plan(backbone: Backbone, recipe: Recipe, rows: FineTuneRows) -> dict[str, str]:
    """What the plan says of a fine-tuning, in place of what it says of the probe."""
    norms = "" if recipe.batch_norm == "live" else f"; batch norm {recipe.batch_norm}"
    held = {"held out": f"{rows.about}, for the temperature"}
    if recipe.strategy == "auto":
        text = f"auto: what a short pilot finds best, within {duration(recipe.seconds)}"
        return {"strategy": text, "frozen": "decided after the pilot" + norms} | held
    epochs = epochs_of(recipe, len(rows.train))
    until = boundary_of(recipe, backbone) if recipe.strategy == "last-stage" else ""
    rate = f"learning rate {recipe.lr:g}" if recipe.lr else "learning rate from a range test"
    return {
        "strategy": f"{recipe.strategy}, {epochs} epochs on {len(rows.train):,} images, {rate}",
        "frozen": (f"everything before {until}, its output cached" if until else "no stage") + norms,
    } | held


def fine_tune(
    session: Session, backbone: Backbone, head: Head, dataset: Dataset, *, rows: FineTuneRows, job: Job
) -> FineTuneOutcome:  # positional: what is trained, in the order it is used
    """Fine-tune the backbone, in place, by the recipe's strategy; with `auto` it may come back as it was.

    Args:
        head: to start with. rows: images that are trained on and held out.

    Raises:
        BackboneError: there is no such boundary. TrainingError: the strategy cannot do what the recipe asks for.
        RunError: the disk is full.
    """
    recipe = session.recipe
    images = fine_tune_images(session, backbone, dataset, rows=rows)
    task = FineTuneTask(
        backbone=backbone,
        head=head,
        images=images,
        settings=settings_of(recipe, len(rows.train)),
        until=boundary_of(recipe, backbone) if recipe.strategy in ("last-stage", "auto") else "",
        cache=session.cache,
        report=lambda sentence: session.notice(str(sentence)),
        progress=session.progress("cache activations", unit="views"),
    )
    plan = job.recall() or plan_fine_tuning(task, recipe)
    job.note(plan)
    if plan.strategy == "probe":
        return FineTuneOutcome(None, plan)
    given, began = {name: tensor.clone() for name, tensor in backbone.state().items()}, time.monotonic()
    settings = replace(task.settings, epochs=plan.epochs, lr=plan.lr, halvings=plan.halvings)
    report = StepReporter(session, settings.epochs * math.ceil(len(images.rows) / settings.batch_size))
    task = replace(task, settings=settings, checkpoints=job.checkpoints, report=report)
    tuned = STRATEGIES[plan.strategy](task)
    seconds = time.monotonic() - began
    if tuned.held_out.fitted is not None:
        session.notice(f"Temperature {tuned.held_out.fitted}, from {counted(tuned.held_out.n, 'held-out image')}")
    session.notice(f"{tuned.proof}; took {duration(seconds)}, predicted {duration(plan.cost.seconds)}")
    gain = None
    if recipe.strategy == "auto":
        groups = dataset.groups()
        gain, better = tuned.gain([str(groups[i]) for i in rows.held_out])
        _report_choice(session, head, plan, gain=gain, better=better)
        if not better:
            _restore(backbone, given)
            return FineTuneOutcome(None, plan, seconds, gain)
    elif tuned.harm:
        session.notice(tuned.harm)
    source = f"{backbone.weights.source}, fine-tuned here ({tuned.strategy}, {plan.epochs} epochs)"
    backbone.weights = Provenance(source, backbone.fingerprint, backbone.weights.licence)
    return FineTuneOutcome(tuned, plan, seconds, gain)


def _report_choice(session: Session, head: Head, plan: FineTunePlan, *, gain: Interval, better: bool) -> None:
    size = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] nats per image on {gain.n} held out"
    if len(plan.pilots) > 1:
        size += f", which also chose among {len(plan.pilots)} pilots: expect somewhat less on new images"
    if better:
        session.notice(f"auto: keeping {plan.strategy}; better than {start_of(head)} by {size}")
    else:
        session.notice(f"auto: keeping {start_of(head)}; {plan.strategy} is not better beyond the interval: {size}")


def _restore(backbone: Backbone, state: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in backbone.state().items():
            tensor.copy_(state[name])
    backbone.flip_tta = None


class StepReporter:
    """Turns the records of the loop into events: progress after each step, a sentence after each epoch."""

    def __init__(self, session: Session, steps: int) -> None:
        self.session, self.steps = session, steps
        self._progress: ProgressReporter | None = None  # its clock starts with the first step: caching comes before
        self._done = 0

    def __call__(self, record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            self._done += 1
            self._progress = self._progress or self.session.progress("fine-tune", unit="steps")
            self._progress(min(self._done, self.steps), self.steps)
        else:
            self.session.notice(str(record))
