"""The experiments of the lab by name: what each claims, and how it is run. Importing this needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from headstart.errors import RecipeError, near

CLAIMS: dict[str, str] = {
    "identity": "a unit with ReLU cannot learn the identity; with a shortcut it does, by staying out of the way",
    "shortcuts": "a shortcut lets an image through a fresh block; without them eight blocks lose nearly all of it",
    "gradient_reach": "in a deep plain stack no gradient reaches the first layer; with shortcuts it does",
    "gradient_autocorrelation": "gradients of neighbouring inputs are unrelated in a deep plain network, alike in a "
    "residual one",
    "branch_share": "block l of a fresh residual network adds a share of 1/√(l + 1) to its stream",
    "batch_norm_1d": "batch norm uses a batch's biased variance, keeps the unbiased one, and averages by its momentum",
    "batch_norm_2d": "batch norm of images has one mean and one variance for each channel, over all images and pixels",
    "batch_norm_and_dropout": "dropout before batch norm makes it keep a variance that it does not meet in eval mode",
    "bias_before_batch_norm": "a bias before batch norm changes no output and gets no gradient",
    "frozen_is_not_frozen": "requires_grad=False freezes weights but not batch norm's statistics; freeze() does",
    "one_by_one": "turning an image grey is a 1×1 convolution, and that is one linear layer for every pixel",
    "inception_module": "1×1 convolutions make an inception module cheap; each branch fills its own channels",
    "auxiliary_heads": "features can be taken from a network with two outputs; its auxiliary head has no say in them",
}
"""Name → claim in one line; the file `lab/NAME.py` tells the rest."""


def names() -> tuple[str, ...]:
    """Names of all experiments, in the order of the textbook."""
    return tuple(CLAIMS)


def run_experiment(name: str, **settings: Any) -> Any:
    """Run an experiment by its name, with hyphens or underscores.

    Args:
        settings: of the experiment's own `run`; the defaults are the textbook's.

    Returns:
        An `Experiment`: numbers, tables, verdict, and a figure.

    Raises:
        RecipeError: there is no experiment or no setting of that name, or it cannot be run with such a value.
    """
    known = name.replace("-", "_")
    if known not in CLAIMS:
        raise RecipeError(expected="an experiment of the lab", found=repr(name), where="lab", hint=near(known, CLAIMS))
    run: Callable[..., Any] = importlib.import_module(f"headstart.lab.{known}").run
    _check(known, run.__kwdefaults__ or {}, settings)
    try:
        return run(**settings)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, IndexError) as error:
        if not settings:
            raise  # the textbook's own settings: our bug
        raise RecipeError(
            expected="settings that it can be run with", found=f"{settings}: {error}", where=f"lab {known}"
        ) from error


def _check(name: str, defaults: Mapping[str, object], settings: Mapping[str, object]) -> None:
    for setting, value in settings.items():
        if setting not in defaults:
            hint = near(setting, defaults)
            raise RecipeError(expected=f"a setting of {name}", found=repr(setting), where="lab", hint=hint)
        default = defaults[setting]
        fits = type(value) is type(default) or (isinstance(default, float) and type(value) is int)
        if not fits or (isinstance(default, tuple) and isinstance(value, tuple) and len(value) != len(default)):
            raise RecipeError(expected=f"a value like {default!r}", found=repr(value), where=f"lab {name}, {setting}")
