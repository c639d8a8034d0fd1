"""decide: what a fine-tuning settles on this machine before its first step: strategy, epochs, rate, batch, cost.

What is decided is noted beside the checkpoints: a resumed run goes by it, whatever the clock says then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.errors import BackboneError
from headstart.features.cache import FeatureCache
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.fine_tuner import check_able
from headstart.finetune.plan import FineTunePlan, Trial
from headstart.finetune.settings import FineTuneImages, FineTuneResult, FineTuneSettings
from headstart.finetune.strategies import find_rate, last_stage, probe_then_full
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.progress import Notice, OnEvent, ProgressReporter
from headstart.recipe import Recipe
from headstart.wording import duration

_STEPS = 150
_FEWEST, _MOST = 3, 10  # epochs
_BATCH = 32  # images a step
_LEAST_HELD_OUT = 20  # images: on fewer, hardly any difference would lie beyond its interval
_PILOT = 5  # a pilot takes this part of the epochs
_LOWER = 0.1  # a pilot tries this part of the rate too: on images like the network's own the default does harm
_MARGIN = 0.9  # of the time: predictions are off by a tenth
_ROOM = 0.8  # of the free memory: the rest is for what else runs
_DEFAULT_RATE = Recipe().lr
_OF_TUNING = (
    *("unfreeze", "time", "epochs", "lr", "schedule", "mix", "label_smoothing", "average", "flip_tta", "batch_norm"),
    *("flips", "views", "activations", "checkpoint_every"),
)


_NOTHING = Cost(0.0, 0.0, 0.0, 0, 0, 0)


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
    """What a fine-tuning begins with, in words: a head that was trained comes from the run it goes on from."""
    return "what it began with" if head.kind == "trained" else "the probe"


def settings_of(recipe: Recipe, images: int) -> FineTuneSettings:
    """How so many images are trained on by a recipe; a rate of 0 stands for the default until it is found."""
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
    """Find what a strategy cannot do before anything is read.

    Raises:
        TrainingError: the strategy cannot do what the recipe asks for.
    """
    check_able(settings_of(recipe, 1), recipe.strategy)


def idle_knobs(recipe: Recipe) -> tuple[str, ...]:
    """Options of fine-tuning that were changed although the strategy is the probe, which has no use for them."""
    if recipe.strategy != "probe":
        return ()
    default = Recipe()
    changed = [name for name in _OF_TUNING if getattr(recipe, name) != getattr(default, name)]
    negative = {name for name in changed if getattr(default, name) is True}
    return tuple(f"--{'no-' if name in negative else ''}{name.replace('_', '-')}" for name in changed)


def plan_fine_tuning(
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    recipe: Recipe,
    settings: FineTuneSettings,
    cache: FeatureCache,
    on_event: OnEvent,
) -> FineTunePlan:
    """Strategy, epochs, rate, batch and predicted cost; each is told with its reason.

    Raises:
        BackboneError: there is no such boundary.
    """
    deciding = _Deciding(backbone, head, images, recipe, settings, cache, on_event)
    if recipe.strategy == "auto":
        return deciding.auto()
    return deciding.settled(Trial(recipe.strategy, settings.lr), settings.epochs, deciding.cost(recipe.strategy))


@dataclass(frozen=True)
class _Deciding:
    backbone: Backbone
    head: Head
    images: FineTuneImages
    recipe: Recipe
    settings: FineTuneSettings
    cache: FeatureCache
    on_event: OnEvent

    def auto(self) -> FineTunePlan:
        """By the number of images, what fits into the time, and a short pilot of what does."""
        held = len(self.images.validation_rows)
        if held < _LEAST_HELD_OUT:
            few = f"only {held} images could be held out, too few to see whether fine-tuning helps"
            return self._kept(few)
        # mixed images need pixels
        candidates = ("last-stage", "probe-then-full") if self.settings.mix == "none" else ("probe-then-full",)
        costs = {strategy: self.cost(strategy) for strategy in candidates}
        fitting, reasons = self._fitting(costs)
        if not fitting:
            return self._kept("; ".join(reasons))
        pilots = self._pilots(fitting, costs, reasons)
        chosen = min(pilots, key=pilots.__getitem__) if pilots else self._default(fitting, costs)
        if pilots:
            told = ", ".join(f"{trial} {loss:.3f}" for trial, loss in pilots.items())
            reasons.append(f"{chosen} has the lowest log loss on {held} held-out images after a short pilot ({told})")
        else:
            reasons.append(f"{chosen.strategy} is what the time allows")
        self.on_event(Notice(f"auto: {'; '.join(reasons)}"))
        losses = {str(trial): loss for trial, loss in pilots.items()}
        cost = costs[chosen.strategy]
        cost = replace(cost, once=0.0) if pilots else cost  # the pilot has filled the cache
        return self.settled(chosen, fitting[chosen.strategy], cost, tuple(reasons), losses)

    def _default(self, fitting: Mapping[str, int], costs: Mapping[str, Cost]) -> Trial:
        """What is run where there is no time to compare: the quickest."""
        return Trial(min(fitting, key=lambda one: costs[one].seconds), self.settings.lr)

    def cost(self, strategy: str) -> Cost:
        """Predicted for the recipe's epochs."""
        until = boundary_of(self.recipe, self.backbone) if strategy == "last-stage" else ""
        return predict_cost(
            strategy, self.backbone, self.head, self.images, self.settings, until=until, cache=self.cache
        )

    def settled(
        self,
        chosen: Trial,
        epochs: int,
        cost: Cost,
        reasons: tuple[str, ...] = (),
        pilots: Mapping[str, float] | None = None,
    ) -> FineTunePlan:
        """With the rate, and a batch that fits into memory."""
        strategy = chosen.strategy
        rate = chosen.lr if self.recipe.lr else self._rate(strategy)
        halvings = self._halvings(cost)
        cost = replace(cost, epochs=epochs)
        disk = f", {cost.disk / 1e6:.0f} MB of cached activations" if cost.disk else ""
        memory = cost.memory / 2**halvings / 1e9
        self.on_event(
            Notice(
                f"Predicted: {duration(cost.seconds)} for {epochs} epochs of {strategy}{disk}, about {memory:.1f} GB "
                "of memory beyond what is used now"
            )
        )
        return FineTunePlan(strategy, epochs, rate, halvings, cost, reasons, dict(pilots or {}))

    def _kept(self, why: str) -> FineTunePlan:
        reason = f"{start_of(self.head)} is kept: {why}"
        self.on_event(Notice(f"auto: {reason}"))
        return FineTunePlan("probe", 0, 0.0, 0, _NOTHING, (reason,))

    def _fitting(self, costs: Mapping[str, Cost]) -> tuple[dict[str, int], list[str]]:
        """Strategies that can be run in the time → with how many epochs; and what was left out, in words."""
        time = _MARGIN * self.recipe.seconds
        fitting, reasons = {}, []
        for strategy, cost in costs.items():
            epochs = min(self.settings.epochs, cost.epochs_within(time))
            if epochs < min(2, self.settings.epochs):
                needed = duration(cost.once + cost.after + 2 * cost.epoch)
                reasons.append(f"{strategy} needs {needed} for two epochs, and {self.recipe.time} were given")
                continue
            fitting[strategy] = epochs
        return fitting, reasons

    def _pilots(self, fitting: Mapping[str, int], costs: Mapping[str, Cost], reasons: list[str]) -> dict[Trial, float]:
        """Log loss on the held-out images after a fifth of the epochs of each; nothing where the time is too short."""
        lengths = {name: max(1, epochs // _PILOT) for name, epochs in fitting.items()}
        longest = max(fitting[name] * costs[name].epoch + costs[name].after for name in fitting)
        once = sum(costs[name].once for name in fitting)
        each = sum(length * costs[name].epoch + costs[name].after for name, length in lengths.items())
        rates = [self.settings.lr, self.settings.lr * _LOWER] if self.recipe.lr else [self.settings.lr]
        left = _MARGIN * self.recipe.seconds - longest - once
        rates = rates[: max(0, int(left / each))]
        if not rates:
            reasons.append("no time for a pilot")
        trials = [Trial(name, rate) for name in fitting for rate in rates]
        if len(trials) < 2:
            return {}
        found = {}
        for trial in trials:
            settings = replace(
                self.settings, epochs=lengths[trial.strategy], lr=trial.lr, average="none", flip_tta=False
            )
            with preserve(self.backbone.network):
                found[trial] = self._pilot(trial.strategy, settings).held_out.log_loss
        return found

    def _pilot(self, strategy: str, settings: FineTuneSettings) -> FineTuneResult:
        if strategy == "probe-then-full":
            return probe_then_full(self.backbone, self.head, self.images, settings, _unheard)
        until, progress = boundary_of(self.recipe, self.backbone), self._ticker()
        return last_stage(
            self.backbone, self.head, self.images, settings, _unheard, until=until, cache=self.cache, progress=progress
        )

    def _rate(self, strategy: str) -> float:
        until = boundary_of(self.recipe, self.backbone) if strategy == "last-stage" else ""
        found = find_rate(
            strategy,
            self.backbone,
            self.head,
            self.images,
            self.settings,
            until=until,
            cache=self.cache,
            progress=self._ticker(),
        )
        rate = found.suggestion or self.settings.lr
        taken = f"{rate:.2g} is taken" if found.suggestion else f"the default, {rate:g}, is taken"
        self.on_event(Notice(f"Learning-rate range test: {found.sentence} {taken[0].upper()}{taken[1:]}."))
        return rate

    def _halvings(self, cost: Cost) -> int:
        """How often the batch has to be halved for a step to fit into the free memory."""
        free, halvings = _ROOM * runtime.free_memory(runtime.choose_device(self.recipe.device)), 0
        while free and cost.memory / 2**halvings > free and self.settings.batch_size >> (halvings + 1):
            halvings += 1
        if halvings:
            batch = self.settings.batch_size >> halvings
            self.on_event(
                Notice(
                    f"A step on {self.settings.batch_size} images would take {cost.memory / 1e9:.1f} GB of memory and "
                    f"{free / 1e9:.1f} GB may be used: {batch} images at once, their gradients summed"
                )
            )
        return halvings

    def _ticker(self) -> Callable[[int, int], None]:
        return ProgressReporter(self.on_event, "cache activations", unit="views")


def _unheard(record: object) -> None:
    """A pilot's steps are not told."""
