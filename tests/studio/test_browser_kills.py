"""The studio is killed at random moments while a page works, and the page is reloaded at others: nothing is lost."""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path
from typing import Any

from drawn_photos import draw_folder
from headstart.studio.project import Project
from studio.opened_studio import MARKS, Studio, browser, sync_api

__all__ = ["browser"]  # fixtures
_MOMENTS = 20
# in the page: moves, deletions, classes and undo, one after another, until the page or the studio goes
_WORK = """async (seed) => {
    const { get, post } = await import("/static/api.js");
    let state = seed;
    const draw = (below) => { state = (state * 1103515245 + 12345) % 2147483648; return state % below; };
    const quietly = (made) => made.catch(() => 0);
    window.working = true;
    for (let count = 0; window.working; count += 1) {
        const classes = (await quietly(get("/api/state")))?.classes ?? [];
        if (!classes.length) { await new Promise((resolve) => { setTimeout(resolve, 20); }); continue; }
        const one = classes[draw(classes.length)].name;
        const found = (await quietly(get(`/api/images?${new URLSearchParams({ label: one })}`)))?.images ?? [];
        const ids = found.slice(0, 1 + draw(4)).map((image) => image[0]);
        const kind = draw(9);
        const label = classes[draw(classes.length)].name;
        if (kind < 4 && ids.length) await quietly(post("/api/images/move", { ids, label }));
        else if (kind < 6 && found.length > 4) await quietly(post("/api/images/delete", { ids }));
        else if (kind < 8) await quietly(post("/api/classes", { name: `class ${seed} ${count}` }));
        else await quietly(post("/api/undo"));
    }
}"""

pytestmark = MARKS


def content(folder: Path) -> list[bytes]:
    """Every image below the folder, those that were deleted too."""
    return sorted(path.read_bytes() for path in folder.rglob("*.png"))


def work(page: Any, seed: int) -> None:
    page.evaluate(f"(seed) => {{ ({_WORK})(seed); }}", seed)  # the page goes on by itself


def test_twenty_reloads_and_kills_at_random_moments_lose_no_image(browser: Any, tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "set", per_class=4)
    before, rng = content(folder), random.Random(7)
    for moment in range(_MOMENTS):
        studio, visitor = Studio(folder), browser.new_context()
        try:
            page = visitor.new_page()
            page.goto(studio.opened)
            page.wait_for_selector(".class")
            work(page, 2 * moment)
            page.wait_for_timeout(rng.uniform(20, 400))
            page.reload()
            page.wait_for_selector(".class")
            work(page, 2 * moment + 1)
            page.wait_for_timeout(rng.uniform(20, 400))
        finally:
            studio.end(signal.SIGKILL)
            with contextlib.suppress(sync_api.Error):
                visitor.close()
        project = Project(folder)  # completes what the kill interrupted
        assert content(folder) == before, moment
        assert all((folder / one.place).is_file() for one in project.look().pictures), moment
    undone = 0
    while project.undo():
        undone += 1
    assert undone > _MOMENTS  # the page did change things
    assert content(folder / "disc") + content(folder / "square") + content(folder / "stripes") != []
    assert sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) == [
        "disc", "square", "stripes"]  # fmt: skip
    assert (
        sorted(one.read_bytes() for kind in ("disc", "square", "stripes") for one in (folder / kind).iterdir())
        == before
    )
