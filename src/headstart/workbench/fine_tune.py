"""tune: the part of `train` that goes on after the probe: what is decided on this machine, a strategy, what it cost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from headstart.backbones.backbone import Backbone, Provenance
from headstart.evaluation.intervals import Interval
from headstart.features.cache import FeatureCache
from headstart.finetune.acceptance import gain_of, harm_of
from headstart.finetune.auto import boundary_of, epochs_of, plan_fine_tuning, settings_of, start_of
from headstart.finetune.plan import FineTunePlan
from headstart.finetune.settings import FineTuneImages, FineTuneResult, FineTuneSettings
from headstart.finetune.strategies import full, last_stage, probe_then_full
from headstart.heads.head import Head
from headstart.heads.regularization_path import Labels
from headstart.progress import Notice, OnEvent, ProgressReporter
from headstart.recipe import Recipe
from headstart.training.checkpoints import Checkpoints
from headstart.training.records import EpochRecord, StepRecord
from headstart.wording import duration
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_images
from headstart.workbench.job import Job
from headstart.workbench.prepare import Prepared


@dataclass(frozen=True)
class FineTuneOutcome:
    """What came of a fine-tuning.

    Args:
        fine_tuned: None where what it began with is kept. decided: before the first step.
        seconds: it took, beside what was predicted. gain: of `auto`, what it was kept or dropped for.
    """

    fine_tuned: FineTuneResult | None
    decided: FineTunePlan
    seconds: float = 0.0
    gain: Interval | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        own = {} if self.fine_tuned is None else self.fine_tuned.to_dict()
        gain = None if self.gain is None else self.gain.to_dict()
        return {**own, "decided": self.decided.to_dict(), "took": self.seconds, "gain": gain}


def fine_tune_plan(backbone: Backbone, recipe: Recipe, rows: FineTuneRows | None) -> dict[str, str]:
    """What the plan says of a fine-tuning, in place of what it says of the probe."""
    if rows is None:
        return {}
    norms = "" if recipe.batch_norm == "live" else f"; batch norm {recipe.batch_norm}"
    held = {"held out": f"{rows.about}, for the temperature"}
    if recipe.strategy == "auto":
        told = f"auto: whatever a short pilot finds best, within {duration(recipe.seconds)}"
        return {"strategy": told, "frozen": "decided after the pilot" + norms} | held
    epochs = epochs_of(recipe, len(rows.train))
    until = boundary_of(recipe, backbone) if recipe.strategy == "last-stage" else ""
    rate = f"learning rate {recipe.lr:g}" if recipe.lr else "learning rate by a range test"
    return {
        "strategy": f"{recipe.strategy}, {epochs} epochs on {len(rows.train):,} images, {rate}",
        "frozen": (f"everything before {until}, its output cached" if until else "no stage") + norms,
    } | held


def tune(
    backbone: Backbone,
    prepared: Prepared,
    rows: FineTuneRows,
    groups: Sequence[str],
    labels: Labels,
    head: Head,
    recipe: Recipe,
    cache: FeatureCache,
    on_event: OnEvent,
    job: Job,
) -> FineTuneOutcome:
    """Fine-tune the backbone, in place, by the recipe's strategy; with `auto` it may come back as it was.

    Args:
        groups: of every image of the set, for the comparison. head: to begin with.

    Raises:
        BackboneError: there is no such boundary. TrainingError: the strategy cannot do what the recipe asks for.
        RunError: there is no room for the cached pixels.
    """
    images = fine_tune_images(backbone, prepared, rows, labels, recipe, cache, on_event)
    settings = settings_of(recipe, len(rows.train))
    decided = job.recall() or plan_fine_tuning(backbone, head, images, recipe, settings, cache, on_event)
    job.note(decided)
    if decided.strategy == "probe":
        return FineTuneOutcome(None, decided)
    given, began = {name: tensor.clone() for name, tensor in backbone.state().items()}, time.monotonic()
    settings = replace(settings, epochs=decided.epochs, lr=decided.lr, halvings=decided.halvings)
    tuned = run_strategy(decided.strategy, backbone, head, images, settings, recipe, cache, on_event, job.checkpoints)
    seconds = time.monotonic() - began
    on_event(Notice(f"{tuned.proof}; took {duration(seconds)}, predicted {duration(decided.cost.seconds)}"))
    if recipe.strategy != "auto" and harm_of(tuned):
        on_event(Notice(harm_of(tuned)))
    if recipe.strategy == "auto":
        gain, better = gain_of(tuned, [groups[i] for i in rows.held_out], recipe.seed)
        size = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] nats an image on {tuned.held_out.n} held out"
        if not better:
            with torch.no_grad():
                for name, tensor in backbone.state().items():
                    tensor.copy_(given[name])
            backbone.flip_tta = None
            on_event(
                Notice(f"auto: {start_of(head)} is kept; {decided.strategy} is not better beyond the interval: {size}")
            )
            return FineTuneOutcome(None, decided, seconds, gain)
        on_event(Notice(f"auto: {decided.strategy} is kept; better than {start_of(head)} by {size}"))
        kept = FineTuneOutcome(tuned, decided, seconds, gain)
    else:
        kept = FineTuneOutcome(tuned, decided, seconds)
    source = f"{backbone.weights.source}, fine-tuned here ({tuned.strategy}, {decided.epochs} epochs)"
    backbone.weights = Provenance(source, backbone.fingerprint, backbone.weights.licence)
    return kept


def run_strategy(
    strategy: str,
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    recipe: Recipe,
    cache: FeatureCache,
    on_event: OnEvent,
    checkpoints: Checkpoints | None,
) -> FineTuneResult:
    """One strategy by its name, telling its progress."""
    told = Teller(on_event, settings.epochs * math.ceil(len(images.rows) / settings.batch_size))
    if strategy == "last-stage":
        until, ticker = boundary_of(recipe, backbone), ProgressReporter(on_event, "cache activations", unit="views")
        return last_stage(
            backbone, head, images, settings, told, until=until, cache=cache, progress=ticker, checkpoints=checkpoints
        )
    function = {"full": full, "probe-then-full": probe_then_full}[strategy]
    return function(backbone, head, images, settings, told, checkpoints=checkpoints)


class Teller:
    """Turns what the tuner tells into events: progress after each step, a line after each epoch, words as they are."""

    def __init__(self, on_event: OnEvent, steps: int) -> None:
        self.steps = steps
        self._tick: ProgressReporter | None = None  # its clock begins with the first step: what is cached comes before
        self._tell, self._done = on_event, 0

    def __call__(self, record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            self._done += 1
            self._tick = self._tick or ProgressReporter(self._tell, "fine-tune", unit="steps")
            self._tick(min(self._done, self.steps), self.steps)
        else:
            self._tell(Notice(str(record)))
