"""The order of arguments, model first and images after it: who swaps them is shown the right order."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from headstart.backbones.file_kind import kind_of
from headstart.classifier.classifier import Classifier
from headstart.classifier.file import FILE_NAME
from headstart.errors import RecipeError
from headstart.untrusted import Untrusted


def is_trained(value: object) -> bool:
    """Whether a value is a trained classifier: a loaded one, a run, a run's folder, or a file of safetensors."""
    if isinstance(value, Classifier):
        return True
    path = _path(value)
    if path is None or not os.path.exists(path):  # noqa: PTH110  # False for names that no disk can hold
        return False
    try:
        return (path / FILE_NAME).is_file() if path.is_dir() else kind_of(path) == "safetensors"
    except (OSError, Untrusted):
        return False


def check_order(verb: str, classifier: object, images: object) -> None:
    """See that the classifier comes first.

    Args:
        verb: the command, for the error. images: what was given as images, one or a list.

    Raises:
        RecipeError: a classifier is among the images, and none stands where it belongs.
    """
    if is_trained(classifier):
        return
    several = list(images) if isinstance(images, (list, tuple)) else [images]
    at = next((i for i, image in enumerate(several) if is_trained(image)), None)
    if at is None:
        return
    rest = [classifier, *several[:at], *several[at + 1 :]]
    raise _swapped(
        verb,
        expected="a classifier, then images",
        found=f"{_named(classifier)} first, and the classifier {_named(several[at])} after it",
        right=[several[at], *rest],
    )


def check_analysis_order(what: object, model: object, source: object, *, names: Collection[str]) -> None:
    """See that `inspect` is given an analysis, a model and images in this order.

    Args:
        names: of the analyses, `all` among them.

    Raises:
        RecipeError: the three are there, in another order.
    """
    given = [what, model, source]
    if what not in names:
        at = next((i for i, one in enumerate(given) if isinstance(one, (str, Path)) and str(one) in names), None)
        if at is None:
            return
        given.insert(0, given.pop(at))
    if not is_trained(given[1]) and is_trained(given[2]):
        given[1], given[2] = given[2], given[1]
    if given != [what, model, source]:
        found = ", ".join(_named(one) for one in (what, model, source))
        raise _swapped("inspect", expected="an analysis, a model, then images", found=found, right=given)


def _swapped(verb: str, *, expected: str, found: str, right: Sequence[Any]) -> RecipeError:
    words = ["headstart", verb, *map(_named, right)]
    return RecipeError(
        expected=expected,
        found=found,
        where=f"headstart {verb}: the order of the arguments",
        hint=f"The right order: {shlex.join(words)}",
    )


def _path(value: object) -> Path | None:
    """The path that is meant; a Run stands for its folder."""
    value = getattr(value, "folder", value)
    return Path(value) if isinstance(value, (str, Path)) and "://" not in str(value) else None


def _named(value: object) -> str:
    """How a command line names it; a loaded value by what it is."""
    path = _path(value)
    return str(path if path is not None else value if isinstance(value, str) else type(value).__name__)
