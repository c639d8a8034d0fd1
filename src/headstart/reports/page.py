"""Page: one HTML file without network or script, filled in from a template of this folder; whole or not at all."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from headstart.errors import shown
from headstart.files import FOR_RUN, write_text
from headstart.reports.interpretation import ends
from headstart.wording import NBSP, counted, duration, percent


def write_page(path: Path, template: str, view: dict[str, object]) -> Path:
    """Fill in a template and write it; every text from outside is escaped, its control characters shown.

    Args:
        template: its name, such as `report.html`. view: everything that it names; `style` is added.

    Raises:
        RunError: the file cannot be written there.
    """
    text = _template(template).render(**view, style=Markup(_file("report.css")))
    write_text(path, text, expected="a page that can be written", hint=FOR_RUN)
    return path


@functools.cache  # compiling it takes as long as drawing a figure
def _template(name: str) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _safe
    environment.filters |= {"percent": percent, "ends": ends, "duration": duration, "counted": counted}
    return environment.from_string(_file("macros.html") + _file(name))


def _safe(value: object) -> object:
    """Every text that is filled in passes here: a name from outside cannot turn the page's writing direction."""
    if type(value) is not str or value.isprintable():  # numbers, and Markup, which headstart made itself
        return value
    return NBSP.join(shown(words) for words in value.split(NBSP))


def _file(name: str) -> str:
    return resources.files("headstart.reports").joinpath(name).read_text(encoding="utf-8")
