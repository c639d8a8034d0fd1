"""The lines at the foot of the pages, run literally in a terminal and in Python; pages that follow what has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.opened_studio import MARKS, Studio, browser, context, images, page, show, studio, wait

__all__ = ["browser", "context", "page", "studio"]  # fixtures

pytestmark = MARKS


def lines_of(page: Any, action: str) -> list[str]:
    """The line of a terminal and that of Python of a further action."""
    page.evaluate("document.querySelector('footer details').open = true")
    return list(page.locator(f'footer section[aria-label="{action}"] code').all_inner_texts())


def follow(page: Any, action: str, *, python: bool, **words: str) -> None:
    """Copy a line, put names in place of its capitals, and run it."""
    line = lines_of(page, action)[python]
    for placeholder, word in words.items():
        line = line.replace(placeholder, word)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as where headstart was installed
    command = [sys.executable, "-c", line] if python else ["bash", "-c", line]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PATH": path})


@pytest.mark.parametrize("python", [False, True], ids=["terminal", "python"])
def test_the_lines_of_collect_do_what_the_page_does(page: Any, studio: Studio, python: bool) -> None:
    folder = studio.folder
    page.locator('[data-label="disc"]').click()
    first = images(folder / "disc")[0]

    follow(page, "Move an image to another class", python=python, IMAGE=first)
    wait(page, "document.querySelector('[data-label=square] .count').textContent === '13'")
    (folder / "square" / first).rename(folder / "disc" / first)
    follow(page, "Make a class", python=python, NEW="gulls")
    page.locator('[data-label="gulls"]').click()
    page.get_by_role("heading", name="gulls").wait_for()
    follow(page, "Rename a class", python=python, NEW="terns")
    page.locator('[data-label="terns"]').click()
    page.get_by_role("heading", name="terns").wait_for()
    (folder / "disc" / first).rename(folder / "terns" / first)
    wait(page, "document.querySelector('[data-label=terns] .count').textContent === '1'")
    follow(page, "Merge a class into another", python=python)
    page.locator('[data-label="terns"]').wait_for(state="detached")
    assert first in images(folder / "disc")  # the first of the other classes
    follow(page, "Make a class", python=python, NEW="new")
    page.locator('[data-label="new"]').click()
    page.get_by_role("heading", name="new").wait_for()
    (folder / "disc" / first).rename(folder / "new" / first)
    page.locator(".tile").wait_for()
    kept = (folder / "new" / first).read_bytes()
    follow(page, "Delete an image", python=python, IMAGE=first)
    page.locator(".tile").wait_for(state="detached")
    follow(page, "Delete a class", python=python)
    page.locator('[data-label="new"]').wait_for(state="detached")
    (folder / "disc" / first).write_bytes(kept)
    wait(page, "document.querySelector('[data-label=disc] .count').textContent === '12'")


def test_no_image_of_a_class_stays_under_the_name_of_another(page: Any) -> None:
    page.locator('[data-label="disc"]').click()
    page.locator(".tile").first.click()
    page.get_by_role("heading", name="1 image selected").wait_for()

    at_once = page.evaluate(
        """() => {
            document.querySelector('[data-label="square"]').click();
            return [document.querySelectorAll(".tile").length, document.querySelector(".toolbar h2").textContent];
        }"""
    )

    assert at_once == [0, "square"]  # before the server has answered: nothing that Delete could reach
    wait(page, "document.querySelectorAll('.tile').length === 12")


def test_the_line_of_learn_has_the_options_of_the_studio(page: Any, studio: Studio) -> None:
    show(page, studio, "learn")
    page.locator("input[value=embedded]:checked").wait_for(state="attached")
    assert page.inner_text("footer").count("--backbone embedded --offline") == 1
    assert page.inner_text("footer").count(', backbone="embedded", offline=True') == 1


def test_the_features_behind_the_map_are_those_of_the_studio(page: Any, studio: Studio) -> None:
    show(page, studio, "look")
    terminal, python = lines_of(page, "The features behind the map")
    assert terminal == f"headstart embed {studio.folder} --backbone embedded --offline"
    assert python == f'import headstart as hs; hs.embed("{studio.folder}", backbone="embedded", offline=True)'


@pytest.mark.parametrize("python", [False, True], ids=["terminal", "python"])
def test_a_line_of_a_run_works_where_nothing_was_imported(page: Any, studio: Studio, python: bool) -> None:
    run = studio.folder / "runs" / "first"
    show(page, studio, "deliver")
    wait(page, f"document.querySelector('footer').textContent.includes('headstart card {run}')")
    (run / "model_card.md").unlink(missing_ok=True)

    follow(page, "Model card", python=python)

    assert (run / "model_card.md").is_file()


def test_the_line_of_the_blocks_names_the_folder_of_the_run(page: Any, studio: Studio) -> None:
    show(page, studio, "how")
    run = studio.folder / "runs" / "first"
    wait(page, f"document.querySelector('footer').textContent.includes('inspect residual {run} PICTURES')")


def test_an_open_cell_of_the_confusion_matrix_follows_its_images(page: Any, studio: Studio) -> None:
    show(page, studio, "look")
    cell = page.get_by_role("button", name="images of disc predicted as disc")
    before = int(cell.inner_text())
    cell.click()
    page.locator("[aria-label='Confusion matrix'] .judged li").first.wait_for()

    name = images(studio.folder / "disc")[0]
    (studio.folder / "disc" / name).rename(studio.folder / name)  # beside the classes: it has none

    wait(page, f"document.querySelectorAll('[aria-label=\"Confusion matrix\"] .judged li').length === {before - 1}")
    assert int(cell.inner_text()) == before - 1
    (studio.folder / name).rename(studio.folder / "disc" / name)
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")


def test_no_answer_stays_beside_a_file_that_is_no_picture(
    page: Any, context: Any, studio: Studio, tmp_path: Path
) -> None:
    picture, text = min((studio.folder / "stripes").iterdir()), tmp_path / "notes.txt"
    text.write_text("no picture")
    show(page, studio, "try")
    page.set_input_files(".try input[type=file]", str(picture))
    page.wait_for_selector(".bars [data-probability]")

    page.set_input_files(".try input[type=file]", str(text))

    page.get_by_text("No answer to this picture.").wait_for()
    assert page.locator(".bars").count() == 0
    assert "not an image" in page.inner_text("#said")
    context.wrong[:] = [line for line in context.wrong if "422" not in line]  # the file that was refused
