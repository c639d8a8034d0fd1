"""Abbreviations on pages are explained where they are first used, and none is forgotten."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headstart.reports import page as page_module
from headstart.reports.page import ABBREVIATIONS, explain_abbreviations
from headstart.workbench.run import Run

REPORTS = Path(page_module.__file__).parent
# formats, units and names that have no longer form which anyone uses, and words of a sentence in capitals
_WORDS = frozenset(
    ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "ICO", "MIT", "BSD", "MB", "GB", "II", "III", "IV", "OK", "FILE")
)
_ABBREVIATION = re.compile(r"(?<![\w./-])(?:[A-Z]{2,6}s?|kNN|F1|SHA-256|Grad-CAM|ReLU|GELU|std|px)(?![\w-])")


def test_the_first_use_is_explained_and_later_ones_are_left() -> None:
    page = explain_abbreviations("<p>Macro F1 is a mean of F1.</p><p>F1</p>")

    assert page.count("<abbr") == 1
    assert page.startswith('<p>Macro <abbr title="F1 score: harmonic mean of precision and recall">F1</abbr> is')


def test_names_of_users_figures_and_commands_stay_as_they_are() -> None:
    page = (
        "<title>F1</title><style>.F1{}</style><bdi>kNN</bdi><svg><text>F1</text></svg><code>--x ECE</code>"
        '<abbr title="x">PCA</abbr><img alt="F1" src="data:F1">plain'
    )

    assert explain_abbreviations(page) == page


def test_parts_of_words_and_paths_are_no_abbreviations() -> None:
    text = "<p>F12, standard, KNN, run/px, stdev, MACHINE, 1.std, non-MAC-like</p>"

    assert explain_abbreviations(text) == text


class _Text(HTMLParser):
    """The words of a page outside of code, figures and names of users; those in an abbr with a title apart."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.found: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("style", "svg", "code", "bdi", "title") or (tag == "abbr" and dict(attributes).get("title")):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not set(self.inside) - {"abbr"}:
            self.found += [(word, bool(self.inside)) for word in _ABBREVIATION.findall(data)]


def unexplained(page: str) -> list[str]:
    """Abbreviations whose first use has no explanation."""
    reader, first = _Text(), dict[str, bool]()
    reader.feed(page)
    for word, explained in reader.found:
        first.setdefault(word, explained)
    return [word for word, explained in first.items() if not explained and word not in _WORDS]


def test_the_scan_finds_what_is_not_explained() -> None:
    assert unexplained('<p>The ECE and the <abbr title="x">LOO</abbr> of a PNG, LOO</p><p>XYZ</p>') == ["ECE", "XYZ"]


@pytest.mark.parametrize("template", sorted(REPORTS.glob("*.html")), ids=lambda path: path.stem)
def test_every_abbreviation_of_a_template_is_explained(template: Path) -> None:
    words = re.sub(r"\{[{%#].*?[}%#]\}", " ", template.read_text("utf-8"))

    assert unexplained(explain_abbreviations(words)) == []


@pytest.mark.parametrize("name", ["report.html", "inside.html"])
def test_every_abbreviation_of_a_run_is_explained(run: Run, name: str) -> None:
    path = Path(run.folder) / name
    if not path.exists():
        pytest.skip("this run was made without the page")
    page = path.read_text("utf-8")

    assert unexplained(page) == []
    assert "<abbr" in page


def test_explanations_are_words_and_not_other_abbreviations_alone() -> None:
    for word, meaning in ABBREVIATIONS.items():
        assert len(meaning) > len(word)
        assert not set(_ABBREVIATION.findall(meaning)) - set(ABBREVIATIONS)
