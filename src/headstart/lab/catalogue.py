"""The experiments of the lab by name: their claims, and how one is run. Importing this needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from headstart.errors import RecipeError, near
from headstart.public_api import public_api

CLAIMS: dict[str, str] = {
    "identity": "a ReLU unit cannot learn the identity; with a shortcut it can, by keeping its ReLU inactive",
    "shortcuts": "an image passes an untrained block with a shortcut; eight blocks without one lose nearly all of it",
    "gradient_reach": "gradients vanish before the first layer of a deep plain stack; with shortcuts they reach it",
    "gradient_autocorrelation": "gradients of neighbouring inputs are uncorrelated in a deep plain network and "
    "correlated in a residual one",
    "branch_share": "block l of an untrained residual network contributes a share of 1/√(l + 1) to its output",
    "batch_norm_1d": "batch norm normalises by the biased variance, stores the unbiased one, and averages by momentum",
    "batch_norm_2d": "batch norm of images has one mean and one variance per channel, over all images and pixels",
    "batch_norm_and_dropout": "dropout before batch norm makes it store a variance that is wrong in eval mode",
    "batch_noise": "the noise of batch statistics regularises: training labels are fitted less, the test loss is lower",
    "dropout_with_batch_norm": "dropout adds less to a network with batch norm than to one without",
    "smoother_loss": "with batch norm the loss and its gradient change less along a step of the training",
    "batch_norm_placement": "batch norm may come before or after the activation; neither is right or wrong",
    "vanishing_gradients": "with batch norm the gradients of a deep plain network do not vanish, and it learns",
    "bias_before_batch_norm": "a bias before batch norm changes no output and gets no gradient",
    "frozen_is_not_frozen": "requires_grad=False freezes weights but not batch-norm statistics; freeze() freezes both",
    "one_by_one": "converting an image to grey is a 1×1 convolution: the same linear layer at every pixel",
    "inception_module": "1×1 convolutions make an inception module cheap; each branch has its own output channels",
    "auxiliary_heads": "the features of a network with two outputs do not depend on its auxiliary head",
}
"""Name → claim in one line; `lab/NAME.py` has its source, settings and expected numbers."""


def names() -> tuple[str, ...]:
    """Names of all experiments, in the order of the textbook."""
    return tuple(CLAIMS)


@public_api
def run_experiment(name: str, **settings: Any) -> Any:
    """Run an experiment by its name, with hyphens or underscores.

    Args:
        settings: parameters of the experiment's `run`; the defaults are those of the textbook.

    Returns:
        An `Experiment`: numbers, tables, verdict and a figure.

    Raises:
        RecipeError: no experiment or setting has that name, or the experiment cannot be run with this value.
    """
    module = name.replace("-", "_")
    if module not in CLAIMS:
        hint = near(module, CLAIMS)
        raise RecipeError(expected="an experiment of the lab", found=repr(name), where="lab", hint=hint)
    run: Callable[..., Any] = importlib.import_module(f"headstart.lab.{module}").run
    _check(module, run.__kwdefaults__ or {}, settings)
    try:
        return run(**settings)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, IndexError) as error:
        if not settings:
            raise  # the default settings: our bug
        raise RecipeError(
            expected="settings that the experiment can be run with", found=f"{settings}: {error}", where=f"lab {module}"
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
