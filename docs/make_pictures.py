"""Draw the pictures of the README and of docs/embedded.md: drawn hands, the demo's report as Chromium shows it,
the drawn pictures that the embedded backbone learnt from, and its first filters.

make pictures        (needs chromium or google-chrome on the path; no network)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.backbones.backbone import load_backbone
from headstart.datasets.hands import draw_hand
from headstart.pretraining.bank import draw_bank
from headstart.pretraining.scene import draw_pictures
from headstart.workbench.demo import demo

PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 1000, 1500  # px of the page that are shown: the verdict and some mistakes
ROW = 8  # hands of each kind


def hands() -> Image.Image:
    """Eight drawn hands of each kind, a row for each."""
    sheet = Image.new("RGB", (ROW * 100, 300), "white")
    for row, kind in enumerate(("rock", "paper", "scissors")):
        for column in range(ROW):
            hand = draw_hand(kind, seed=1000 * row + column, size=128).resize((96, 96), Image.Resampling.LANCZOS)
            sheet.paste(hand, (column * 100 + 2, row * 100 + 2))
    return sheet


def drawn() -> Image.Image:
    """Sixty drawn pictures of 96 px, ten in a row."""
    pictures = draw_pictures(draw_bank(0, silhouettes=60, textures=12), seed=5, count=60, size=96).transpose(0, 2, 3, 1)
    return Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in pictures.reshape(6, 10, 96, 96, 3)]))


def filters() -> Image.Image:
    """The 96 first filters of the embedded backbone, each 7×7 stretched to its own black and white, grey for zero."""
    weights = load_backbone("embedded").state()["stem.conv.weight"].numpy()
    weights = weights / np.abs(weights).max((1, 2, 3), keepdims=True)
    sheet = Image.new("RGB", (24 * 40, 4 * 40), "white")
    for number, one in enumerate(weights):
        pixels = np.rint(127.5 + 127.5 * one.transpose(1, 2, 0)).astype(np.uint8)
        square = Image.fromarray(pixels).resize((36, 36), Image.Resampling.NEAREST)
        sheet.paste(square, (number % 24 * 40 + 2, number // 24 * 40 + 2))
    return sheet


def report(folder: Path) -> Image.Image:
    """The report of the demo as a browser shows it."""
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not browser:
        sys.exit("chromium or google-chrome is needed to take the report's picture")
    run = demo(folder)
    picture = folder / "report.png"
    page = (run.folder / "report.html").resolve().as_uri()
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run([browser, *options, f"--screenshot={picture}", page], check=True, capture_output=True)
    return Image.open(picture).convert("RGB")


def main() -> None:
    """Write all pictures, with few colours so that they stay small."""
    PICTURES.mkdir(exist_ok=True)
    hands().save(PICTURES / "hands.jpg", quality=88)
    drawn().save(PICTURES / "drawn.jpg", quality=85)
    filters().save(PICTURES / "filters.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder)).quantize(128).save(PICTURES / "report.png", optimize=True)
    for picture in sorted(PICTURES.iterdir()):
        print(f"{picture.name}  {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
