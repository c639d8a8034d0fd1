"""Do 20,000 thumbnails of the studio scroll smoothly? Frames of a real Chromium while the wheel turns.

    python benchmarks/studio_scroll.py [--images 20000]

The page's own grid is given so many rows, over 200 pictures that the studio serves; the wheel turns 150 times, first a
row at a time, then whole screens, and each frame that the browser draws is timed. A frame of 60 a second takes 17 ms;
above 50 ms the eye sees a jump. Needs playwright and Debian's chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from machine import hardware
from record import Line, at_most, show, write
from studio import CLASSES, Studio, drawn

PICTURES, JUMP, MOST_JUMPS, MOST_HEAP = 200, 50.0, 0.01, 300.0
_MORE = """async (count) => {
    const { Grid } = await import("/static/grid.js");
    const every = (await (await fetch("/api/images?label=disc")).json()).images;
    const grid = new Grid({ label: "many" });
    document.querySelector("#main").replaceChildren(grid.element);
    grid.show(Array.from({ length: count }, (_, i) => every[i % every.length]));
    Object.assign(window, { grid: grid.element, frames: [] });
    const tick = (now) => { window.frames.push(now); requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
    const box = grid.element.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + 200];
}"""


def scrolled(page: Any, count: int) -> tuple[np.ndarray, float, float]:
    """Milliseconds of each frame, the share of the list that was passed, and MB of the page's heap."""
    x, y = page.evaluate(_MORE, count)
    page.mouse.move(x, y)
    page.wait_for_timeout(500)
    page.evaluate("window.frames.length = 0")
    for turn in range(150):
        page.mouse.wheel(0, 400 if turn < 100 else 6000)
        page.wait_for_timeout(16)
    page.wait_for_timeout(300)
    frames, top, height, heap = page.evaluate(
        "[window.frames, grid.scrollTop + grid.clientHeight, grid.scrollHeight, performance.memory.usedJSHeapSize]"
    )
    return np.diff(frames), top / height, heap / 1e6


def main() -> None:
    """Scroll, show the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    count = parser.parse_args().images
    chromium = next(found for name in ("chromium", "chromium-browser") if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        studio = Studio(Path(made) / "set", Path(made) / "cache")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            for name in CLASSES:
                studio.send("/api/classes", f'{{"name": "{name}"}}'.encode())
            studio.add(drawn(PICTURES, 0))
            studio.wait(PICTURES)
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            name, _, value = studio.cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{studio.port}"}])
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{studio.port}/")
            page.wait_for_selector('[data-label="disc"]')
            frames, passed, heap = scrolled(page, count)
        finally:
            browser.close()
            studio.process.terminate()
            studio.process.wait(30)
    jumps = float((frames > JUMP).mean())
    goal, verdict = at_most(jumps, MOST_JUMPS)
    note = f"median {np.median(frames):.1f} ms, 95 % {np.quantile(frames, 0.95):.1f}, longest {frames.max():.0f}"
    note += f"; {len(frames)} frames over {passed * 100:.0f} % of the list"
    lines = [
        Line(
            "scroll",
            f"{count:,} thumbnails: share of frames over {JUMP:.0f} ms",
            jumps,
            f"{jumps:.3f}",
            goal,
            verdict,
            note,
        ),
        Line("heap", "memory of the page's script", heap, f"{heap:.1f} MB", *at_most(heap, MOST_HEAP, " MB")),
    ]
    show(lines)
    write("studio_scroll", lines, hardware=hardware())


if __name__ == "__main__":
    main()
