"""The page's own files: what the page must know, a policy that lets nothing in from elsewhere, and the page itself."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.onnx_export.page_files import page_files

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
ORT_WEB = os.environ.get("HEADSTART_ORT_WEB", "")  # folder or npm tarball of onnxruntime-web
_PATIENCE = 120_000  # milliseconds


def test_the_page_knows_the_classifier_and_asks_nobody_else(run: hs.Run) -> None:
    files = page_files(run.classifier)
    facts = json.loads(files["classifier.json"])
    text = "\n".join(files[name].decode() for name in ("index.html", "page.js", "page.css"))

    assert list(files)[-1] == "index.html"
    assert facts["classes"] == list(run.classifier.classes)
    assert facts["background"] == list(run.classifier.card.background)
    assert run.classifier.familiarity is not None
    assert facts["threshold"] == run.classifier.familiarity.threshold
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in text
    assert "'unsafe-eval'" not in text
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"innerHTML|\bon\w+=", text)


@pytest.fixture
def page(run_folder: Path, tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A page in a folder, its address on this machine, and what was asked for there."""
    pytest.importorskip("onnxscript")
    folder, asked = tmp_path / "page", list[str]()
    hs.export(run_folder, to="page", ort_web=ORT_WEB, out=folder, on_event=None)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def _odd(folder: Path) -> list[Path]:
    """A photograph on its side, a transparent image, a grey one."""
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.jpg", quality=95, exif=exif)
    alpha = np.where(np.arange(180) < 90, 0, 255).astype(np.uint8)[None, :, None].repeat(120, axis=0)
    Image.fromarray(np.concatenate([pixels, alpha], axis=2), "RGBA").save(folder / "clear.png")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    return [folder / name for name in ("turned.jpg", "clear.png", "grey.png")]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.skipif(not ORT_WEB, reason="set HEADSTART_ORT_WEB: npm pack onnxruntime-web")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_in_a_browser_it_gives_predicts_answers(
    page: tuple[Path, str, list[str]], photos: Path, tmp_path: Path
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    folder, address, asked = page
    images = [*sorted(photos.rglob("*.png"))[::5], *_odd(tmp_path)]
    foreign, errors = list[str](), list[str]()
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        tab = browser.new_page()
        tab.on(
            "request", lambda one: foreign.append(one.url) if not one.url.startswith((address, "blob:", "data:")) else 0
        )
        tab.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
        tab.on("pageerror", lambda one: errors.append(str(one)))
        tab.goto(f"{address}/index.html")
        tab.wait_for_selector("body[data-ready]", timeout=_PATIENCE)
        assert tab.inner_text("#status") == "Ready."
        tab.set_input_files("#files", [str(path) for path in images])
        tab.locator("article[data-done]").nth(len(images) - 1).wait_for(timeout=_PATIENCE)
        found = {
            card.query_selector(".name").inner_text(): json.loads(
                card.query_selector("[data-probabilities]").get_attribute("data-probabilities")
            )
            for card in tab.query_selector_all("article")
        }
        tab.click("#camera")
        tab.wait_for_selector("#live-answer[data-probabilities]", timeout=_PATIENCE)
        tab.click("#camera")
        if shot := os.environ.get("HEADSTART_SCREENSHOT"):
            tab.screenshot(path=shot, full_page=True)
        tab.set_input_files("#files", [str(folder / "page.css")])
        tab.wait_for_selector("text=Cannot be opened", timeout=_PATIENCE)
        browser.close()

    assert foreign == []
    assert errors == []
    assert {path.partition("?")[0] for path in asked if "parity" in path} == set()
    classes = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["classes"]
    for image, expected in zip(images, hs.predict(folder / "classifier.onnx", images, on_event=None), strict=True):
        row = [expected.probabilities[name] for name in classes]
        assert found[image.name] == pytest.approx(row, abs=1e-6)
