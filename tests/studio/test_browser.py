"""The studio in a real browser: Debian's chromium with a fake camera. Skipped with a word where there is none."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from drawn_photos import draw_folder
from headstart.serving.served_classifier import ServedClassifier
from studio.opened_studio import (
    MARKS,
    Studio,
    browser,
    context,
    drop,
    images,
    page,
    post_class,
    show,
    studio,
    undo,
    violations,
    wait,
)

PAGES = ("collect", "learn", "look", "try", "deliver", "how")
SIZES = (360, 768, 1280, 1920)
__all__ = ["browser", "context", "page", "studio"]  # fixtures

pytestmark = MARKS


def test_dropped_files_are_learned_and_undone_at_once(page: Any, studio: Studio, tmp_path: Path) -> None:
    new = [path for kind in draw_folder(tmp_path / "new", 4, seed=9).iterdir() for path in kind.iterdir()][:6]
    before = images(studio.folder / "disc")

    drop(page, new, '[data-label="disc"]')

    wait(page, "document.querySelector('#said').textContent.includes('Added 6 images')")
    wait(page, "document.querySelector('#live').textContent.includes('of 42 images')")
    assert len(images(studio.folder / "disc")) == len(before) + 6
    undo(page, by_button=True)
    assert images(studio.folder / "disc") == before
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")


def test_a_held_button_of_the_camera_is_one_burst_and_one_group(page: Any, studio: Studio) -> None:
    page.locator('[data-label="square"]').click()
    page.get_by_role("button", name="Camera", exact=True).click()
    hold = page.get_by_role("button", name="Hold to record")
    hold.hover()
    page.mouse.down()
    wait(page, "parseInt(document.querySelector('.camera .muted').textContent) >= 5")
    page.mouse.up()
    wait(page, "document.querySelector('#said').textContent.includes('in one burst')")
    names = [name for name in images(studio.folder / "square") if name.startswith("hold-")]
    assert len(names) >= 5
    assert len({name.rpartition("-")[0] for name in names}) == 1
    show(page, studio, "learn")
    row = page.locator("tr", has=page.get_by_role("rowheader", name="square"))
    wait(page, f"document.querySelector('#live').textContent.includes('of {36 + len(names)} images')")
    assert [row.locator("td").nth(i).inner_text() for i in (0, 1)] == [str(12 + len(names)), "13"]
    undo(page)
    assert not [name for name in images(studio.folder / "square") if name.startswith("hold-")]


def test_the_page_answers_as_the_command_line_does(page: Any, studio: Studio) -> None:
    picture = min((studio.folder / "stripes").iterdir())
    show(page, studio, "try")
    page.wait_for_selector("#model option[value=first]", state="attached")
    page.select_option("#model", "first")
    page.set_input_files(".try input[type=file]", str(picture))
    page.wait_for_selector(".bars [data-probability]")

    found = {
        bar.locator(".name").inner_text(): float(bar.locator("[data-probability]").get_attribute("data-probability"))
        for bar in page.locator(".bars li").all()
    }

    (expected,) = hs.predict(studio.folder / "runs" / "first", picture, on_event=None)
    assert found == pytest.approx(expected.probabilities, abs=1e-6)


def test_collecting_needs_no_mouse(page: Any, studio: Studio) -> None:
    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == name:
                return
        raise AssertionError(f"{name} cannot be reached")

    tab_to("New class")
    page.keyboard.press("Enter")
    page.keyboard.type("gulls")
    page.keyboard.press("Enter")
    page.wait_for_selector('[data-label="gulls"][aria-pressed=true]')
    assert (studio.folder / "gulls").is_dir()
    page.locator('[data-label="disc"]').focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "listbox":
            break
    before = images(studio.folder / "disc")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Delete")
    wait(page, "document.querySelector('#said').textContent.includes('Deleted 1 image')")
    assert set(before) - set(images(studio.folder / "disc")) == {before[1]}
    undo(page, "Deleted 1 image")
    undo(page, "Made the class gulls")
    assert images(studio.folder / "disc") == before
    assert not (studio.folder / "gulls").exists()


def test_two_tabs_see_each_others_changes_and_a_reload_loses_nothing(page: Any, context: Any, studio: Studio) -> None:
    other = context.new_page()
    other.goto(f"{studio.address}#collect")
    other.wait_for_selector(".class")

    post_class(page, "<b>owls")
    post_class(page, "owls & co")

    other.wait_for_selector('[data-label="owls & co"]')
    other.reload()
    other.wait_for_selector('[data-label="owls & co"]')
    assert other.locator(".class", has_text="<b>").count() == 0  # no folder can have that name everywhere
    undo(other, "Made the class owls & co", by_button=True)
    page.wait_for_selector('[data-label="owls & co"]', state="detached")
    other.close()
    context.wrong[:] = [text for text in context.wrong if "422" not in text]  # the name that was refused


def test_twenty_thousand_thumbnails_are_a_few_elements(page: Any) -> None:
    shown = page.evaluate(
        """async () => {
            const { Grid } = await import("/static/grid.js");
            const [first] = (await (await fetch("/api/images?label=disc")).json()).images;
            const grid = new Grid({ label: "many" });
            document.querySelector("#main").replaceChildren(grid.element);
            grid.show(Array.from({ length: 20000 }, (_, i) => [`${first[0]}?${i}`, `${i}.png`, first[2], null, []]));
            const counts = [];
            for (const share of [0, 0.3, 0.7, 1]) {
                grid.element.scrollTop = share * grid.element.scrollHeight;
                await new Promise((resolve) => { setTimeout(resolve, 100); });
                counts.push(grid.element.querySelectorAll(".tile").length);
            }
            return [counts, grid.element.scrollHeight > 100000];
        }"""
    )
    counts, is_long = shown
    assert is_long
    assert 0 < max(counts) < 200


def test_a_pasted_picture_and_a_dropped_folder_become_images(page: Any, studio: Studio, tmp_path: Path) -> None:
    (picture,) = draw_folder(tmp_path / "one", 1, seed=5).glob("disc/*")
    page.locator('[data-label="square"]').click()
    page.evaluate(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "clip.png"));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        base64.b64encode(picture.read_bytes()).decode(),
    )
    wait(page, "document.querySelector('[data-label=square] .count').textContent === '13'")
    folder = draw_folder(tmp_path / "birds", 3, seed=6)
    for made in folder.iterdir():
        made.rename(folder / f"new {made.name}")
    box, mouse = page.locator(".pictures").bounding_box(), page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):  # a real one: a page cannot make the entries of a folder
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 40, "y": box["y"] + 60, "data": data})
    wait(page, "document.querySelector('#live').textContent.includes('of 46 images')")
    assert {path.name: len(images(path)) for path in studio.folder.glob("new *")} == {
        "new disc": 3, "new square": 3, "new stripes": 3}  # fmt: skip
    for _ in range(5):  # images, three classes, the pasted picture
        undo(page)
    assert [path.name for path in studio.folder.glob("new *")] == []
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")


def test_two_tabs_upload_at_once(page: Any, context: Any, studio: Studio, tmp_path: Path) -> None:
    other = context.new_page()
    other.goto(f"{studio.address}#collect")
    other.wait_for_selector(".class")
    drawn = draw_folder(tmp_path / "new", 6, seed=7)
    before = images(studio.folder / "disc")

    drop(page, sorted((drawn / "disc").iterdir()), '[data-label="disc"]')
    drop(other, sorted((drawn / "square").iterdir()), '[data-label="disc"]')

    for tab in (page, other):
        wait(tab, "document.querySelector('[data-label=disc] .count').textContent === '24'")
    assert len(images(studio.folder / "disc")) == 24
    other.close()
    for _ in range(2):  # a batch for each tab
        undo(page)
    assert images(studio.folder / "disc") == before


def test_likely_label_errors_are_decided_by_keys(page: Any, studio: Studio, tmp_path: Path) -> None:
    before = images(studio.folder / "stripes")
    wrong = sorted((draw_folder(tmp_path / "new", 2, seed=8) / "stripes").iterdir())
    drop(page, wrong, '[data-label="disc"]')
    wait(page, "document.querySelector('#live').textContent.includes('of 38 images')")
    show(page, studio, "look")
    page.wait_for_selector(".suspect .question")
    at = page.locator(".suspect p.muted").first
    first = at.inner_text()
    assert re.match(r"1 of \d+:", first)
    page.keyboard.press("j")
    assert at.inner_text().startswith("2 of ")
    page.keyboard.press("k")
    assert at.inner_text() == first
    name = page.locator(".suspect .name").inner_text().rpartition("/")[2]
    page.keyboard.press("3")  # stripes
    wait(page, f"document.querySelector('#said').textContent.includes('{name} is now stripes')")
    assert name in images(studio.folder / "stripes")
    page.keyboard.press("u")
    wait(page, "document.querySelector('#said').textContent.includes('Undone')")
    assert images(studio.folder / "stripes") == before
    undo(page)
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")


def test_images_without_a_class_are_labelled_by_one_key(page: Any, studio: Studio, tmp_path: Path) -> None:
    drawn = sorted((draw_folder(tmp_path / "new", 2, seed=10) / "disc").iterdir())
    page.locator('[data-label="unlabelled"]').click()
    drop(page, drawn, '[data-label="unlabelled"]')
    page.locator(".unlabelled .question", has_text="%").wait_for()
    folder, before = studio.folder / "unlabelled", images(studio.folder / "disc")
    page.locator(".next-up li").wait_for()
    assert page.locator(".unlabelled .frame").count() == 2
    name = page.locator(".unlabelled .name").first.inner_text().rpartition("/")[2]

    page.keyboard.press("1")  # disc

    wait(page, f"document.querySelector('#said').textContent.includes('{name} is now disc')")
    assert set(images(studio.folder / "disc")) - set(before) == {name}
    assert name not in images(folder)
    page.locator(".unlabelled .name", has_text=name).wait_for(state="detached")
    undo(page, "Moved 1 image to disc")
    assert name in images(folder)
    assert images(studio.folder / "disc") == before
    undo(page, "Added")
    assert [one for one in images(folder) if not one.startswith(".")] == []
    page.locator('[data-label="disc"]').click()


def test_a_picture_has_a_heat_map_and_blocks_to_switch_off(page: Any, studio: Studio) -> None:
    picture = min((studio.folder / "stripes").iterdir())
    show(page, studio, "try")
    wait(page, "document.querySelector('#live').textContent.includes('of 36 images')")  # the live head has learnt
    page.set_input_files(".try input[type=file]", str(picture))
    page.get_by_role("button", name="Why? Show the heat map").click()
    wait(page, "document.querySelector('.heat').naturalWidth > 200")
    assert page.locator(".nearest img").count() == 4
    show(page, studio, "how")
    page.wait_for_selector("#blocks-of option[value=first]", state="attached")
    page.select_option("#blocks-of", "first")
    page.set_input_files("input[data-of=blocks]", str(picture))
    page.wait_for_selector("[data-block]")
    model = hs.Run.load(studio.folder / "runs" / "first").classifier
    content = ServedClassifier(model, pixels=10**7)
    for switched in ((), (0,)):
        if switched:
            page.locator("[data-block='0']").click()
            page.locator(".how .headline", has_text="Without").wait_for()
        expected = content.without_blocks(picture.read_bytes(), switched)
        found = {
            bar.locator(".name").inner_text(): float(bar.locator("[data-without]").get_attribute("data-without"))
            for bar in page.locator(".how .bars li").all()
        }
        assert found == pytest.approx(dict(zip(expected.classes, expected.without, strict=True)), abs=1e-6)


def test_a_run_is_exported_and_served_from_the_page(page: Any, studio: Studio, tmp_path: Path) -> None:
    picture = min((studio.folder / "stripes").iterdir())
    show(page, studio, "deliver")
    page.get_by_role("button", name="Write the model card").click()
    page.get_by_role("link", name="Model card").wait_for()
    page.get_by_role("button", name="Export as ONNX").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="ONNX file").click(timeout=300_000)
    file = tmp_path / "classifier.onnx"
    download.value.save_as(file)
    assert "gives the classifier's answers" in page.inner_text("body")
    (expected,) = hs.predict(studio.folder / "runs" / "first", picture, on_event=None)
    (exported,) = hs.predict(file, picture, on_event=None)
    assert exported.probabilities == pytest.approx(expected.probabilities, abs=0.005)

    page.get_by_role("button", name="Start the server").click()
    page.get_by_role("button", name="Stop the server").wait_for()
    line = page.locator(".serving pre").inner_text().replace("@picture.jpg", f"@{picture}").replace("jpeg", "png")
    answer = json.loads(subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout)
    assert answer["predictions"][0]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    page.get_by_role("button", name="Stop the server").click()
    page.get_by_role("button", name="Start the server").wait_for()
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", PAGES)
def test_each_page_fits_every_width_in_light_and_dark(page: Any, studio: Studio, name: str) -> None:
    show(page, studio, name)
    page.wait_for_timeout(800)
    for width in SIZES:
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} at {width} px is {wide} px too wide"
            if width in (360, 1280):
                assert violations(page) == [], f"{name} at {width} px, {scheme}"


def test_what_was_decided_outlives_a_kill(browser: Any, tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "set", per_class=4)
    studio = Studio(folder)
    try:
        visitor = browser.new_context()
        page = visitor.new_page()
        page.goto(studio.opened)
        page.wait_for_selector('[data-label="disc"]')
        drop(page, sorted((folder / "stripes").iterdir())[:3], '[data-label="disc"]')
        wait(page, "document.querySelector('#live').textContent.includes('of 15 images')")
        studio.end(signal.SIGKILL)
        wait(page, "document.querySelector('#live').textContent === 'not connected'")
        visitor.close()
        assert len(images(folder / "disc")) == 7

        studio = Studio(folder)
        visitor = browser.new_context()
        page = visitor.new_page()
        page.goto(studio.opened)
        page.wait_for_selector('[data-label="disc"]')
        undo(page, by_button=True)
        assert len(images(folder / "disc")) == 4
        visitor.close()
    finally:
        studio.end(signal.SIGKILL)


def test_learning_shows_its_curve_times_and_the_epochs_of_a_fine_tuning(page: Any, studio: Studio) -> None:
    show(page, studio, "learn")
    page.get_by_role("region", name="Learning curve").locator("svg").wait_for()
    assert "With 36 training images the error is" in page.inner_text("[aria-label='Learning curve']")
    chosen = page.locator("[aria-label=Training] input:checked")
    chosen.first.wait_for()
    assert chosen.evaluate_all("all => all.map((one) => one.value)") == ["probe", "embedded"]  # that of the studio
    page.get_by_role("button", name="Predict the time").click()
    times = "document.querySelector('[data-takes={}]').textContent.startsWith('about ')"
    wait(page, times.format("last-stage"))
    page.get_by_role("radio", name="last-stage").check()
    assert "--strategy last-stage" in page.inner_text("footer")
    wait(page, times.format("embedded"))
    page.get_by_role("button", name="Train", exact=True).click()
    page.locator(".curves svg").wait_for(timeout=300_000)
    wait(page, "document.querySelector('.status').textContent.includes('Done in')")
    page.get_by_text("last-stage").last.wait_for()


def test_the_lasso_moves_what_it_encloses(page: Any, studio: Studio) -> None:
    show(page, studio, "look")
    page.wait_for_selector(".legend li")
    before = images(studio.folder / "square")
    page.get_by_role("button", name="Lasso").click()
    page.locator(".map canvas").scroll_into_view_if_needed()
    box = page.locator(".map canvas").bounding_box()
    left, top = box["x"] + 12, box["y"] + 12  # not in the corner, which is round
    right, bottom = left + box["width"] - 24, top + box["height"] - 24
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y)
    page.mouse.up()
    page.get_by_text("36 images selected").wait_for()
    page.get_by_role("button", name="Move to…").click()
    page.get_by_role("dialog").get_by_role("button", name="square").click()
    wait(page, "document.querySelector('#said').textContent.includes('Moved 36 images to square')")
    assert len(images(studio.folder / "square")) == 36
    undo(page, "Moved 24 images to square")
    assert images(studio.folder / "square") == before


def test_two_thousand_thumbnails_stay_below_300_megabytes(page: Any, studio: Studio) -> None:
    page.evaluate(
        """async () => {
            const { Grid } = await import("/static/grid.js");
            const [first] = (await (await fetch("/api/images?label=disc")).json()).images;
            const grid = new Grid({ label: "many" });
            document.querySelector("#main").replaceChildren(grid.element);
            grid.show(Array.from({ length: 2000 }, (_, i) => [first[0], `${i}.png`, `${first[2]}-${i}`, null, []]));
            const step = grid.element.clientHeight;
            for (let top = 0; top < grid.element.scrollHeight; top += step) {
                grid.element.scrollTop = top;
                await new Promise((resolve) => { setTimeout(resolve, 60); });
            }
        }"""
    )
    listed = page.context.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    status = [Path(f"/proc/{one['id']}/status") for one in listed if one["type"] == "renderer"]
    resident = [int(found[1]) for path in status if (found := re.search(r"VmRSS:\s+(\d+) kB", path.read_text()))]
    assert max(resident) < 300_000, f"{max(resident) / 1000:.0f} MB"
