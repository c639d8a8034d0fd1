"""The looks by name: what each shows, what it needs, and the function that does it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import DataError, RecipeError, near
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model
from headstart.inspection.inspection_result import InspectionResult


@dataclass(frozen=True)
class Analysis:
    """One look.

    Args:
        about: what it shows, a few words. home: `module:function`.
        needs: besides model and images: `labels`, `prepared` images, or `before`, the model to compare with.
        in_all: whether `all` has it: not what takes minutes.
    """

    about: str
    home: str
    needs: str = ""
    in_all: bool = True


ANALYSES: dict[str, Analysis] = {
    "preprocessing": Analysis(
        "whether images arrive as the network was trained to see them",
        "batch_norm.preprocessing_check:check_preprocessing",
        "prepared",
    ),
    "batch-norm": Analysis("stored batch-norm statistics against your images", "batch_norm.drift:batch_norm_drift"),
    "batch-mode": Analysis("answers with stored against batch statistics", "batch_norm.mode_gap:mode_gap"),
    "residual": Analysis(
        "what each residual block adds, and what is lost without it", "residual.blocks:residual_blocks"
    ),
    "filters": Analysis("first-layer filters, near copies, dead ones", "weights.filters:filters"),
    "feature-maps": Analysis(
        "what every stage makes of an image, and where classes part", "features.feature_maps:feature_maps"
    ),
    "embedding": Analysis(
        "the images as the features see them, classes that mix, strangers", "features.embedding:embedding"
    ),
    "gradients": Analysis(
        "how alike the gradients at neighbouring inputs are", "gradients.correlation:gradient_correlation", in_all=False
    ),
    "similarity": Analysis("what training changed, stage by stage", "features.similarity:similarity", "before"),
    "line": Analysis("the loss on the line between two sets of weights", "weights.line:weight_line", "before"),
    "plane": Analysis(
        "the loss around the weights; minutes, for small networks", "weights.plane:weight_plane", in_all=False
    ),
}


def analysis(
    name: str, model: Model, images: InspectedImages, *, before: Model | None = None, seed: int = 0
) -> InspectionResult:
    """Do one look.

    Args:
        before: the model to compare with, for the looks that compare.

    Raises:
        RecipeError: there is no such look, or nothing to compare with.
        DataError, BackboneError: it cannot be done on this model or these images.
    """
    if name not in ANALYSES:
        raise RecipeError(
            expected=f"a look: {', '.join(ANALYSES)}, or all",
            found=repr(name),
            where="inspect",
            hint=near(name, ANALYSES),
        )
    one = ANALYSES[name]
    module, _, function = one.home.partition(":")
    work: Callable[..., InspectionResult] = getattr(importlib.import_module(f"headstart.inspection.{module}"), function)
    if one.needs == "before":
        if before is None:
            raise RecipeError(
                expected="a second model", found="none", where=name, hint="Name the one before with --against FILE."
            )
        return work(before, model, images, **_seeded(work, seed))
    if one.needs == "prepared":
        if images.prepared is None:
            raise DataError(expected="images before normalisation", found="pixels alone", where=name)
        return work(model, images.prepared, **_seeded(work, seed))
    return work(model, images, **_seeded(work, seed))


def _seeded(work: Callable[..., InspectionResult], seed: int) -> dict[str, int]:
    return {"seed": seed} if "seed" in inspect.signature(work).parameters else {}
