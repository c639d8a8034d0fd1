"""Check the built site: links lead somewhere, pages are small, nothing comes from elsewhere, options are as typed.

python docs/check_site.py docs/_build/html
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGEST = 300_000  # bytes of a page
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "shortcut"}


DASHED = re.compile(r"(?<!\w)–[a-z][\w-]*")  # an option whose hyphens were typeset as one dash


class _Page(HTMLParser):
    """Anchors, links and loaded files of a page, and options that cannot be copied from it."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.dashed: list[str] = []

    def handle_data(self, data: str) -> None:
        self.dashed += DASHED.findall(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        is_loaded = tag != "link" or bool(LOADED_LINKS & set(given.get("rel", "").split()))
        if tag in LOADS and is_loaded and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])


def problems(site: Path) -> Iterator[str]:
    """What is wrong with a built site, one sentence each."""
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        if (size := path.stat().st_size) > LARGEST:
            yield f"{name} has {size:,} bytes; at most {LARGEST:,} are allowed"
        for option in page.dashed:
            yield f"{name} shows {option}, with a dash in place of hyphens"
        for address in page.loads:
            if urlsplit(address).scheme not in ("", "data") or urlsplit(address).netloc:
                yield f"{name} loads {address}"
            elif not urlsplit(address).scheme and not _target(path, address).exists():
                yield f"{name} loads {address}, which is not there"
        for address in page.links:
            if urlsplit(address).scheme or urlsplit(address).netloc:
                continue
            target, anchor = _target(path, address), unquote(urlsplit(address).fragment)
            if not target.exists():
                yield f"{name} links to {address}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name} links to {address}, which has no such anchor"
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8", errors="replace")
        if any(f"url({quote}{start}" in text for quote in ("", "'", '"') for start in ("http", "//")):
            yield f"{sheet.relative_to(site).as_posix()} loads a file from elsewhere"


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _target(page: Path, address: str) -> Path:
    path = unquote(urlsplit(address).path)
    return (page.parent / path).resolve() if path else page


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1])))
    print(*found, sep="\n")
    pages = len(list(Path(sys.argv[1]).rglob("*.html")))
    print(f"{pages} pages checked: {len(found) or 'no'} problems")
    sys.exit(1 if found or not pages else 0)
