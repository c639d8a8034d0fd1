"""Page: one HTML file that needs no network and no script, from a template of this folder; whole or not at all."""

from __future__ import annotations

import uuid
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from headstart.errors import RunError, shown
from headstart.reports import words


def write_page(path: Path, template: str, view: dict[str, object]) -> Path:
    """Fill a template in and write it; every text from outside is escaped, its control characters shown.

    Args:
        template: its name, such as `report.html`. view: everything that it names; `style` is added.

    Raises:
        RunError: the file cannot be written there.
    """
    text = _template(template).render(**view, style=Markup(_file("report.css")))
    try:
        _replace(path, text)
    except OSError as error:
        raise RunError(
            expected="a place for the page", found=error.strerror or str(error), where=path, hint="Free it or make it."
        ) from error
    return path


def _template(name: str) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _shown
    for one in (words.percent, words.span, words.duration, words.counted):
        environment.filters[one.__name__] = one
    return environment.from_string(_file(name))


def _shown(value: object) -> object:
    """Every text that is filled in passes here: a name from outside cannot turn the page's writing direction."""
    if type(value) is not str:  # numbers, and Markup, which the template made itself
        return value
    return words.NBSP.join(shown(part) for part in value.split(words.NBSP))


def _file(name: str) -> str:
    return resources.files("headstart.reports").joinpath(name).read_text(encoding="utf-8")


def _replace(path: Path, text: str) -> None:
    """Write beside the place and move there, so that a reader never sees half a report."""
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except BaseException:  # Ctrl-C too leaves nothing behind
        part.unlink(missing_ok=True)
        raise
