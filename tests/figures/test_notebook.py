"""Figures belong to pyplot in a notebook, and only there; none is left behind by an error."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from headstart.figures.notebook import CellFigure, backend, make_figure, shown_in_notebook
from headstart.figures.style import new_figure

INLINE = "module://matplotlib_inline.backend_inline"


@pytest.fixture
def inline() -> Iterator[None]:
    """The backend of a notebook, without a notebook."""
    pytest.importorskip("matplotlib_inline")
    before = dict.__getitem__(matplotlib.rcParams, "backend")
    pyplot.switch_backend(INLINE)
    yield
    pyplot.close("all")
    matplotlib.rcParams["backend"] = before if isinstance(before, str) else "agg"
    pyplot.switch_backend(matplotlib.rcParams["backend"])


def test_outside_a_notebook_a_figure_is_no_ones() -> None:
    with shown_in_notebook():
        figure = new_figure(100, 50)
    assert type(figure) is Figure
    assert pyplot.get_fignums() == []


@pytest.mark.usefixtures("inline")
def test_in_a_notebook_the_figure_is_pyplots_current_one_as_large_and_white_as_ever() -> None:
    assert "inline" in backend()
    with shown_in_notebook():
        figure = new_figure(144, 72)
    assert pyplot.gcf() is figure
    assert figure.get_size_inches().tolist() == [2, 1]
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert isinstance(figure.get_layout_engine(), type(Figure(layout="constrained").get_layout_engine()))


@pytest.mark.usefixtures("inline")
def test_figures_outside_the_block_such_as_a_reports_are_not_shown() -> None:
    with shown_in_notebook():
        pass
    assert type(new_figure(100, 50)) is Figure
    assert pyplot.get_fignums() == []


@pytest.mark.usefixtures("inline")
def test_an_error_leaves_no_figure_and_those_of_the_user_alone() -> None:
    own = pyplot.figure()

    def fail() -> None:
        with shown_in_notebook():
            new_figure(100, 50)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert pyplot.get_fignums() == [own.number]


@pytest.mark.usefixtures("inline")
def test_a_figure_that_is_displayed_is_not_shown_again_at_the_end_of_the_cell() -> None:
    with shown_in_notebook():
        figure = make_figure()
    assert isinstance(figure, CellFigure)
    assert figure._repr_mimebundle_(include=None, exclude=None) == {}  # its PNG comes from IPython's formatter
    assert pyplot.get_fignums() == []
    figure.draw_without_rendering()
