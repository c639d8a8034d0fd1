"""The options that say where the work of a command runs: --on and what belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.errors import RecipeError

WORKERS = "Workers"  # the panel of these options in --help

On = Annotated[
    str | None,
    typer.Option(
        "--on", help="Run on workers: local (processes), ray or spark. Default: this process.", rich_help_panel=WORKERS
    ),
]
Address = Annotated[str, typer.Option(help="With --on ray or spark: a running cluster.", rich_help_panel=WORKERS)]
Processes = Annotated[
    int, typer.Option(help="With --on: workers; 0: one for each core.", min=0, rich_help_panel=WORKERS)
]
Shards = Annotated[
    Path | None,
    typer.Option(
        help="With --on: folder that all workers share, for results; a second call resumes. Default: in the cache.",
        rich_help_panel=WORKERS,
    ),
]
HeldOut = Annotated[
    str,
    typer.Option(
        help="With --on: how lambda is chosen: left-out (as without --on) or folds (from statistics alone).",
        rich_help_panel=WORKERS,
    ),
]


def cluster(on: str | None, **given: Any) -> Any:
    """The Cluster of these options; None without --on.

    Args:
        given: address, processes, shards, held_out, as far as the command has them.

    Raises:
        RecipeError: an option needs --on.
    """
    usual = {"address": "", "processes": 0, "shards": None, "held_out": "left-out"}
    changed = {name: value for name, value in given.items() if value != usual[name]}
    if on is None:
        if changed:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
            raise RecipeError(
                expected="--on local, ray or spark",
                found=f"{flags} without --on",
                where="--on",
                hint="Add --on local for processes on this machine, or leave these options out.",
            )
        return None
    from headstart.distributed.engine import Cluster

    return Cluster(engine=on, **changed)
