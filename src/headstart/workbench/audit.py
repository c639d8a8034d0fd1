"""audit: what is wrong with a set of images; each is opened once, nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from headstart.data.audit.audit import Audit
from headstart.data.finding import Finding
from headstart.data.python_source import Source
from headstart.distributed.engine import On, cluster_of
from headstart.errors import RecipeError
from headstart.options import AuditOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted
from headstart.workbench.session import Session
from headstart.workbench.shortcuts import audited_shortcuts


@takes(AuditOptions)
def audit(
    source: Source,
    *,
    shortcuts: bool = False,
    backbone: str = "auto",
    weights: str | None = None,
    on: On | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AuditOptions],
) -> Audit:  # seven and options: three of them are for shortcuts alone
    """Find unreadable images, duplicates, leaks, groups across splits, conflicting labels, imbalance and more.

    Args:
        source: as for `train`.
        shortcuts: also look for what tells the classes apart without the subject: metadata, colours, border, a picture
            of 8 px, session; compared with the features of a network, which are computed.
        backbone, weights: with `shortcuts`: the network.
        on: where images are decoded, see `train`; None: this process.

    Raises:
        DataError: there is nothing, no image, or an archive that cannot be unpacked. Whatever else would stop a
            training is a problem in the result.
        RecipeError: an option is unknown or its value not allowed.
    """
    session = Session(recipe, {**options, "backbone": backbone, "weights": weights}, on_event)
    for flag, chosen in (("--backbone", backbone != "auto"), ("--weights", weights is not None)):
        if chosen and not shortcuts:
            raise RecipeError(
                expected=f"--shortcuts with {flag}",
                found="none",
                where=flag,
                hint="Add --shortcuts, or leave this option out.",
            )
    if on is not None:
        from headstart.workbench.on_cluster import audit_on, source_path  # they need pyarrow

        if shortcuts:
            raise RecipeError(
                expected="--shortcuts, or --on", found="both", where="--on", hint="Leave out one of them."
            )
        return audit_on(session, cluster_of(on), source_path(session, source))
    audited = session.dataset(source, stop=False, reviewed=True)
    if session.recipe.review is not None:
        here = len(session.decisions.by_content.keys() & set(audited.contents))
        session.notice(f"Audited with {counted(len(session.decisions), 'decision')} of your review ({here:,} of images "
                       "that stay in); the files are unchanged.")  # fmt: skip
        if not audited.audit.images:
            left = Finding("no-images", "problem", "No image is left: your decisions leave all of them out.")
            return replace(audited.audit, findings=(*audited.audit.findings, left))
    if not shortcuts:
        return audited.audit
    return replace(audited.audit, findings=(*audited.audit.findings, audited_shortcuts(session, audited)))
