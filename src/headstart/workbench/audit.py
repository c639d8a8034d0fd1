"""audit: what is wrong with a set of images; each is opened once, nothing is changed."""

from __future__ import annotations

from typing_extensions import Unpack

from headstart.data.audit.audit import Audit
from headstart.data.python_source import Source
from headstart.options import AuditOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.session import Session


@takes(AuditOptions)
def audit(
    source: Source,
    *,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AuditOptions],
) -> Audit:
    """Find unreadable images, duplicates, leaks, groups across splits, conflicting labels, imbalance and more.

    Args:
        source: as for `train`.

    Raises:
        DataError: there is nothing, no image, or an archive that cannot be unpacked. Whatever else would stop a
            training is a problem in the result.
        RecipeError: an option is unknown or its value not allowed.
    """
    return Session(recipe, options, on_event).dataset(source, stop=False).audit
