"""What the pages of the studio show only after an action: each such state can be read by everyone, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drawn_photos import draw_folder
from studio.opened_studio import (
    MARKS,
    Studio,
    browser,
    context,
    drop,
    images,
    page,
    show,
    studio,
    undo,
    violations,
    wait,
)

__all__ = ["browser", "context", "page", "studio"]  # fixtures

pytestmark = MARKS


def check(page: Any, state: str) -> None:
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == [], f"{state} at {width} px, {scheme}"
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{state} at {width} px is {wide} px too wide"


def test_collecting(page: Any, studio: Studio, tmp_path: Path) -> None:
    page.get_by_role("button", name="New class").click()
    check(page, "a question")
    page.keyboard.press("Escape")
    page.locator('[data-label="disc"]').click()
    page.locator(".tile").first.click()
    check(page, "a selection")
    page.get_by_role("button", name="Move to…").click()
    check(page, "a choice")
    page.keyboard.press("Escape")
    page.locator(".tile").first.dblclick()
    page.get_by_role("dialog").wait_for()
    check(page, "an image")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Hold to record").wait_for()
    check(page, "the camera")
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_text("Other actions of this page").click()
    check(page, "the lines")
    page.locator('[data-label="unlabelled"]').click()
    check(page, "nothing unlabelled")
    drop(page, sorted((draw_folder(tmp_path / "new", 2, seed=10) / "disc").iterdir()), '[data-label="unlabelled"]')
    page.locator(".unlabelled .question", has_text="%").wait_for()
    check(page, "an image without a class")
    undo(page, "Added")
    page.locator('[data-label="disc"]').click()


def test_looking_and_trying(page: Any, studio: Studio) -> None:
    picture = min((studio.folder / "stripes").iterdir())
    show(page, studio, "look")
    page.locator(".confusion .right button:not([disabled])").first.click()
    page.locator(".judged").first.wait_for()
    page.locator(".map canvas").focus()
    page.keyboard.press("Space")
    page.get_by_text("1 image selected").wait_for()
    page.get_by_text("Other actions of this page").click()
    check(page, "a cell, and a selection on the map")
    show(page, studio, "try")
    page.set_input_files(".try input[type=file]", str(picture))
    page.get_by_role("button", name="Why? Show the heat map").click()
    wait(page, "document.querySelector('.heat').naturalWidth > 200")
    check(page, "an answer with its heat map")
    show(page, studio, "how")
    page.set_input_files("input[data-of=blocks]", str(picture))
    page.wait_for_selector("[data-block]")
    page.get_by_role("button", name="The textbook's run").click()
    check(page, "blocks and the textbook's run")


def test_the_colours_of_the_map_follow_the_scheme(page: Any, studio: Studio) -> None:
    show(page, studio, "look")
    page.wait_for_selector(".legend li")
    seen = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        legend = page.evaluate("getComputedStyle(document.querySelector('.legend i')).backgroundColor")
        there = page.evaluate(
            """(wanted) => {
                const canvas = document.querySelector(".map canvas");
                const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                const [r, g, b] = wanted.match(/\\d+/g).map(Number);
                for (let i = 0; i < bytes.length; i += 4) {
                    if (bytes[i] === r && bytes[i + 1] === g && bytes[i + 2] === b && bytes[i + 3] === 255) return true;
                }
                return false;
            }""",
            legend,
        )
        assert there, f"{scheme}: no dot has the legend's {legend}"
        seen.append(legend)
    assert seen[0] != seen[1]
    assert images(studio.folder / "disc")
