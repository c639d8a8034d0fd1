"""Draw the pictures of docs/studio.md: the studio on drawn hands, in Chromium.

PYTHONPATH=src python docs/make_studio_pictures.py [--look-at FOLDER]     (needs playwright and chromium; no network)

With --look-at, every page at three sizes, light and dark, is written there instead, to be looked at after a change.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import headstart as hs
from headstart.data.unlabelled import UNLABELLED, mark_unlabelled
from headstart.datasets.hands import draw_hands

PICTURES = Path(__file__).parent / "pictures"
SIZE = {"width": 1200, "height": 760}
SIZES = ((400, 800), (1200, 760), (2560, 1440))
PAGES = ("collect", "unlabelled", "learn", "look", "try", "deliver", "how")
_PATIENCE = 120_000  # milliseconds


def main() -> None:
    """Lay out hands with wrong and missing labels, open the studio, and keep what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look-at", type=Path, help="folder for every page at three sizes, light and dark")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = lay_hands(Path(made))
        command = [sys.executable, "-m", "headstart", "studio", str(folder), "--port", "0", "--no-browser", "--offline"]
        studio = subprocess.Popen([*command, "--backbone", "embedded"], stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT)  # fmt: skip
        try:
            address = next(found[0] for line in studio.stdout or () if (found := re.search(r"http://\S+", line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                draw(browser.new_page(viewport=SIZE), address, min((folder / "scissors").iterdir()), chosen.look_at)
                browser.close()
        finally:
            studio.terminate()
            studio.wait()


def lay_hands(made: Path) -> Path:
    """Drawn hands, two of them in a wrong class and some in none, with one run."""
    folder = made / "hands"
    draw_hands(made / "drawn")
    shutil.copytree(made / "drawn" / "train", folder)
    for label in ("paper", "rock", "scissors"):
        for image in sorted((folder / label).iterdir())[-8:]:
            shutil.move(image, mark_unlabelled(folder / UNLABELLED) / f"{label[0]}{image.name}")
    for image in sorted((folder / "rock").iterdir())[:2]:
        shutil.move(image, folder / "paper" / f"wrong-{image.name}")
    hs.train(folder, out=folder / "runs" / "first", backbone="embedded", on_event=None)
    return folder


def draw(page: Any, address: str, picture: Path, look_at: Path | None) -> None:
    """Take the pictures once the head is solved."""
    page.goto(address)
    page.wait_for_selector("#live strong", timeout=_PATIENCE)
    page.wait_for_timeout(4000)  # until the audit has looked at the images
    for name in PAGES:
        show(page, f"{address.partition('?')[0]}#{'collect' if name == UNLABELLED else name}", name, picture)
        if look_at is None:
            if name in ("collect", "unlabelled", "learn", "look"):
                page.screenshot(path=PICTURES / f"studio_{name}.png")
            if name == "learn":  # without photographs 256 colours are enough, and a third of the bytes
                with Image.open(PICTURES / "studio_learn.png") as drawn:
                    few = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                few.save(PICTURES / "studio_learn.png", optimize=True)
            continue
        look_at.mkdir(parents=True, exist_ok=True)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(500)
                page.screenshot(path=look_at / f"{name}-{width}-{scheme}.png", full_page=True)
        page.set_viewport_size(SIZE)


def show(page: Any, address: str, name: str, picture: Path) -> None:
    """Open a page and do what fills it."""
    page.goto(address)
    if name == "unlabelled":
        page.locator(f'[data-label="{UNLABELLED}"]').click()
        page.locator(".unlabelled .question", has_text="%").wait_for(timeout=_PATIENCE)
    if name == "learn":
        page.wait_for_selector("[aria-label='Learning curve'] svg", timeout=_PATIENCE)
    if name == "look":
        page.wait_for_selector(".suspect img")
        page.wait_for_selector(".legend li")
    if name == "try":
        page.set_input_files(".try input[type=file]", str(picture))
        page.wait_for_selector(".bars [data-probability]")
        page.get_by_role("button", name="Why? Show the heat map").click()
        page.wait_for_timeout(2500)
    if name == "how":
        page.set_input_files("input[data-of=blocks]", str(picture))
        page.locator("[data-block='1']").click()
        page.locator(".how .headline", has_text="Without").wait_for()
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    main()
