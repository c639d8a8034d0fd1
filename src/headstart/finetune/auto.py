"""The plan of a fine-tuning on this machine before its first step: strategy, epochs, learning rate, batch, cost.

`auto` runs a short pilot of each strategy that fits into the time. The plan is kept beside the checkpoints: a resumed
run follows it, however fast the machine is then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.errors import BackboneError
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.plan import FineTunePlan, Trial
from headstart.finetune.settings import FineTuneSettings, FineTuneTask, no_report
from headstart.finetune.strategies import STRATEGIES, find_rate
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.recipe import Recipe
from headstart.wording import counted, duration

_STEPS = 150
_FEWEST, _MOST = 3, 10  # epochs
_BATCH = 32  # images a step
_LEAST_HELD_OUT = 20  # images: on fewer, hardly any difference would lie beyond its interval
_PILOT = 5  # a pilot takes a fifth of the epochs
_LOWER = 0.1  # a pilot tries a tenth of the learning rate too: on images like the network's own the default does harm
_TIME_MARGIN = 0.9  # of the time: predictions are off by a tenth
_MEMORY_MARGIN = 0.8  # of the free memory: the rest is for other programs
_DEFAULT_RATE = Recipe().lr
_OPTIONS = (
    *("unfreeze", "time", "epochs", "lr", "schedule", "mix", "label_smoothing", "average", "flip_tta", "batch_norm"),
    *("flips", "views", "activations", "checkpoint_every"),
)


def epochs_of(recipe: Recipe, images: int) -> int:
    """Epochs of a fine-tuning on so many images."""
    return recipe.epochs or min(max(math.ceil(_STEPS * _BATCH / max(images, 1)), _FEWEST), _MOST)


def boundary_of(recipe: Recipe, backbone: Backbone) -> str:
    """The first stage, or module, that `last-stage` trains.

    Raises:
        BackboneError: the backbone has no such stage or module.
    """
    until = recipe.unfreeze or backbone.stages[-1]
    try:
        backbone.child_of(until)
    except BackboneError as error:
        raise BackboneError(expected=error.expected, found=error.found, where="--unfreeze", hint=error.hint) from error
    return until


def start_of(head: Head) -> str:
    """What a fine-tuning starts from, in words: a head that was trained comes from the run that is continued."""
    return "the previous classifier" if head.kind == "trained" else "the probe"


def settings_of(recipe: Recipe, images: int) -> FineTuneSettings:
    """Settings of a recipe for so many training images; a learning rate of 0 becomes the default until one is found."""
    return FineTuneSettings(
        epochs=epochs_of(recipe, images),
        lr=recipe.lr or _DEFAULT_RATE,
        batch_size=_BATCH,
        batch_norm=recipe.batch_norm,
        augmentation=Augmentation(flip=recipe.flips),
        cached_views=recipe.views,
        dtype=recipe.activations,
        label_smoothing=recipe.label_smoothing,
        seed=recipe.seed,
        schedule=recipe.schedule,
        mix=recipe.mix,
        average=recipe.average,
        flip_tta=recipe.flip_tta,
        device=recipe.device,
    )


def check_strategy(recipe: Recipe) -> None:
    """Refuse what a strategy cannot do, before anything is read.

    Raises:
        TrainingError: the strategy cannot do what the recipe asks for.
    """
    settings_of(recipe, 1).check_strategy(recipe.strategy)


def idle_options(recipe: Recipe) -> tuple[str, ...]:
    """Options of fine-tuning that were changed although only the probe is trained, so that they have no effect."""
    if recipe.strategy != "probe":
        return ()
    default = Recipe()
    changed = [name for name in _OPTIONS if getattr(recipe, name) != getattr(default, name)]
    negative = {name for name in changed if getattr(default, name) is True}
    return tuple(f"--{'no-' if name in negative else ''}{name.replace('_', '-')}" for name in changed)


def plan_fine_tuning(task: FineTuneTask, recipe: Recipe) -> FineTunePlan:
    """Strategy, epochs, learning rate, batch and predicted cost, with reasons; each is reported as well.

    Raises:
        BackboneError: there is no such boundary.
    """
    planner = _Planner(task, recipe)
    if recipe.strategy == "auto":
        return planner.auto()
    trial = Trial(recipe.strategy, task.settings.lr)
    return planner.plan(trial, replace(predict_cost(recipe.strategy, task), epochs=task.settings.epochs))


@dataclass(frozen=True)
class _Planner:
    task: FineTuneTask
    recipe: Recipe

    def auto(self) -> FineTunePlan:
        """By the number of images, by what fits into the time, and by a short pilot of what does."""
        settings, held_out = self.task.settings, len(self.task.images.validation_rows)
        if held_out < _LEAST_HELD_OUT:
            return self._keep(f"only {held_out} images could be held out, too few to see whether fine-tuning helps")
        # mixed images need pixels
        candidates = ("last-stage", "probe-then-full") if settings.mix == "none" else ("probe-then-full",)
        costs = {strategy: predict_cost(strategy, self.task) for strategy in candidates}
        fitting, reasons = self._fitting(costs)
        if not fitting:
            return self._keep("; ".join(reasons))
        pilots = self._pilots(fitting, costs, reasons)
        if pilots:
            chosen = min(pilots, key=pilots.__getitem__)
            losses = ", ".join(f"{trial} {loss:.3f}" for trial, loss in pilots.items())
            reasons.append(
                f"{chosen} has the lowest log loss on {held_out} held-out images after a short pilot ({losses}; "
                f"optimistic: the lowest of {len(pilots)}, on the images that chose it)"
            )
        else:  # no time to compare: the quickest
            chosen = Trial(min(fitting, key=lambda name: costs[name].seconds), settings.lr)
            reasons.append(f"{chosen.strategy} is what the time allows")
        self.task.report(f"auto: {'; '.join(reasons)}")
        cost = replace(costs[chosen.strategy], epochs=fitting[chosen.strategy])
        cost = replace(cost, once=0.0) if pilots else cost  # the pilot has filled the cache
        plan = self.plan(chosen, cost)
        return replace(plan, reasons=tuple(reasons), pilots={str(trial): loss for trial, loss in pilots.items()})

    def plan(self, chosen: Trial, cost: Cost) -> FineTunePlan:
        """The plan with a learning rate, and a batch that fits into memory."""
        rate = chosen.lr if self.recipe.lr else self._rate(chosen.strategy)
        halvings = self._halvings(cost)
        disk = f", {cost.disk / 1e6:.0f} MB of cached activations" if cost.disk else ""
        self.task.report(
            f"Predicted: {duration(cost.seconds)} for {counted(cost.epochs, 'epoch')} of {chosen.strategy}{disk}, "
            f"about {cost.memory / 2**halvings / 1e9:.1f} GB of additional memory"
        )
        return FineTunePlan(strategy=chosen.strategy, epochs=cost.epochs, lr=rate, halvings=halvings, cost=cost)

    def _keep(self, why: str) -> FineTunePlan:
        reason = f"keeping {start_of(self.task.head)}: {why}"
        self.task.report(f"auto: {reason}")
        return FineTunePlan(strategy="probe", reasons=(reason,))

    def _fitting(self, costs: Mapping[str, Cost]) -> tuple[dict[str, int], list[str]]:
        """Strategies that fit into the time → their epochs; and why others do not."""
        time, epochs = _TIME_MARGIN * self.recipe.seconds, self.task.settings.epochs
        fitting, reasons = {}, []
        for strategy, cost in costs.items():
            possible = min(epochs, cost.epochs_within(time))
            if possible >= min(2, epochs):
                fitting[strategy] = possible
            else:
                needed = duration(cost.once + cost.after + 2 * cost.epoch)
                reasons.append(f"{strategy} needs {needed} for two epochs, more than --time {self.recipe.time}")
        return fitting, reasons

    def _pilots(self, fitting: Mapping[str, int], costs: Mapping[str, Cost], reasons: list[str]) -> dict[Trial, float]:
        """Log loss on the held-out images after a fifth of the epochs of each; nothing where the time is too short."""
        lengths = {name: max(1, epochs // _PILOT) for name, epochs in fitting.items()}
        longest = max(fitting[name] * costs[name].epoch + costs[name].after for name in fitting)
        once = sum(costs[name].once for name in fitting)
        each = sum(length * costs[name].epoch + costs[name].after for name, length in lengths.items())
        lr = self.task.settings.lr
        rates = [lr, lr * _LOWER] if self.recipe.lr else [lr]
        left = _TIME_MARGIN * self.recipe.seconds - longest - once
        rates = rates[: max(0, int(left / each))]
        if not rates:
            reasons.append("no time for a pilot")
        trials = [Trial(name, rate) for name in fitting for rate in rates]
        if len(trials) < 2:
            return {}
        return {trial: self._pilot(trial, lengths[trial.strategy]) for trial in trials}

    def _pilot(self, trial: Trial, epochs: int) -> float:
        settings = replace(self.task.settings, epochs=epochs, lr=trial.lr, average="none", flip_tta=False)
        task = replace(self.task, settings=settings, checkpoints=None, report=no_report)
        with preserve(task.backbone.network):
            return STRATEGIES[trial.strategy](task).held_out.log_loss

    def _rate(self, strategy: str) -> float:
        found = find_rate(strategy, self.task)
        rate = found.suggestion or self.task.settings.lr
        taken = f"Using {rate:.2g}" if found.suggestion else f"Using the default, {rate:g}"
        self.task.report(f"Learning-rate range test: {found.sentence} {taken}.")
        return rate

    def _halvings(self, cost: Cost) -> int:
        """How often the batch has to be halved for a step to fit into the free memory."""
        free = _MEMORY_MARGIN * runtime.free_memory(runtime.choose_device(self.recipe.device))
        halvings, batch = 0, self.task.settings.batch_size
        while free and cost.memory / 2**halvings > free and batch >> (halvings + 1):
            halvings += 1
        if halvings:
            self.task.report(
                f"A step on {batch} images needs {cost.memory / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB may be "
                f"used: {counted(batch >> halvings, 'image')} in a forward pass, gradients of {2**halvings} summed"
            )
        return halvings
