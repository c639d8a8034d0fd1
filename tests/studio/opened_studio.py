"""A studio in Debian's chromium with a fake camera: fixtures and steps that the tests in a browser share."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from drawn_photos import draw_folder

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytest.importorskip("uvicorn")

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
AXE = os.environ.get("HEADSTART_AXE", "")  # axe.min.js of the npm package axe-core
_VIOLATIONS = "axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]))"
_PATIENCE = 60_000  # milliseconds

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Studio:
    """A studio that runs, and how it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "headstart", "studio", str(folder), "--port", "0", "--no-browser", "--offline"]
        self.process = subprocess.Popen([*command, "--backbone", "embedded"], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                self.address, self.opened = found[0], line.strip().split()[-1]
                return
        raise AssertionError("no address")

    def end(self, by: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(by)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("browser") / "set"
    draw_folder(folder, per_class=12)
    hs.train(folder, out=folder / "runs" / "first", backbone="embedded", on_event=None)
    running = Studio(folder)
    yield running
    running.end()


@pytest.fixture(scope="module")
def context(browser: Any, studio: Studio) -> Iterator[Any]:
    """One visitor, with the cookie; whatever asks another host or goes wrong in the page is kept."""
    made = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    made.set_default_timeout(_PATIENCE)
    made.asked, made.wrong = [], []
    made.on("request", lambda request: made.asked.append(request.url))
    made.on("weberror", lambda error: made.wrong.append(str(error.error)))
    made.new_page().goto(studio.opened)
    yield made
    made.close()


def is_gone(message: Any) -> bool:
    """Whether the console says that a picture could not be loaded, since it was deleted meanwhile."""
    return " 422 " in message.text and "/api/picture/" in message.location["url"]


@pytest.fixture
def page(context: Any, studio: Studio) -> Iterator[Any]:
    opened = context.new_page()
    opened.on(
        "console",
        lambda one: (
            context.wrong.append(f"{one.text} {one.location}") if one.type == "error" and not is_gone(one) else None
        ),
    )
    opened.goto(f"{studio.address}#collect")
    opened.wait_for_selector(".class")
    yield opened
    opened.close()
    wrong, context.wrong[:] = list(context.wrong), []  # one that fails does not fail the next
    assert wrong == [], wrong
    assert {re.match(r"(\w+:)(//[^/]*)?", url)[0] for url in context.asked} <= {  # type: ignore[index]
        studio.address.rstrip("/"), "blob:", "data:"}  # fmt: skip


def show(page: Any, studio: Studio, name: str) -> None:
    page.goto(f"{studio.address}#{name}")
    page.wait_for_selector(f'nav a[href="#{name}"][aria-current=page]')


def wait(page: Any, expression: str) -> None:
    """Until an expression of the page is true; playwright's own waiting evaluates text, which the page forbids."""
    end = time.monotonic() + _PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression} did not become true; the page says {page.inner_text('body')!r}"
        page.wait_for_timeout(100)


def undo(page: Any, what: str = "", *, by_button: bool = False) -> None:
    """Undo the last change and wait until the page says so: the folder is then as it was."""
    page.evaluate("document.querySelector('#said').replaceChildren()")  # what was said before is no answer
    if by_button:
        page.get_by_role("button", name="Undo").first.click()
    else:
        page.keyboard.press("Control+z")
    wait(page, f"document.querySelector('#said').textContent.includes('Undone: {what}')")


def post_class(page: Any, name: str) -> None:
    page.evaluate(
        "name => import('/static/api.js').then((api) => api.post('/api/classes', { name })).catch(() => 0)", name
    )


def drop(page: Any, paths: list[Path], onto: str) -> None:
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(
        """([files, onto]) => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) {
                const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            const target = document.querySelector(onto);
            target.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        [files, onto],
    )


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.is_file())


def violations(page: Any) -> Any:
    """What axe-core finds on the page as it is now; nothing where HEADSTART_AXE names no file."""
    if not Path(AXE).is_file():
        return []
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    return page.evaluate(_VIOLATIONS)
