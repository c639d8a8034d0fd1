"""Pages: filled in from their template with everything escaped, and written whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from headstart.errors import RunError
from headstart.reports.inside import InsideContents
from headstart.reports.page import write_page


def view(model: str = "net", **figures: Markup) -> dict[str, object]:
    contents = InsideContents(model=model, images="no images", results={}, left_out={"drift": model})
    return {"contents": contents, "figures": figures, "max_rows": 3}


def test_a_page_is_its_template_with_the_style_inside(tmp_path: Path) -> None:
    path = write_page(tmp_path / "inside.html", "inside.html", view())

    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "--ground:" in text
    assert "net: inside the network" in text
    assert [one.name for one in tmp_path.iterdir()] == ["inside.html"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a\u202eb\x07", "a\\u202eb\\x07"),
        ("94.8\xa0% of Ämeise 蚂蚁", "94.8\xa0% of Ämeise 蚂蚁"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_text_is_escaped_and_its_control_characters_are_shown(name: str, written: str, tmp_path: Path) -> None:
    text = write_page(tmp_path / "page.html", "inside.html", view(name)).read_text(encoding="utf-8")

    assert f'<span class="muted">{written}</span>' in text


def test_a_path_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a page that can be written, found No such file.*--out"):
        write_page(tmp_path / "missing" / "page.html", "inside.html", view())


def test_a_name_that_the_template_lacks_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "page.html", "report.html", {"contents": None})

    assert list(tmp_path.iterdir()) == []


def test_a_megabyte_of_figure_is_not_escaped_character_by_character(tmp_path: Path) -> None:
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        write_page(tmp_path / "page.html", "inside.html", view(x=Markup("A" * 1_000_000)))
    finally:
        sys.setprofile(None)

    assert calls < 500_000  # the template's own; one event for each character would be two millions
