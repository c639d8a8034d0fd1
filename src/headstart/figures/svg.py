"""Inline SVG: a figure as text inside a web page; it follows the page's colours and fonts and loads nothing."""

from __future__ import annotations

import html
import io
import os
import re
import warnings

import matplotlib
from matplotlib.figure import Figure

from headstart.figures.style import CSS_VARIABLES, TEXT
from headstart.runtime import collection_paused

IMAGE_DPI = 130  # of photographs and maps inside a figure: sharp on a laptop, where the page shows 96 to the inch
_UNWANTED = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>|<title>.*?</title>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")  # matplotlib escapes < and > in names, so a tag is a tag
_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_SILENT = {"Date": None, "Creator": None, "Format": None, "Type": None}  # else each drawing of one figure differs
_DATE = "SOURCE_DATE_EPOCH"  # of builds that are to be the same each time: seconds since 1970
_DEFAULT = "#000000"  # what matplotlib draws where a figure does not say a colour


@collection_paused()  # a figure makes some 100,000 values: two searches through all of memory, 0.2 s each
def inline_svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element without a ground; letters stay letters, so the page's own fonts draw them.

    Colours of `figures.style` become the page's CSS variables, with the colour itself where the page has none.

    Args:
        description: the figure in words, for those who cannot see it.
    """
    buffer = io.StringIO()
    salt = description  # keeps the ids of two figures of a page apart, and those of one figure the same
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # the page's fonts draw the letters; that matplotlib's own lack one does not matter
        warnings.filterwarnings("ignore", message="Glyph|Matplotlib currently does not support")
        _forget_odd_date()
        figure.savefig(buffer, format="svg", dpi=IMAGE_DPI, metadata=_SILENT, transparent=True)
    text = buffer.getvalue()
    body = _UNWANTED.sub("", text[text.index(">", text.index("<svg")) + 1 :])
    width, height = (inches * 72 for inches in figure.get_size_inches())
    opening = (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="--width:{width:g}px" role="img" '
        f'aria-label="{html.escape(description)}">'
    )
    return re.sub(r"\n\s*", "\n", opening + _TAG.sub(_adapt, body)).strip()


def _adapt(match: re.Match[str]) -> str:
    """A tag with the page's colours and fonts."""
    tag = match.group()
    if tag.startswith("<image"):
        return tag
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)  # `axes_1` would be in every figure; nothing refers to it
    tag = _COLOR.sub(_variable, tag)
    # matplotlib measures with its own font; what is drawn is the page's
    return re.sub(r"font-family: [^;\"]*;?", "", re.sub(r"font: ([^;\"']*?px)[^;\"]*", r"font-size: \1", tag))


def _variable(match: re.Match[str]) -> str:
    color = match.group()
    variable = CSS_VARIABLES.get(TEXT if color == _DEFAULT else color)
    return f"var({variable}, {color})" if variable else color


def _forget_odd_date() -> None:
    """Matplotlib reads this even where it writes no date, and raises ValueError where it is no number."""
    if not os.environ.get(_DATE, "0").isdecimal():
        del os.environ[_DATE]
