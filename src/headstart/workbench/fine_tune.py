"""The part of `train` after the probe: the plan made on this machine, one strategy, and whether it is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from headstart.backbones.backbone import Backbone, Provenance
from headstart.data.dataset import Dataset, Labels
from headstart.evaluation.intervals import Interval, signed
from headstart.finetune.auto import boundary_of, epochs_of, plan_fine_tuning, settings_of, start_of
from headstart.finetune.plan import FineTunePlan
from headstart.finetune.processes import together
from headstart.finetune.result import FineTuneResult
from headstart.finetune.settings import FineTuneImages, FineTuneTask
from headstart.heads.head import Head
from headstart.progress import ProgressReporter
from headstart.recipe import Recipe
from headstart.training.records import EpochRecord, StepRecord
from headstart.wording import counted, duration, percent
from headstart.workbench.events import EpochEnd
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_images
from headstart.workbench.job import Job
from headstart.workbench.session import Session


@dataclass(frozen=True)
class StartingHead:
    """The head that a fine-tuning starts from.

    Args:
        solve: indices of training images → the head that they alone give.
        given: that of the run which is continued; None: it is solved.
    """

    solve: Callable[[Labels], Head]
    given: Head | None = None


@dataclass(frozen=True)
class FineTuneOutcome:
    """What came of a fine-tuning.

    Args:
        fine_tuned: None where the network stays as it was. plan: made before the first step.
        dropped: what was trained and not kept.
        seconds: it took, beside what was predicted.
        gain: nats per image, what it was kept or dropped for; None: nothing could judge.
        verdict: where held-out images were against it, or of a continued run, what is kept and why, one sentence.
    """

    fine_tuned: FineTuneResult | None
    plan: FineTunePlan
    seconds: float = 0.0
    gain: Interval | None = None
    verdict: str = ""
    dropped: FineTuneResult | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        trained = self.fine_tuned or self.dropped
        own = {} if trained is None else {**trained.to_dict(), "kept": trained is self.fine_tuned}
        gain = None if self.gain is None else self.gain.to_dict()
        return {
            **own,
            "plan": self.plan.to_dict(),
            "total_seconds": self.seconds,
            "gain": gain,
            "verdict": self.verdict,
        }


def fine_tune_plan(backbone: Backbone, recipe: Recipe, rows: FineTuneRows) -> dict[str, str]:
    """What the plan says of a fine-tuning, in place of what it says of the probe."""
    norms = "" if recipe.batch_norm == "live" else f"; batch norm {recipe.batch_norm}"
    held = {"held out": f"{rows.about}, for the temperature"}
    if recipe.strategy == "auto":
        text = f"auto: what folds of the training images find better than the probe, within {duration(recipe.seconds)}"
        return {"strategy": text, "frozen": "decided by the folds" + norms} | held
    epochs = epochs_of(recipe, len(rows.train))
    until = boundary_of(recipe, backbone) if recipe.strategy == "last-stage" else ""
    rate = f"learning rate {recipe.lr:g}" if recipe.lr else "learning rate from a range test"
    return {
        "strategy": f"{recipe.strategy}, {epochs} epochs on {len(rows.train):,} images, {rate}",
        "frozen": (f"everything before {until}, its output cached" if until else "no stage") + norms,
    } | held


def fine_tune(
    session: Session, backbone: Backbone, head: StartingHead, dataset: Dataset, *, rows: FineTuneRows, job: Job
) -> FineTuneOutcome:  # positional: what is trained, in the order it is used
    """Fine-tune the backbone, in place, by the recipe's strategy; it comes back as it was where the probe is better.

    Args:
        head: to start with. rows: images that are trained on and held out.

    Raises:
        BackboneError: there is no such boundary. TrainingError: the strategy cannot do what the recipe asks for.
        RunError: the disk is full.
    """
    recipe = session.recipe
    images = fine_tune_images(session, backbone, dataset, rows=rows)
    task = _task(session, backbone, head, images=images, rows=rows)
    plan = job.recall() or plan_fine_tuning(task, recipe)
    job.note(plan)
    if plan.strategy == "probe":
        gain = None if plan.judgement is None else plan.judgement.gain
        return FineTuneOutcome(None, plan, gain=gain)
    given, began = {name: tensor.clone() for name, tensor in backbone.state().items()}, time.monotonic()
    settings = replace(task.settings, epochs=plan.epochs, lr=plan.lr, halvings=plan.halvings, form=plan.form)
    report = StepReporter(session, settings.epochs * math.ceil(len(images.rows) / settings.batch_size))
    task = replace(task, settings=settings, checkpoints=job.checkpoints, report=report)
    with together(recipe.processes) as train:
        tuned = train(plan.strategy, task)
    seconds = time.monotonic() - began
    if plan.judgement is not None and recipe.average == "none" and not recipe.flip_tta:
        tuned = tuned.calibrated_by(plan.judgement.temperature)
        session.notice(f"Temperature {plan.judgement.temperature}, from the scores of all folds")
    elif tuned.held_out.fitted is not None:
        session.notice(f"Temperature {tuned.held_out.fitted}, from {counted(tuned.held_out.n, 'held-out image')}")
    session.notice(f"{tuned.proof}; took {duration(seconds)}, predicted {duration(plan.cost.seconds)}")
    outcome = _judged(
        tuned,
        plan,
        recipe,
        groups=dataset.groups()[rows.held_out].tolist(),
        start=start_of(task.head),
        is_continued=job.origin is not None,
    )
    outcome = replace(outcome, seconds=seconds)
    if outcome.verdict:
        session.notice(outcome.verdict)
    if outcome.fine_tuned is None:
        _restore(backbone, given)
        return outcome
    source = f"{backbone.weights.source}, fine-tuned here ({tuned.strategy}, {plan.epochs} epochs)"
    backbone.weights = Provenance(source, backbone.fingerprint, backbone.weights.licence)
    return outcome


def _task(
    session: Session, backbone: Backbone, head: StartingHead, *, images: FineTuneImages, rows: FineTuneRows
) -> FineTuneTask:  # positional: as in fine_tune
    """The task before its plan."""
    recipe, solve = session.recipe, head.solve
    return FineTuneTask(
        backbone=backbone,
        head=head.given or head.solve(rows.train),
        solve=None if head.given is not None else lambda positions: solve(rows.train[positions]),
        images=images,
        settings=settings_of(recipe, len(rows.train)),
        until=boundary_of(recipe, backbone) if recipe.strategy in ("last-stage", "auto") else "",
        cache=session.cache,
        report=lambda sentence: session.notice(str(sentence)),
        progress=session.progress("cache activations", unit="views"),
        fold_progress=session.progress("train on folds", unit="trainings"),
    )


def _judged(
    tuned: FineTuneResult,
    plan: FineTunePlan,
    recipe: Recipe,
    *,
    groups: Sequence[object],
    start: str,
    is_continued: bool,
) -> FineTuneOutcome:  # positional: what was trained, as planned, as asked for
    """Whether the fine-tuned network is kept: as the folds said, else by the held-out images.

    Args:
        groups: of the held-out images. start: what it is compared with, in words. is_continued: of another run.
    """
    if plan.judgement is not None:
        return FineTuneOutcome(tuned, plan, gain=plan.judgement.gain)
    if not tuned.held_out.n:
        unjudged = "The continued classifier is kept: no image could be held out to compare it with the previous one."
        return FineTuneOutcome(tuned, plan, verdict=unjudged if is_continued else "")
    gain, better = tuned.gain([str(group) for group in groups])
    if recipe.strategy == "auto" and not better:
        size = f"{signed(gain, digits=3)} nats per image on {gain.n} held out"
        verdict = f"auto: keeping {start}; {tuned.strategy} is not better beyond the interval: {size}"
        return FineTuneOutcome(None, plan, gain=gain, verdict=verdict, dropped=tuned)
    if is_continued and recipe.strategy != "auto":
        verdict = _verdict(tuned, gain, force=recipe.force)
        if tuned.is_worse and not recipe.force:
            return FineTuneOutcome(None, plan, gain=gain, verdict=verdict, dropped=tuned)
        return FineTuneOutcome(tuned, plan, gain=gain, verdict=verdict)
    if not tuned.harm:
        return FineTuneOutcome(tuned, plan, gain=gain)
    if recipe.force:
        return FineTuneOutcome(tuned, plan, gain=gain, verdict=f"{tuned.harm}. It is kept because of --force.")
    advice = "Lower --lr, or use --strategy auto; --force keeps the fine-tuned network."
    verdict = f"{tuned.harm}. The classifier is {start}. {advice}"
    return FineTuneOutcome(None, plan, gain=gain, verdict=verdict, dropped=tuned)


def _verdict(tuned: FineTuneResult, gain: Interval, *, force: bool) -> str:
    """Which classifier a continued run keeps, and the evidence on the same held-out images."""
    before, after = tuned.at_start, tuned.held_out
    kept = "The continued classifier is kept: it is not worse than the previous one"
    if tuned.is_worse:
        kept = "The previous classifier is kept: the continued one is worse"
        if force:
            kept = "The continued classifier is kept because of --force; it is worse than the previous one"
    return (
        f"{kept} on the same {counted(after.n, 'held-out image')} (accuracy {percent(before.accuracy)} → "
        f"{percent(after.accuracy)}; log loss {before.log_loss:.3f} → {after.log_loss:.3f}, gain "
        f"{signed(gain, digits=3)} per image)."
    )


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
            if isinstance(record, EpochRecord):
                self.session.on_event(EpochEnd(record.epoch, record.to_dict()))
