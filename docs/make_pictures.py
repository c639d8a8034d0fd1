"""Draw the pictures of the README anew: the drawn hands, and the demo's report as Chromium shows it.

make docs            (needs chromium or google-chrome on the path; no network)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from headstart.data.hands import draw_hand
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
    """Write both pictures, with few colours so that they stay small."""
    PICTURES.mkdir(exist_ok=True)
    hands().save(PICTURES / "hands.jpg", quality=88)
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder)).quantize(128).save(PICTURES / "report.png", optimize=True)
    for picture in sorted(PICTURES.iterdir()):
        print(f"{picture.name}  {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
