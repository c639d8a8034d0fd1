"""Inline SVG: one element that describes itself, loads nothing, and follows the colours of its page."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from headstart.figures.confusion import confusion_figure
from headstart.figures.panels import ImagePlot, panels_figure
from headstart.figures.reliability import ReliabilityPoint, reliability_figure
from headstart.figures.style import BLUE, CSS_VARIABLES, new_figure
from headstart.figures.svg import inline_svg

POINTS = (
    ReliabilityPoint(low=0.4, high=0.6, count=10, confidence=0.52, accuracy=0.4, accuracy_low=0.17, accuracy_high=0.69),
    ReliabilityPoint(
        low=0.8, high=1.0, count=40, confidence=0.95, accuracy=0.975, accuracy_low=0.87, accuracy_high=0.996
    ),
)


def test_inline_svg_is_one_element_that_describes_itself_and_loads_nothing() -> None:
    text = inline_svg(reliability_figure(POINTS), 'what <it> "shows" & why')

    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'what <it> "shows" & why'
    assert root.get("role") == "img"
    addresses = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert all((one or other).startswith("#") for one, other in addresses)
    assert "<!--" not in text
    assert "<style" not in text


def test_colours_follow_the_page_but_never_inside_a_name() -> None:
    text = inline_svg(confusion_figure(((1, 0), (0, 1)), (f"fill: {BLUE}", "b")), "two classes")

    assert f"fill: var(--blue, {BLUE})" in text
    assert f">fill: {BLUE}<" in text
    assert not re.search(rf"(fill|stroke): {BLUE}[;\"]", text)


@pytest.mark.slow
def test_two_figures_of_one_page_share_no_ids_and_one_figure_is_always_the_same_text() -> None:
    one = inline_svg(reliability_figure(POINTS), "one")
    other = inline_svg(reliability_figure(POINTS), "other")

    ids = re.findall(r'id="([^"]*)"', one + other)
    assert ids
    assert len(set(ids)) == len(ids)
    assert inline_svg(reliability_figure(POINTS), "one") == one


@pytest.mark.slow
def test_drawing_never_imports_pyplot() -> None:
    code = (
        "import sys\n"
        "from headstart.figures.confusion import confusion_figure\n"
        "from headstart.figures.svg import inline_svg\n"
        "inline_svg(confusion_figure(((1, 0), (0, 1)), 'ab'), 'x')\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_figure_has_no_ground_and_no_colour_that_a_dark_page_would_swallow() -> None:
    figure = panels_figure([ImagePlot("map", np.eye(3)), ImagePlot("photo", np.ones((3, 3, 3)))])
    figure.axes[0].plot([0, 1], [0, 1], color="black")

    text = inline_svg(figure, "two images")

    tags = re.sub(r"<image[^>]*>", "", text)
    fixed = {found.group() for found in re.finditer(r"(?<!, )#[0-9a-f]{6}", tags)}
    assert not fixed, "every colour is a variable of the page"
    assert "fill: var(--ground" not in tags
    assert "var(--text, #000000)" in tags


def test_every_colour_of_the_style_is_a_variable_of_its_own() -> None:
    assert len(set(CSS_VARIABLES.values())) == len(CSS_VARIABLES)
    figure = new_figure(300, 100)
    for number, color in enumerate(CSS_VARIABLES):
        figure.text(0.1 * number, 0.5, "x", color=color)

    text = inline_svg(figure, "colours")

    assert all(f"var({variable}, {color})" in text for color, variable in CSS_VARIABLES.items())


def test_a_date_that_is_none_stops_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")

    assert inline_svg(new_figure(2, 2), "nothing").startswith("<svg")
