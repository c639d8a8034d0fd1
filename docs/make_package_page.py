"""Writes docs/package.md, the page of the package index: the README without pictures and links into the repository.

python docs/make_package_page.py

An index shows relative links as dead ones, and the address of the repository is its owner's to choose.
"""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
PAGE = Path(__file__).resolve().parent / "package.md"


def package_page(readme: str) -> str:
    """The README's text for a page that has no other file beside it."""
    without_pictures = re.sub(r"^!\[[^\]]*\]\([^)]*\)\n\n?", "", readme, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", without_pictures)


if __name__ == "__main__":
    PAGE.write_text(package_page(README.read_text(encoding="utf-8")), encoding="utf-8")
