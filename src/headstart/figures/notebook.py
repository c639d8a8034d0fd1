"""Figures in a notebook: pyplot owns them there, so that a cell shows them and `plt.title` and `plt.savefig` find them.

Elsewhere, in a script or a report, no figure belongs to pyplot: none opens a window, and none stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib
from matplotlib.figure import Figure

BACKENDS = ("inline", "ipympl", "widget", "nbagg", "notebook")
"""Words in the names of matplotlib's backends that draw into a notebook; all others draw into windows or files."""

_owned: ContextVar[list[Figure] | None] = ContextVar("owned", default=None)


class CellFigure(Figure):
    """A figure that is shown once, also where it is the last expression of a cell as well as a figure of pyplot."""

    def _repr_mimebundle_(self, **_options: object) -> dict[str, Any]:
        from matplotlib import pyplot

        pyplot.close(self)  # it is displayed just now, by IPython's own means; pyplot would show it at the cell's end
        return {}


@contextmanager
def shown_in_notebook() -> Iterator[None]:
    """Inside the block new figures belong to pyplot if this is a notebook; after an error none of them is left."""
    if not any(word in backend() for word in BACKENDS):
        yield
        return
    made: list[Figure] = []
    token = _owned.set(made)
    try:
        yield
    except BaseException:
        from matplotlib import pyplot

        for figure in made:
            pyplot.close(figure)
        raise
    finally:
        _owned.reset(token)


def make_figure(**options: Any) -> Figure:
    """A matplotlib Figure with these options; inside `shown_in_notebook` the current one of pyplot."""
    made = _owned.get()
    if made is None:
        return Figure(**options)
    from matplotlib import pyplot

    figure = pyplot.figure(FigureClass=CellFigure if "inline" in backend() else Figure, **options)
    made.append(figure)
    return figure


def backend() -> str:
    """The name of matplotlib's backend, in lower case; empty before one is chosen, which asking does not do."""
    name: object = dict.__getitem__(matplotlib.rcParams, "backend")
    return name.lower() if isinstance(name, str) else ""
