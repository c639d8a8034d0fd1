"""tune: the part of `train` that goes on after the probe: what is decided on this machine, a strategy, what it cost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from headstart.backbones.backbone import Backbone, Provenance
from headstart.classifier.classifier import Head
from headstart.evaluation.intervals import Interval
from headstart.features.cache import FeatureCache
from headstart.recipe import Recipe
from headstart.training.checkpoints import Checkpoints
from headstart.training.finetune import full, last_stage, probe_then_full
from headstart.training.head_path import Labels
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.tuning import FineTuned, TuningImages, TuningSettings
from headstart.workbench.decide import boundary_of, decide, epochs_of, settings_of, start_of
from headstart.workbench.decided import Decided
from headstart.workbench.events import Notice, Tell, Ticker
from headstart.workbench.gain import gain_of, harm_of
from headstart.workbench.job import Job
from headstart.workbench.plan import duration
from headstart.workbench.prepare import Prepared
from headstart.workbench.tuning_images import TuningRows, tuning_images


@dataclass(frozen=True)
class Tuning:
    """What came of a fine-tuning.

    Args:
        fine_tuned: None where what it began with is kept. decided: before the first step.
        seconds: it took, beside what was predicted. gain: of `auto`, what it was kept or dropped for.
    """

    fine_tuned: FineTuned | None
    decided: Decided
    seconds: float = 0.0
    gain: Interval | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        own = {} if self.fine_tuned is None else self.fine_tuned.to_dict()
        gain = None if self.gain is None else self.gain.to_dict()
        return {**own, "decided": self.decided.to_dict(), "took": self.seconds, "gain": gain}


def tuning_plan(backbone: Backbone, recipe: Recipe, rows: TuningRows | None) -> dict[str, str]:
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
    rows: TuningRows,
    groups: Sequence[str],
    labels: Labels,
    head: Head,
    recipe: Recipe,
    cache: FeatureCache,
    tell: Tell,
    job: Job,
) -> Tuning:
    """Fine-tune the backbone, in place, by the recipe's strategy; with `auto` it may come back as it was.

    Args:
        groups: of every image of the set, for the comparison. head: to begin with.

    Raises:
        BackboneError: there is no such boundary. TrainingError: the strategy cannot do what the recipe asks for.
        RunError: there is no room for the cached pixels.
    """
    images = tuning_images(backbone, prepared, rows, labels, recipe, cache, tell)
    settings = settings_of(recipe, len(rows.train))
    decided = job.recall() or decide(backbone, head, images, recipe, settings, cache, tell)
    job.note(decided)
    if decided.strategy == "probe":
        return Tuning(None, decided)
    given, began = {name: tensor.clone() for name, tensor in backbone.state().items()}, time.monotonic()
    settings = replace(settings, epochs=decided.epochs, lr=decided.lr, halvings=decided.halvings)
    tuned = run_strategy(decided.strategy, backbone, head, images, settings, recipe, cache, tell, job.checkpoints)
    seconds = time.monotonic() - began
    tell(Notice(f"{tuned.proof}; took {duration(seconds)}, predicted {duration(decided.cost.seconds)}"))
    if recipe.strategy != "auto" and harm_of(tuned):
        tell(Notice(harm_of(tuned)))
    if recipe.strategy == "auto":
        gain, better = gain_of(tuned, [groups[i] for i in rows.held_out], recipe.seed)
        size = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] nats an image on {tuned.held_out.n} held out"
        if not better:
            with torch.no_grad():
                for name, tensor in backbone.state().items():
                    tensor.copy_(given[name])
            backbone.mirror = None
            tell(
                Notice(f"auto: {start_of(head)} is kept; {decided.strategy} is not better beyond the interval: {size}")
            )
            return Tuning(None, decided, seconds, gain)
        tell(Notice(f"auto: {decided.strategy} is kept; better than {start_of(head)} by {size}"))
        kept = Tuning(tuned, decided, seconds, gain)
    else:
        kept = Tuning(tuned, decided, seconds)
    source = f"{backbone.weights.source}, fine-tuned here ({tuned.strategy}, {decided.epochs} epochs)"
    backbone.weights = Provenance(source, backbone.fingerprint, backbone.weights.licence)
    return kept


def run_strategy(
    strategy: str,
    backbone: Backbone,
    head: Head,
    images: TuningImages,
    settings: TuningSettings,
    recipe: Recipe,
    cache: FeatureCache,
    tell: Tell,
    checkpoints: Checkpoints | None,
) -> FineTuned:
    """One strategy by its name, telling its progress."""
    told = Teller(tell, settings.epochs * math.ceil(len(images.rows) / settings.batch_size))
    if strategy == "last-stage":
        until, ticker = boundary_of(recipe, backbone), Ticker(tell, "cache activations", unit="views")
        return last_stage(
            backbone, head, images, settings, told, until=until, cache=cache, progress=ticker, checkpoints=checkpoints
        )
    function = {"full": full, "probe-then-full": probe_then_full}[strategy]
    return function(backbone, head, images, settings, told, checkpoints=checkpoints)


class Teller:
    """Turns what the tuner tells into events: progress after each step, a line after each epoch, words as they are."""

    def __init__(self, tell: Tell, steps: int) -> None:
        self.steps = steps
        self._tick: Ticker | None = None  # its clock begins with the first step: what is cached comes before
        self._tell, self._done = tell, 0

    def __call__(self, record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            self._done += 1
            self._tick = self._tick or Ticker(self._tell, "fine-tune", unit="steps")
            self._tick(min(self._done, self.steps), self.steps)
        else:
            self._tell(Notice(str(record)))
