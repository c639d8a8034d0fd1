"""The catalogue of analyses: listed without torch, open to others, and run by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.errors import RecipeError
from headstart.inspection.catalogue import ANALYSES, NEEDS, Analysis, find_analysis, register_analysis

OWN = (
    "preprocessing", "batch-norm", "batch-mode", "residual", "filters", "feature-maps", "embedding", "gradients",
    "similarity", "line", "plane",
)  # fmt: skip


def test_the_own_analyses_come_first_and_say_what_they_show():
    assert tuple(ANALYSES)[: len(OWN)] == OWN
    assert all(find_analysis(name).about and find_analysis(name).needs in NEEDS for name in OWN)


def test_listing_the_analyses_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys; from headstart.inspection.catalogue import ANALYSES, find_analysis;"
        "print([find_analysis(name).about for name in ANALYSES]); assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_registered_analysis_is_found_with_its_first_docstring_line():
    @register_analysis("test-first-line", needs="labels", in_all=False)
    def first_line(model, images):
        """Count the images.

        And more.
        """

    assert find_analysis("test-first-line") == Analysis("Count the images", first_line, needs="labels", in_all=False)


def test_a_name_that_is_taken_and_an_unknown_need_are_refused():
    with pytest.raises(RecipeError, match="registered already"):
        register_analysis("filters", about="other filters")(print)
    with pytest.raises(RecipeError, match="'pixels'"):
        register_analysis("test-needs", needs="pixels")


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(RecipeError, match="Did you mean filters"):
        find_analysis("filtres")
