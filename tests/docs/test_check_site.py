"""The check of the built site finds dead links, large pages, and what is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docs_modules import load

PAGE = '<html><body id="top"><a href="other.html#part">x</a><a href="https://example.org/x">y</a>{}</body></html>'


@pytest.fixture
def problems(tmp_path: Path) -> Any:
    """`problems(html)` of a site of two pages, the first with this addition."""
    (tmp_path / "other.html").write_text('<h2 id="part">Part</h2><a href="#part">up</a>')
    (tmp_path / "own.css").write_text("body { background: url(own.png) }")

    def found(addition: str) -> list[str]:
        (tmp_path / "index.html").write_text(PAGE.format(addition))
        return list(load("check_site").problems(tmp_path))

    return found


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ('<a href="gone.html">x</a>', "index.html links to gone.html, which is not there"),
        ('<a href="other.html#nowhere">x</a>', "index.html links to other.html#nowhere, which has no such anchor"),
        ('<a href="#nowhere">x</a>', "index.html links to #nowhere, which has no such anchor"),
        ('<script src="https://cdn.example.org/a.js"></script>', "index.html loads https://cdn.example.org/a.js"),
        ('<script src="//cdn.example.org/a.js"></script>', "index.html loads //cdn.example.org/a.js"),
        ('<link rel="stylesheet" href="https://fonts.example.org/f.css">', "loads https://fonts.example.org/f.css"),
        ('<img src="gone.png">', "index.html loads gone.png, which is not there"),
        ("x" * 300_001, "at most 300,000 are allowed"),
        ("keep, and reject with –reject", "index.html shows –reject, with a dash in place of hyphens"),
    ],
)
def test_what_is_wrong_is_found(problems: Any, addition: str, said: str) -> None:
    (problem,) = problems(addition)
    assert said in problem


def test_what_is_right_passes(problems: Any, tmp_path: Path) -> None:
    right = (  # a dash between words and numbers is one
        "<p>Clopper–Pearson, 1–n</p>"
        '<a href="#top">x</a><link rel="canonical" href="https://example.org/"><link rel="stylesheet" href="own.css">'
    )
    assert problems(right) == []

    (tmp_path / "own.css").write_text("@font-face { src: url('https://fonts.example.org/f.woff2') }")
    assert problems(right) == ["own.css loads a file from elsewhere"]
