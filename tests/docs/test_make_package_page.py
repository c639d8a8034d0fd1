"""The page of the package index: the README, and nothing that is dead there."""

from __future__ import annotations

from pathlib import Path

from docs_modules import load
from headstart.recipe_file import tomllib

ROOT = Path(__file__).parents[2]


def test_pictures_and_relative_links_go_and_all_else_stays() -> None:
    readme = (
        "# A\n\nOne [way](docs/a.md), and [a site](https://example.org/a).\n\n![A picture: x](docs/a.png)\n\nEnd.\n"
    )
    page = load("make_package_page").package_page(readme)
    assert page == "# A\n\nOne way, and [a site](https://example.org/a).\n\nEnd.\n"


def test_the_page_of_the_package_is_that_of_this_readme() -> None:
    page = (ROOT / "docs" / "package.md").read_text("utf-8")
    assert page == load("make_package_page").package_page((ROOT / "README.md").read_text("utf-8"))
    assert "](docs/" not in page
    assert "![" not in page
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["readme"] == "docs/package.md"
