"""The options of the recipe that each verb takes, typed, so that `help()`, completion and type checkers know them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar

from headstart.errors import HeadstartError, RecipeError, near
from headstart.public_api import as_headstart_error, empty_text_refused, under_usual_torch
from headstart.recipe import TYPES, Recipe

_Verb = TypeVar("_Verb", bound=Callable[..., Any])


class RunOptions(TypedDict, total=False):
    """Options of what runs a network."""

    workers: int
    batch_size: int
    device: str
    engine: str


class PredictOptions(RunOptions, total=False):
    """Options of `predict`."""

    offline: bool


class EmbedOptions(PredictOptions, total=False):
    """Options of `embed`."""

    backbone: Any  # a name, or a Backbone such as Backbone.from_module makes
    weights: str | None
    size: int
    sizes: str
    layers: str
    background: str
    max_pixels: int
    cache_limit_gb: float


class SourceOptions(TypedDict, total=False):
    """Options of what finds images and their labels."""

    path_column: str | None
    label_column: str | None
    split_column: str | None
    delimiter: str | None
    label_from: str


class ReadOptions(SourceOptions, total=False):
    """Options of what reads a data set."""

    workers: int
    max_pixels: int
    max_bad_share: float
    keep_damaged: bool
    verify: bool
    group_by: str
    review: str | None


class AuditOptions(ReadOptions, total=False):
    """Options of `audit`."""

    background: str
    bit_depth: int
    classes: Any  # names in a list, or a text with commas


class EvaluateOptions(ReadOptions, RunOptions, total=False):
    """Options of `evaluate`."""

    seed: int
    cache_limit_gb: float


class AddClassOptions(RunOptions, total=False):
    """Options of `add_class`: all others are the run's."""

    max_pixels: int
    max_bad_share: float
    keep_damaged: bool
    group_by: str
    cache_limit_gb: float


class AdviseOptions(ReadOptions, RunOptions, total=False):
    """Options of `advise`."""

    background: str
    bit_depth: int
    classes: Any  # names in a list, or a text with commas
    test_share: float
    stable_split: bool
    seed: int
    offline: bool
    cache_limit_gb: float


class AugmentOptions(AdviseOptions, total=False):
    """Options of `advise_augment`."""

    backbone: Any  # a name, or a Backbone such as Backbone.from_module makes
    weights: str | None
    size: int
    layers: str


class InspectOptions(SourceOptions, total=False):
    """Options of `inspect`."""

    weights: str | None
    offline: bool
    seed: int
    max_pixels: int
    workers: int


class RecalibrateOptions(SourceOptions, total=False):
    """Options of `recalibrate`."""

    workers: int
    batch_size: int
    seed: int


class FineTuneOptions(TypedDict, total=False):
    """Options of fine-tuning."""

    strategy: str
    time: str
    unfreeze: str | None
    epochs: int
    lr: float
    schedule: str
    mix: str
    label_smoothing: float
    average: str
    flip_tta: bool
    batch_norm: str
    flips: bool
    augment: str
    views: int
    activations: str
    step_precision: str
    checkpoint_every: float
    processes: int


class ContinueOptions(FineTuneOptions, ReadOptions, RunOptions, total=False):
    """Options of `continue_run`: all but those that belong to the run's network."""

    background: str
    bit_depth: int
    layers: str
    head: str
    balance: str
    seed: int
    test_share: float
    stable_split: bool
    accept_preprocessing: bool
    false_rejects: float
    bank: bool
    inside: bool
    offline: bool
    cache_limit_gb: float


class TrainOptions(ContinueOptions, total=False):
    """Options of `train`: every field of Recipe."""

    backbone: Any  # a name, or a Backbone such as Backbone.from_module makes
    weights: str | None
    size: int
    sizes: str
    classes: Any  # names in a list, or a text with commas
    precision: str
    force: bool


def takes(options: type) -> Callable[[_Verb], _Verb]:
    """A decorator for a verb with `**options: Unpack[options]`: it refuses others and shows them in `help()`.

    Args:
        options: a TypedDict whose keys are fields of Recipe.
    """
    specs = {spec.name: spec for spec in dataclasses.fields(Recipe)}
    names = tuple(name for name in specs if name in options.__annotations__)

    def decorate(verb: _Verb) -> _Verb:
        own = [p for p in inspect.signature(verb).parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = {p.name for p in own} | set(names)

        refuse_empty, usual = empty_text_refused(verb), under_usual_torch(verb)

        @functools.wraps(verb)
        def checked(*args: Any, **values: Any) -> Any:
            _check_names(verb, values, known)
            refuse_empty(args, values)
            try:
                return usual(*args, **values)
            except HeadstartError:
                raise
            except Exception as error:  # of a file, or of a wrong argument: see public_api
                mistake = as_headstart_error(error, verb, args, values)
                if mistake is None:
                    raise
                raise mistake from error

        more = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=specs[name].default,
                annotation=functools.reduce(operator.or_, TYPES[str(specs[name].type)]),
            )
            for name in names
        ]
        checked.__signature__ = inspect.signature(verb).replace(parameters=[*own, *more])  # type: ignore[attr-defined]
        checked.is_public_api = True  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate


def _check_names(verb: Callable[..., Any], values: Mapping[str, Any], known: set[str]) -> None:
    fields = {spec.name for spec in dataclasses.fields(Recipe)}
    for name in values:
        if name not in known:
            elsewhere = "It comes from the run or its classifier's card, or has no effect here."
            raise RecipeError(
                expected=f"an option of {verb.__name__}",
                found=repr(name),
                where="options",
                hint=elsewhere if name in fields else near(name, known),
            )
