"""Inline SVG: a figure as text that is put into a web page, follows its colours, and loads nothing."""

from __future__ import annotations

import html
import io
import re
import warnings

import matplotlib
from matplotlib.figure import Figure

from headstart.figures.ink import VARIABLES

_UNWANTED = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>|<title>.*?</title>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")  # matplotlib escapes < and > in names, so a tag is a tag
_SILENT = {"Date": None, "Creator": None, "Format": None, "Type": None}  # else each drawing of one figure differs


def inline_svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element; letters stay letters, so the page's own fonts draw them.

    Colours of `figures.ink` become the page's CSS variables, with the colour itself where the page has none.

    Args:
        description: what the figure says, in words, for those who do not see it.
    """
    buffer = io.StringIO()
    salt = description  # keeps the ids of two figures of a page apart, and those of one figure the same
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # the page's fonts draw the letters; that matplotlib's own lack one does not matter
        warnings.filterwarnings("ignore", message="Glyph|Matplotlib currently does not support")
        figure.savefig(buffer, format="svg", metadata=_SILENT)
    text = buffer.getvalue()
    body = _UNWANTED.sub("", text[text.index(">", text.index("<svg")) + 1 :])
    width, height = (inches * 72 for inches in figure.get_size_inches())
    opening = (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{html.escape(description)}">'
    )
    return re.sub(r"\n\s*", "\n", opening + _TAG.sub(_for_the_page, body)).strip()


def _for_the_page(match: re.Match[str]) -> str:
    tag = match.group()
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)  # `axes_1` would be in every figure; nothing refers to it
    for colour, variable in VARIABLES.items():
        tag = tag.replace(colour, f"var({variable}, {colour})")
    # matplotlib measures with its own font; what is drawn is the page's
    return re.sub(r"font-family: [^;\"]*;?", "", re.sub(r"font: ([^;\"']*?px)[^;\"]*", r"font-size: \1", tag))
