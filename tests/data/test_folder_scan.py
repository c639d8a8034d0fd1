"""One walk over a folder: which files are images, and why others are left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart.data.folder_scan import Tree, read_tree
from headstart.data.image_set import scan
from laid_files import JPEG, find, lay, rows


def test_files_that_are_not_images_are_skipped_and_reported(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "cat/1.jpg",
        "dog/1.jpg",
        ".ipynb_checkpoints/1.jpg",
        "__MACOSX/cat/._1.jpg",
        "cat/.DS_Store",
        "Cat.jxl",
    )
    lay(tmp_path, "cat/Thumbs.db", "notes.txt", "dog/labels.xml", "empty", content=b"text")

    image_set = scan(tmp_path)

    assert image_set.classes == ("cat", "dog")
    assert len(image_set.samples) == 2
    skipped = {finding.detail["reason"]: finding for finding in find(image_set, "skipped")}
    assert skipped["hidden"].names == (".ipynb_checkpoints", "__MACOSX", "cat/.DS_Store", "cat/Thumbs.db")
    assert skipped["not-image"].names == ("dog/labels.xml", "empty", "notes.txt")
    assert skipped["not-image"].detail["count"] == 3
    unread = find(image_set, "unsupported-format")[0]
    assert (unread.names, unread.severity) == (("Cat.jxl",), "warning")


def test_many_skipped_names_are_counted_in_full_and_the_first_ones_listed(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg")
    lay(tmp_path, *(f"a/{number:03}.txt" for number in range(50)), content=b"text")

    (finding,) = scan(tmp_path).findings

    assert (finding.detail["count"], len(finding.names)) == (50, 20)
    assert finding.message == "50 files skipped: not images."


@pytest.mark.parametrize(
    "head",
    [
        JPEG,
        b"\x89PNG\r\n\x1a\n" + bytes(9),
        b"GIF89a" + bytes(9),
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"BM\1\0\0\0\0\0\0\0" + bytes(9),
    ],
)
def test_images_without_a_suffix_are_used_and_with_a_wrong_one_reported(tmp_path: Path, head: bytes) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg")
    lay(tmp_path, "a/plain", "a/old.bak", content=head)

    image_set = scan(tmp_path)

    assert [name for name, _, _ in rows(image_set)] == ["a/1.jpg", "a/plain", "b/1.jpg"]
    found = {finding.detail["reason"]: finding for finding in find(image_set, "suffix")}
    assert found["no-suffix"].names == ("a/plain",)
    assert (found["wrong-suffix"].names, found["wrong-suffix"].severity) == (("a/old.bak",), "warning")


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root, outside = lay(tmp_path / "photos", "cat/1.jpg", "owl/1.jpg"), lay(tmp_path / "elsewhere", "x/1.jpg", "2.jpg")
    (root / "cat" / "up").symlink_to(root)
    (root / "a_cat").symlink_to(root / "cat")
    (root / "dog").symlink_to(outside)
    (outside / "back").symlink_to(root / "dog")
    (root / "cat" / "linked.jpg").symlink_to(outside / "2.jpg")
    (root / "cat" / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (root / "cat" / "self.jpg").symlink_to(root / "cat" / "self.jpg")

    image_set = scan(root)

    names = [name for name, _, _ in rows(image_set)]
    assert names == ["a_cat/1.jpg", "a_cat/linked.jpg", "dog/2.jpg", "dog/x/1.jpg", "owl/1.jpg"]
    reported = {finding.detail["reason"]: finding.names for finding in find(image_set, "skipped")}
    assert reported["broken-link"] == ("a_cat/broken.jpg", "a_cat/self.jpg")
    assert reported["repeated-link"] == ("cat/up/", "dog/back/")
    assert reported["linked"] == ("cat/",)
    assert any(one.message.startswith("1 folder read under") for one in image_set.findings)


def test_a_class_is_named_by_its_link_and_not_by_the_store_it_leads_to(tmp_path: Path) -> None:
    root = lay(tmp_path, "_store/1.jpg", "square/1.jpg")
    (root / "round").symlink_to("_store")

    image_set = scan(root)

    assert rows(image_set) == [("round/1.jpg", "round", None), ("square/1.jpg", "square", None)]
    (finding,) = image_set.findings
    assert (finding.names, finding.severity) == (("_store/",), "note")
    assert "under the name of the links" in finding.message


def test_links_into_one_store_of_several_folders_name_the_classes(tmp_path: Path) -> None:
    root = lay(tmp_path, "store/a/1.jpg", "store/b/deep/2.jpg", "store/b/notes.txt")
    (root / "round").symlink_to(root / "store" / "a")
    (root / "square").symlink_to(root / "store" / "b")

    image_set = scan(root)

    assert rows(image_set) == [("round/1.jpg", "round", None), ("square/deep/2.jpg", "square", None)]
    assert find(image_set, "empty-class") == []
    assert find(image_set, "suffix")[0].names == ("square/notes.txt",)


def test_linked_files_have_the_label_of_their_link(tmp_path: Path) -> None:
    root = lay(tmp_path, "_store/1.jpg", "_store/2.jpg", "_store/3.jpg", "square/0.jpg", "round/")
    (root / "round" / "one.jpg").symlink_to("../_store/1.jpg")
    (root / "round" / "two.jpg").symlink_to("../_store/2.jpg")
    (root / "square" / "three.jpg").symlink_to("../_store/3.jpg")

    image_set = scan(root)

    assert [name for name, _, _ in rows(image_set)] == [
        "round/one.jpg",
        "round/two.jpg",
        "square/0.jpg",
        "square/three.jpg",
    ]
    (finding,) = image_set.findings
    assert finding.detail == {"reason": "linked", "count": 3}


def test_links_that_gather_classes_take_no_image_from_them(tmp_path: Path) -> None:
    root = lay(tmp_path, "cat/1.jpg", "dog/1.jpg", "all/")
    for name in ("cat", "dog"):
        (root / "all" / f"{name}.jpg").symlink_to(f"../{name}/1.jpg")

    assert [name for name, _, _ in rows(scan(root))] == ["all/cat.jpg", "all/dog.jpg", "cat/1.jpg", "dog/1.jpg"]


def test_a_link_takes_no_part_of_another_class(tmp_path: Path) -> None:
    root = lay(tmp_path, "cat/1.jpg", "dog/2.jpg", "dog/puppies/3.jpg")
    (root / "cat" / "more").symlink_to("../dog/puppies")

    tree = read_tree(root)

    assert tree.images == ("cat/1.jpg", "dog/2.jpg", "dog/puppies/3.jpg")
    assert tree.others == {"repeated-link": ("cat/more/",)}


@pytest.mark.parametrize("linked", ["val", "val/cat", "val/cat/1.jpg"])
def test_a_link_never_takes_images_out_of_another_split(tmp_path: Path, linked: str) -> None:
    root = lay(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "val/dog/1.jpg")
    target = root / "train" / linked[4:]
    if linked == "val":
        (root / "val" / "dog" / "1.jpg").unlink()
        (root / "val" / "dog").rmdir()
        (root / "val").rmdir()
    (root / linked).parent.mkdir(exist_ok=True)
    (root / linked).symlink_to(target)

    splits = {name: split for name, _, split in rows(scan(root))}

    assert splits["train/cat/1.jpg"] == splits["train/dog/1.jpg"] == "train"


def test_two_links_to_one_folder_give_one_class(tmp_path: Path) -> None:
    root = lay(tmp_path, "_store/1.jpg", "square/1.jpg")
    (root / "round").symlink_to("_store")
    (root / "circle").symlink_to("_store")

    image_set = scan(root)

    assert image_set.classes == ("circle", "square")
    skipped = {finding.detail["reason"]: finding.names for finding in find(image_set, "skipped")}
    assert skipped == {"linked": ("_store/",), "repeated-link": ("round/",)}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_link_to_a_device_is_not_called_broken(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")

    reported = {finding.detail["reason"]: finding.names for finding in find(scan(tmp_path), "skipped")}

    assert reported == {"special-file": ("a/zero.jpg",), "broken-link": ("a/gone.jpg",)}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_reported_and_never_opened(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")

    image_set = scan(tmp_path)

    assert find(image_set, "skipped")[0].names == ("a/pipe.jpg",)


def test_unusual_names_are_kept_as_data(tmp_path: Path) -> None:
    lay(tmp_path, "a\x1b[31m/=1+1.jpg", "[bold]b/new\nline.jpg")
    raw = os.fsdecode(b"b\xe9")  # Latin-1 bytes, no UTF-8
    lay(tmp_path, f"{raw}/1.jpg")

    image_set = scan(tmp_path)

    assert set(image_set.classes) == {"a\x1b[31m", "[bold]b", "b\\udce9"}
    assert {name for name, _, _ in rows(image_set)} == {"a\x1b[31m/=1+1.jpg", "[bold]b/new\nline.jpg", "b\\udce9/1.jpg"}
    assert all(sample.path.read_bytes() == JPEG for sample in image_set.samples)
    assert all(sample.name.encode("utf-8") for sample in image_set.samples)


def test_a_tree_has_sorted_posix_paths_and_every_folder(tmp_path: Path) -> None:
    lay(tmp_path, "b/2.jpg", "b/1.PNG", "a/deep/3.webp", "empty/")

    tree = read_tree(tmp_path)

    assert tree == Tree(("a/deep/3.webp", "b/1.PNG", "b/2.jpg"), ("a", "a/deep", "b", "empty"), {})
