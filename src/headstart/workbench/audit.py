"""audit: what is wrong with a set of images, found by looking at each once; nothing is changed."""

from __future__ import annotations

from pathlib import Path

from headstart.data.audit.audit import Audit
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.prepare import prepare, recipe_from


def audit(
    source: str | Path, *, recipe: Recipe | None = None, on_event: OnEvent = print_event, **knobs: object
) -> Audit:
    """Look for unreadable images, copies, leaks, groups across parts, two labels, imbalance, small classes, odd sizes.

    Args:
        source: as for `train`.
        knobs: fields of Recipe that concern the looking, such as group_by, max_pixels or verify.

    Raises:
        DataError: there is no usable set, or so many unreadable images that the reader is suspected.
        RecipeError: a knob is unknown or its value not allowed.
    """
    return prepare(Path(source), recipe_from(recipe, knobs), on_event).audit
