"""show: one page with some images of each class, what the audit finds on them, and views as training draws them."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.backbones.catalogue import find_spec
from headstart.backbones.preprocess import Preprocess
from headstart.data.thumbnails import encode_thumbnail
from headstart.errors import BackboneError, RecipeError, RunError
from headstart.finetune.augmentation import BOTH, views
from headstart.progress import Event
from headstart.recipe import Recipe
from headstart.workbench.events import FilesWritten
from headstart.workbench.show import show


class Sheet(HTMLParser):
    """The captions and addresses of the page's images, and the links."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = path.read_text("utf-8")
        found = re.findall(r'<img src="([^"]*)"[^>]*>.*?<bdi class="file">(.*?)</bdi>', self.text, re.DOTALL)
        self.images = [(name, address) for address, name in found]
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(values["href"])
        if "id" in values:
            self.ids.add(values["id"])


@pytest.mark.slow
def test_every_class_is_on_the_page_with_at_most_so_many_images(photos: Path, tmp_path: Path) -> None:
    events = list[Event]()

    shown = show(photos, out=tmp_path / "sheet.html", most=5, on_event=events.append)

    sheet = Sheet(tmp_path / "sheet.html")
    per_class = [
        sum(name.startswith(f"{label}/") for name, _ in sheet.images) for label in ("disc", "square", "stripes")
    ]
    assert per_class == [5, 5, 5]
    assert (shown.images, shown.on_page, shown.per_class) == (48, 15, 5)
    assert sheet.text.count("5 images of 16") == 3
    assert 'src="http' not in sheet.text
    assert "<script" not in sheet.text
    last = events[-1]
    assert isinstance(last, FilesWritten)
    assert last.files == ("sheet.html",)
    assert last.next_command == f"headstart train {photos}"


@pytest.mark.slow
def test_images_with_a_finding_come_first_and_link_to_it(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    first, *_, last = sorted((folder / "disc").iterdir())
    shutil.copy(last, folder / "square" / "zz-same.png")
    first.write_bytes(b"not an image")

    show(folder, out=tmp_path / "sheet.html", most=3, max_bad_share=0.5, on_event=None)

    sheet = Sheet(tmp_path / "sheet.html")
    names = [name for name, _ in sheet.images]
    assert f"disc/{last.name}" in names
    assert "square/zz-same.png" in names
    assert f"disc/{first.name}" not in names  # it has a reason in place of a picture
    assert "not shown: " in sheet.text
    targets = {link[1:] for link in sheet.links if link.startswith("#finding-")}
    assert targets
    assert targets <= sheet.ids


@pytest.mark.slow
def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number, size in enumerate([(30, 20), (300, 200), (40, 25)]):
            pixels = np.random.default_rng([ord(label), number]).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")

    show(tmp_path / "photos", out=tmp_path / "sheet.html", on_event=None)

    row = re.search(r"<tr><th scope=\"row\"><a href=\"#class-1\">.*?</tr>", Sheet(tmp_path / "sheet.html").text, re.S)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[0])
    assert cells[:5] == ["3", "30 × 20", "40 × 25", "300 × 200", "PNG 3"]
    named = {name for finding in hs.audit(tmp_path / "photos", on_event=None).findings for name in finding.names}
    assert int(cells[5]) == len({"a/0.png", "a/1.png", "a/2.png"} & named) == 2  # the small ones


def test_augmented_views_are_those_that_training_draws(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        pixels = np.random.default_rng(ord(label)).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / "1.png")

    show(
        tmp_path / "photos",
        out=tmp_path / "sheet.html",
        augmented=True,
        backbone="embedded",
        recipe=Recipe(size=64),
        on_event=None,
    )

    sheet = Sheet(tmp_path / "sheet.html")
    preprocess = Preprocess.of(find_spec("embedded")).at(64)
    shown = [address for name, address in sheet.images if name == "view 1"]
    image = torch.from_numpy(np.array(Image.open(tmp_path / "photos" / "a" / "1.png"))).permute(2, 0, 1)[None]
    assert preprocess.resize == preprocess.crop == 64  # so that nothing is resized here
    expected = views(image, 64, BOTH, seed=0, images=np.array([0]))[0].permute(1, 2, 0).numpy()
    assert shown[0] == encode_thumbnail(np.ascontiguousarray(expected)).address
    assert len(shown) == 2
    assert "shifted by up to 8 px" in sheet.text


@pytest.mark.slow
def test_a_page_of_many_classes_stays_bounded(tmp_path: Path) -> None:
    for number in range(200):
        folder = tmp_path / "photos" / f"class {number:03}"
        folder.mkdir(parents=True)
        for k in range(4):
            pixels = np.random.default_rng([number, k]).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")

    shown = show(tmp_path / "photos", out=tmp_path / "sheet.html", on_event=None)

    assert (shown.per_class, shown.on_page) == (3, 600)
    assert len([name for name, _ in Sheet(tmp_path / "sheet.html").images if name.startswith("class")]) >= 600


def test_mistakes_are_found_before_anything_is_read(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--most"):
        show(photos, most=0)
    for option in ({"backbone": "resnet18"}, {"flips": False}):
        with pytest.raises(RecipeError, match="--augmented"):
            show(photos, on_event=None, **option)
    with pytest.raises(BackboneError):
        show(photos, augmented=True, backbone="resnet19")
    with pytest.raises(RunError):
        show(photos, out=tmp_path / "missing" / "sheet.html", on_event=None)
