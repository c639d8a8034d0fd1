"""The looks by name: what each shows, what it needs, and the function that does it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import DataError, RecipeError, near
from headstart.inspection.images import InspectedImages
from headstart.inspection.insight import Insight
from headstart.inspection.subject import Model


@dataclass(frozen=True)
class Look:
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


LOOKS: dict[str, Look] = {
    "preprocessing": Look(
        "whether images arrive as the network was trained to see them", "preprocessing:check_preprocessing", "prepared"
    ),
    "batch-norm": Look("stored batch-norm statistics against your images", "batch_norm:batch_norm_drift"),
    "batch-mode": Look("answers with stored against batch statistics", "mode_gap:mode_gap"),
    "residual": Look("what each residual block adds, and what is lost without it", "residual:residual_blocks"),
    "filters": Look("first-layer filters, near copies, dead ones", "filters:filters"),
    "feature-maps": Look("what every stage makes of an image, and where classes part", "feature_maps:feature_maps"),
    "embedding": Look("the images as the features see them, classes that mix, strangers", "embedding:embedding"),
    "gradients": Look(
        "how alike the gradients at neighbouring inputs are", "gradient_correlation:gradient_correlation", in_all=False
    ),
    "similarity": Look("what training changed, stage by stage", "similarity:similarity", "before"),
    "line": Look("the loss on the line between two sets of weights", "weight_line:weight_line", "before"),
    "plane": Look(
        "the loss around the weights; minutes, for small networks", "weight_plane:weight_plane", in_all=False
    ),
}


def look(name: str, model: Model, images: InspectedImages, *, before: Model | None = None, seed: int = 0) -> Insight:
    """Do one look.

    Args:
        before: the model to compare with, for the looks that compare.

    Raises:
        RecipeError: there is no such look, or nothing to compare with.
        DataError, BackboneError: it cannot be done on this model or these images.
    """
    if name not in LOOKS:
        raise RecipeError(
            expected=f"a look: {', '.join(LOOKS)}, or all", found=repr(name), where="inspect", hint=near(name, LOOKS)
        )
    one = LOOKS[name]
    module, _, function = one.home.partition(":")
    work: Callable[..., Insight] = getattr(importlib.import_module(f"headstart.inspection.{module}"), function)
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


def _seeded(work: Callable[..., Insight], seed: int) -> dict[str, int]:
    return {"seed": seed} if "seed" in inspect.signature(work).parameters else {}
