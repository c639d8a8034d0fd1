"""The pages that verbs write, in Chromium: no wider than a phone, light and dark, nothing that axe-core finds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.onnx_export.parity_report import ParityReport, ParityRow
from headstart.reports.parity_page import write_parity_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
AXE = os.environ.get("HEADSTART_AXE", "")  # axe.min.js of the npm package axe-core
_VIOLATIONS = "axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]))"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]


def write_pages(run: hs.Run, folder: Path) -> list[Path]:
    """Each kind of page once."""
    hs.review(run, on_event=None).write_page(folder / "review.html")
    hs.show(run.record["source"], out=folder / "show.html", augmented=True, backbone="embedded", on_event=None)
    rows = (ParityRow("a.png", "ants", "bees", difference=0.1, margin=0.5, pixels=0),)
    report = ParityReport(rows, tolerance=0.005, pixel_tolerance=1, left_out={"b.png": "broken"})
    write_parity_page(folder / "parity.html", report, file="classifier.onnx")
    return [*sorted(folder.glob("*.html")), *sorted(run.folder.glob("*.html"))]


def test_every_page_fits_a_phone_and_can_be_read_by_everyone(run: hs.Run, tmp_path: Path) -> None:
    found: list[Any] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for path in write_pages(run, tmp_path):
            page.goto(path.as_uri())
            for width in (400, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)
                    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    if wide > 0:
                        found.append((path.name, width, f"{wide} px too wide"))
                    if Path(AXE).is_file():
                        page.evaluate(Path(AXE).read_text(encoding="utf-8"))
                        found += [(path.name, width, scheme, one) for one in page.evaluate(_VIOLATIONS)]
        browser.close()
    assert found == []
