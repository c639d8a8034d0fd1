"""Run one analysis by its name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from headstart.errors import DataError, RecipeError
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.inspection.catalogue import find_analysis
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model
from headstart.inspection.inspection_result import InspectionResult


def run_analysis(
    name: str, model: Model, images: InspectedImages, *, before: Model | None = None, seed: int = 0
) -> InspectionResult:
    """Run one analysis.

    Args:
        before: the model to compare with, for the analyses that need one.

    Raises:
        RecipeError: there is no such analysis, nothing to compare with, or it returned something else.
        DataError, BackboneError: it cannot be run on this model or these images.
    """
    analysis = find_analysis(name)
    function = _imported(analysis.function)
    options = {"seed": seed} if "seed" in inspect.signature(function).parameters else {}
    if analysis.needs == "before":
        if before is None:
            raise RecipeError(
                expected="a second model", found="none", where=name, hint="Name the model before with --against FILE."
            )
        result = function(before, model, images, **options)
    else:
        _check_images(analysis.needs, images, name)
        result = function(model, images, **options)
    if not isinstance(result, InspectionResult):
        raise RecipeError(
            expected="an InspectionResult, such as headstart.SimpleResult(title, interpretation)",
            found=type(result).__name__,
            where=f"analysis {name!r}",
        )
    return result


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
