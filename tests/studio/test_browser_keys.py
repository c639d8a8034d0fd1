"""Keys and undo across pages, a class without images, and a real drop of files of several kinds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from drawn_photos import draw_folder
from studio.opened_studio import MARKS, Studio, browser, context, drop, images, page, show, studio, undo, wait

__all__ = ["browser", "context", "page", "studio"]  # fixtures

pytestmark = MARKS


def real_drop(page: Any, paths: list[Path]) -> None:
    """As a hand does it, with the entries of files that a page cannot make."""
    box, mouse = page.locator(".pictures").bounding_box(), page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 40, "y": box["y"] + 60, "data": data})


def test_undo_takes_back_the_last_decision_whatever_page_was_shown_meanwhile(
    page: Any, studio: Studio, tmp_path: Path
) -> None:
    wrong = sorted((draw_folder(tmp_path / "new", 2, seed=8) / "stripes").iterdir())
    drop(page, wrong, '[data-label="disc"]')
    wait(page, "document.querySelector('#live').textContent.includes('of 38 images')")
    show(page, studio, "look")
    page.wait_for_selector(".suspect .question")
    kept = page.locator(".suspect .name").inner_text()
    page.get_by_role("button", name="Keep ").click()
    wait(page, f"document.querySelector('#said').textContent.includes('{kept} stays ')")
    page.locator(".suspect .name", has_text=kept).wait_for(state="detached")
    show(page, studio, "collect")
    page.locator('[data-label="square"]').click()
    page.get_by_role("heading", name="square").wait_for()
    show(page, studio, "look")
    page.get_by_role("button", name="Undo (U)").wait_for()
    assert page.locator(".suspect .name", has_text=kept).count() == 0
    before = images(studio.folder / "disc")

    page.keyboard.press("u")

    wait(page, f"document.querySelector('#said').textContent.includes('Undone: Kept the label of {kept}')")
    assert images(studio.folder / "disc") == before  # the images that were dropped stay
    wait(page, f"document.querySelector('.suspects').textContent.includes('{kept}')")
    undo(page, "Added")
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")


def test_a_run_whose_labels_are_reviewed_stays_chosen_while_another_page_is_shown(page: Any, studio: Studio) -> None:
    show(page, studio, "look")
    page.select_option("#suspects-of", "first")
    wait(page, "document.querySelector('.suspects [role=status]').textContent.includes('expected to be wrong')")
    show(page, studio, "try")
    show(page, studio, "look")
    wait(page, "document.querySelector('.suspects [role=status]').textContent.includes('expected to be wrong')")
    assert page.locator("#suspects-of").input_value() == "first"  # U takes back a decision of the review, no file
    page.select_option("#suspects-of", "")
    wait(page, "document.querySelector('.suspects [role=status]').textContent.includes('another class wins')")


def test_a_class_without_images_is_named_and_the_result_stays(page: Any, studio: Studio) -> None:
    (studio.folder / "gulls").mkdir()
    page.locator('[data-label="gulls"]').wait_for()
    show(page, studio, "learn")
    wait(page, "document.querySelector('[aria-label=\"Live result\"]').textContent.includes('gulls has no images')")
    assert "of 36 images classified correctly" in page.inner_text('[aria-label="Live result"]')
    show(page, studio, "try")
    page.set_input_files(".try input[type=file]", str(min((studio.folder / "disc").iterdir())))
    page.get_by_text("gulls has no images").wait_for()
    assert page.locator(".bars li").count() == 3
    (studio.folder / "gulls").rmdir()


def test_a_key_with_control_adds_nothing(page: Any, studio: Studio) -> None:
    before = images(studio.folder / "disc")
    show(page, studio, "try")
    page.set_input_files(".try input[type=file]", str(min((studio.folder / "stripes").iterdir())))
    page.wait_for_selector(".bars [data-probability]")

    page.keyboard.press("Control+1")  # of a browser: the first tab
    page.keyboard.press("1")

    wait(page, "document.querySelector('#said').textContent.includes('Added to disc')")
    assert len(images(studio.folder / "disc")) == len(before) + 1
    undo(page, "Added")
    assert images(studio.folder / "disc") == before


def test_a_real_drop_takes_files_and_archives_and_names_what_is_no_picture(
    page: Any, context: Any, studio: Studio, tmp_path: Path
) -> None:
    loose = sorted((draw_folder(tmp_path / "loose", 3, seed=21) / "disc").iterdir())
    archive = shutil.make_archive(str(tmp_path / "more"), "zip", draw_folder(tmp_path / "packed", 2, seed=22))
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    page.locator('[data-label="square"]').click()
    page.get_by_role("heading", name="square").wait_for()
    counts = {name: len(images(studio.folder / name)) for name in ("disc", "square", "stripes")}

    real_drop(page, [*loose, Path(archive), text])

    wait(page, "document.querySelector('#said').textContent.includes('Added 9 images')")  # 3, and 2 of each class
    assert "notes.txt" in page.inner_text("#said")
    found = {name: len(images(studio.folder / name)) for name in counts}
    assert found == {"disc": counts["disc"] + 2, "square": counts["square"] + 5, "stripes": counts["stripes"] + 2}
    undo(page, "Added")
    assert {name: len(images(studio.folder / name)) for name in counts} == counts
    context.wrong[:] = [line for line in context.wrong if "422" not in line]  # the text, which was refused
