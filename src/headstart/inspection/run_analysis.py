"""Run one analysis by its name."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import numbers
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from headstart.errors import DataError, HeadstartError, RecipeError, kind_and_line
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.inspection.catalogue import ANALYSES, find_analysis
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.module_attributes import attributes_kept
from headstart.plain import to_plain
from headstart.preserve import preserve, torch_settings_kept
from headstart.registry import foreign_code


def run_analysis(
    name: str, model: Model, images: InspectedImages, *, before: Model | None = None, seed: int = 0
) -> InspectionResult:
    """Run one analysis.

    Args:
        before: the model to compare with, for the analyses that need one.

    Raises:
        RecipeError: there is no such analysis, nothing to compare with, or one from outside fails or returns
            something else.
        DataError, BackboneError: it cannot be run on this model or these images.
    """
    analysis = find_analysis(name)
    if analysis.needs == "before" and before is None:
        raise RecipeError(
            expected="a second model", found="none", where=name, hint="Name the model before with --against FILE."
        )
    _check_images(analysis.needs, images, name)
    models = (before, model) if analysis.needs == "before" and before is not None else (model,)
    if not isinstance(analysis.function, str):
        return _run_foreign(name, analysis.function, models, images, seed=seed)
    function = _imported(analysis.function)
    result: InspectionResult = function(*models, images, **_options(function, seed))
    return result


def _options(function: Callable[..., Any], seed: int) -> dict[str, int]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions of C have none
        return {}
    return {"seed": seed} if "seed" in parameters else {}


def _run_foreign(  # five: an analysis by name and function, and what it is given
    name: str, function: Callable[..., Any], models: Sequence[Model], images: InspectedImages, *, seed: int
) -> InspectionResult:
    """What an analysis from outside found; it works on copies of the images, and the models are as they were."""
    own = replace(
        images,
        pixels=images.pixels.clone(),
        prepared=None if images.prepared is None else images.prepared.clone(),
    )
    networks = [inspected_model(model).network for model in models]
    try:
        with ExitStack() as kept:
            kept.enter_context(torch_settings_kept())
            kept.enter_context(preserve(*networks))
            for network in networks:
                kept.enter_context(attributes_kept(network))
            with foreign_code():
                result = function(*models, own, **_options(function, seed))
                _check_result(result)
    except HeadstartError:
        raise
    except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
        raise RecipeError(
            expected=f"a result of the analysis {name!r} of {ANALYSES.owner(name)}",
            found=kind_and_line(error),
            where="inspect",
            hint="Return headstart.SimpleResult(title, interpretation); correct, update or remove what offers it.",
        ) from error
    found: InspectionResult = result
    return found


def _check_result(result: object) -> None:
    """Refuse what could not be shown, written or drawn later.

    Raises:
        TypeError: it is no result, or a part of it is of another type.
    """
    if not isinstance(result, InspectionResult):
        raise TypeError(f"{type(result).__name__}, expected an InspectionResult")
    for text in (result.title, *result.interpretation, result.description):
        if not isinstance(text, str):
            raise TypeError(f"{type(text).__name__} in the place of a text")
    for table in result.tables:
        if not isinstance(table, Table):
            raise TypeError(f"{type(table).__name__} in the place of a headstart.Table")
        if any(len(row) != len(table.columns) for row in table.rows):
            raise TypeError(
                f"rows of another length than the {len(table.columns)} columns in the table {table.title!r}"
            )
        for cell in itertools.chain.from_iterable(table.rows):
            if cell is not None and not isinstance(cell, (str, numbers.Real)):
                raise TypeError(f"a cell of {type(cell).__name__} in the table {table.title!r}")
    figure = result.figure()
    if figure is not None and not isinstance(figure, Figure):
        raise TypeError(f"{type(figure).__name__} in the place of a matplotlib Figure")
    json.dumps(to_plain(result.to_dict()))


def check_prepared(model: Model, images: InspectedImages, *, seed: int = 0) -> PreprocessingCheck:
    """The preprocessing check on images that are known before normalisation.

    Raises:
        DataError: they are not.
    """
    _check_images("prepared", images, "preprocessing")
    assert images.prepared is not None  # checked
    return check_preprocessing(model, images.prepared, seed=seed)


def _check_images(needs: str, images: InspectedImages, name: str) -> None:
    if needs == "prepared" and images.prepared is None:
        raise DataError(expected="images before normalisation", found="normalised pixels only", where=name)
    if needs == "labels" and images.labels is None:
        raise DataError(
            expected="images with labels", found="none", where=name, hint="Put each class in a folder of its name."
        )


def _imported(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(function, str):
        return function
    module, _, attribute = function.partition(":")
    imported: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return imported
