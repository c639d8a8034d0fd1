"""The plan of a fine-tuning on this machine before its first step: strategy, epochs, learning rate, batch, cost.

`auto` trains each candidate that fits into the time on folds of the training images, and plans the best one only if it
is better than the probe. The plan is kept beside the checkpoints: a resumed run follows it, on whatever machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.errors import BackboneError, TrainingError
from headstart.evaluation.design_effect import count_groups
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.cross_fit import cross_fit
from headstart.finetune.plan import FineTunePlan, Trial
from headstart.finetune.settings import BFLOAT16, PLAIN, FineTuneSettings, FineTuneTask, Labels
from headstart.finetune.step_form import choose_form
from headstart.finetune.strategies import RANGE_STEPS, find_rate
from headstart.heads.cross_validation import fold_count
from headstart.heads.head import Head
from headstart.recipe import Recipe
from headstart.wording import counted, duration, listed

_STEPS = 150
_FEWEST, _MOST = 3, 10  # epochs
_BATCH = 32  # images a step
_LEAST_GROUPS = 20  # independent draws: with fewer, hardly any difference would lie beyond its interval
_LEAST_HELD_OUT = 20  # images, where they are all that judges
_LOWER = 0.1  # a tenth of the learning rate is tried too: on images like the network's own the default does harm
_EVALUATION = 0.7  # of an epoch: the images of all folds, before and after, forward only
_TIME_MARGIN = 0.9  # of the time: predictions are off by a tenth
_MEMORY_MARGIN = 0.8  # of the free memory: the rest is for other programs
_DEFAULT_RATE = Recipe().lr
NOT_LINEAR = ("kernel", "auto")
"""Heads that are not trained with the network; `auto` may take the kernel."""
_OPTIONS = (
    *("unfreeze", "time", "epochs", "lr", "schedule", "mix", "label_smoothing", "average", "flip_tta", "batch_norm"),
    *("flips", "augment", "views", "activations", "step_precision", "checkpoint_every", "force"),
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
    if recipe.strategy != "probe" and recipe.head in NOT_LINEAR:
        raise TrainingError(
            expected="a head that is linear in the features, which is trained with the network",
            found=f"--head {recipe.head} and --strategy {recipe.strategy}",
            where="--head",
            hint="Use --head ridge, or --strategy probe.",
        )


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
    planner, costs = planner.with_fastest_form((recipe.strategy,))
    return planner.plan(Trial(recipe.strategy, task.settings.lr), costs[recipe.strategy])


@dataclass(frozen=True)
class _Planner:
    task: FineTuneTask
    recipe: Recipe

    @property
    def _strategies(self) -> tuple[str, ...]:
        # mixed images need pixels
        return ("last-stage", "probe-then-full") if self.task.settings.mix == "none" else ("probe-then-full",)

    @property
    def _groups(self) -> Labels:
        groups = self.task.images.groups
        return np.arange(len(self.task.images.rows)) if groups is None else groups

    def auto(self) -> FineTunePlan:
        """By the number of images, by what fits into the time, and by folds of all training images."""
        task = self.task
        if task.solve is None:
            return self._quickest()
        groups = count_groups(self._groups.tolist())
        if groups < _LEAST_GROUPS:
            return self._keep(f"only {counted(groups, 'independent image')}, too few to see whether fine-tuning helps")
        planner, costs = self.with_fastest_form(self._strategies)
        return planner._by_folds(costs)

    def with_fastest_form(self, strategies: Sequence[str]) -> tuple[_Planner, dict[str, Cost]]:
        """A planner whose steps have the form that is fastest here, and what each strategy costs with it."""
        task, precision = self.task, self.recipe.step_precision
        costs = {strategy: predict_cost(strategy, task) for strategy in strategies} if precision != "bfloat16" else {}
        form = {"float32": PLAIN, "bfloat16": BFLOAT16}.get(precision, "")
        if not form:
            largest = max(costs, key=lambda name: costs[name].epoch)
            form = choose_form(largest, task, cost=costs[largest])
        if form == PLAIN:
            return self, costs
        task = replace(task, settings=replace(task.settings, form=form))
        return replace(self, task=task), {strategy: predict_cost(strategy, task) for strategy in strategies}

    def _by_folds(self, costs: Mapping[str, Cost]) -> FineTunePlan:
        task, groups = self.task, count_groups(self._groups.tolist())
        epochs, reasons = self._fitting(costs)
        if not epochs:
            return self._keep("; ".join(reasons))
        folds = fold_count(groups)
        tried = [f"{trial} ({counted(passes, 'epoch')})" for trial, passes in epochs.items()]
        task.report(
            f"auto: {counted(folds * len(epochs), 'training')} on folds of {counted(len(task.images.rows), 'image')} "
            f"to judge {listed(tried)}, and one on all of them if it is better than {start_of(task.head)}: about "
            f"{duration(self._seconds(epochs, costs))}, within --time {self.recipe.time}"
        )
        judgement = cross_fit(task, epochs)
        chosen = next(trial for trial in epochs if str(trial) == judgement.chosen)
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in judgement.losses.items())
        reasons.append(f"log loss out of fold: {losses}; {start_of(task.head)} {judgement.probe_loss:.3f}")
        if not judgement.accepted:
            plan = self._keep(f"{judgement.chosen} is not better beyond the interval: {judgement}")
            return replace(plan, reasons=(*reasons, *plan.reasons), judgement=judgement)
        reasons.append(f"{judgement.chosen} is better than {start_of(task.head)}: {judgement}")
        task.report(f"auto: {'; '.join(reasons)}")
        cost = replace(costs[chosen.strategy], epochs=epochs[chosen], once=0.0)  # the folds have filled the cache
        return replace(self.plan(chosen, cost), reasons=tuple(reasons), judgement=judgement)

    def _quickest(self) -> FineTunePlan:
        """Where the head has seen every fold: one training, which held-out images judge afterwards."""
        held_out, time = len(self.task.images.validation_rows), _TIME_MARGIN * self.recipe.seconds
        if held_out < _LEAST_HELD_OUT:
            return self._keep(f"only {held_out} images could be held out, too few to see whether fine-tuning helps")
        planner, costs = self.with_fastest_form(self._strategies)
        epochs = {name: min(self.task.settings.epochs, cost.epochs_within(time)) for name, cost in costs.items()}
        fitting = [name for name in costs if epochs[name] >= min(2, self.task.settings.epochs)]
        if not fitting:
            return self._keep(f"nothing fits into --time {self.recipe.time}")
        quickest = min(fitting, key=lambda name: costs[name].seconds)
        cost = replace(costs[quickest], epochs=epochs[quickest])
        return planner.plan(Trial(quickest, self.task.settings.lr), cost)

    def plan(self, chosen: Trial, cost: Cost) -> FineTunePlan:
        """The plan with a learning rate, and a batch that fits into memory."""
        rate = chosen.lr if self.recipe.lr else self._rate(chosen.strategy)
        halvings = self._halvings(cost)
        disk = f", {cost.disk / 1e6:.0f} MB of cached activations" if cost.disk else ""
        self.task.report(
            f"Predicted: {duration(cost.seconds)} for {counted(cost.epochs, 'epoch')} of {chosen.strategy}{disk}, "
            f"about {cost.memory / 2**halvings / 1e9:.1f} GB of additional memory"
        )
        return FineTunePlan(
            strategy=chosen.strategy,
            epochs=cost.epochs,
            lr=rate,
            halvings=halvings,
            form=self.task.settings.form,
            cost=cost,
        )

    def _keep(self, why: str) -> FineTunePlan:
        reason = f"keeping {start_of(self.task.head)}: {why}"
        self.task.report(f"auto: {reason}")
        return FineTunePlan(strategy="probe", reasons=(reason,))

    def _fitting(self, costs: Mapping[str, Cost]) -> tuple[dict[Trial, int], list[str]]:
        """Candidates that fit into the time, the cheapest first → their epochs; and why others do not."""
        time, epochs = _TIME_MARGIN * self.recipe.seconds, self.task.settings.epochs
        rates = (self.recipe.lr, self.recipe.lr * _LOWER) if self.recipe.lr else (0.0,)
        found, reasons = dict[Trial, int](), []
        for strategy in sorted(costs, key=lambda name: self._seconds({Trial(name, 0.0): epochs}, costs)):
            for rate in rates:
                trial = Trial(strategy, rate)
                possible = epochs
                if not found:  # fewer epochs rather than nothing
                    possible = next((n for n in range(epochs, 0, -1) if self._seconds({trial: n}, costs) <= time), 0)
                wanted = {**found, trial: possible}
                if possible >= min(2, epochs) and self._seconds(wanted, costs) <= time:
                    found = wanted
                else:
                    needed = {**found, trial: possible if found else min(2, epochs)}
                    reasons.append(
                        f"{trial} is not tried: with {counted(needed[trial], 'epoch')} it needs "
                        f"{duration(self._seconds(needed, costs))}, more than --time {self.recipe.time}"
                    )
        return found, reasons

    def _seconds(self, epochs: Mapping[Trial, int], costs: Mapping[str, Cost]) -> float:
        """Of the caches, of K trainings of each candidate on K-1 of K folds, and of the longest on all images."""
        folds = fold_count(count_groups(self._groups.tolist()))
        once = sum(costs[name].once for name in {trial.strategy for trial in epochs})
        if self.task.settings.batch_norm == "recalibrated":  # each fold has statistics, and so activations, of its own
            once += sum(folds * costs[trial.strategy].once for trial in epochs)
        steps = math.ceil(len(self.task.images.rows) / self.task.settings.batch_size)
        tests = sum(folds * RANGE_STEPS / steps * costs[trial.strategy].epoch for trial in epochs if not trial.lr)
        of_folds = sum(((folds - 1) * n + _EVALUATION) * costs[trial.strategy].epoch for trial, n in epochs.items())
        last = max(n * costs[trial.strategy].epoch + costs[trial.strategy].after for trial, n in epochs.items())
        return once + tests + of_folds + last

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
