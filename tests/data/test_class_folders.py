"""Class and split folders: which image gets which label and split, and what is reported."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from laid_files import JPEG, find, kinds, lay, rows


@pytest.mark.parametrize(
    ("words", "splits"),
    [
        (("train", "val"), ("train", "validation")),
        (("Training", "VALID", "Testing"), ("train", "validation", "test")),
        (("TRAIN", "dev", "test"), ("train", "validation", "test")),
        (("train", "validation"), ("train", "validation")),
        (("train", "eval"), ("train", "test")),
        (("train", "evaluation", "test"), ("train", "validation", "test")),
        (("train", "val", "eval"), ("train", "validation", "test")),
        (("test",), ("test",)),
        (("train",), ("train",)),
    ],
)
def test_folders_of_splits_are_recognised_by_their_usual_names(
    tmp_path: Path, words: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    lay(tmp_path, *(f"{word}/{label}/1.jpg" for word in words for label in ("cat", "dog")))

    image_set = scan(tmp_path)

    expected = [
        (f"{word}/{label}/1.jpg", label, split)
        for word, split in zip(words, splits, strict=True)
        for label in ("cat", "dog")
    ]
    assert rows(image_set) == sorted(expected)
    assert kinds(image_set) == set()


def test_two_folders_of_one_split_are_used_together_and_reported(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, *(f"{word}/{label}/1.jpg" for word in ("train", "val", "dev") for label in "ab")))

    assert [split for _, _, split in rows(image_set)].count("validation") == 4
    assert find(image_set, "merged-splits")[0].names == ("dev", "val")


def test_a_class_called_train_among_other_classes_is_a_class(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, "bus/1.jpg", "car/1.jpg", "train/1.jpg", "train/steam/2.jpg"))

    assert image_set.classes == ("bus", "car", "train")
    assert {split for _, _, split in rows(image_set)} == {None}
    assert find(image_set, "split-name-as-class")[0].names == ("train",)


def test_folders_beside_the_splits_are_reported_and_not_used(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg", "extra/cat/3.jpg", "val/")

    image_set = scan(tmp_path)

    assert len(image_set.samples) == 4
    assert find(image_set, "unused-folder")[0].names == ("extra/cat/3.jpg",)
    assert find(image_set, "empty-split")[0].names == ("val",)


@pytest.mark.parametrize("prefix", ["photos/", "a/b/c/", "photos/photos/"])
@pytest.mark.parametrize(
    "layout", [("cat/1.jpg", "dog/1.jpg"), ("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg")]
)
def test_wrapper_folders_are_entered_and_reported(tmp_path: Path, prefix: str, layout: tuple[str, ...]) -> None:
    image_set = scan(lay(tmp_path, *(prefix + name for name in layout), "README.md", content=JPEG))

    assert image_set.classes == ("cat", "dog")
    assert find(image_set, "wrapper-folder")[0].detail == {"folder": prefix.rstrip("/")}
    assert [sample.name for sample in image_set.samples] == [prefix + name for name in layout]


def test_images_outside_classes_and_empty_classes_are_reported_and_left_out(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "test/cat/2.jpg",
        "test/loose.jpg",
        "top.jpg",
        "train/owl/",
        "test/dog/deep/",
    )
    lay(tmp_path, "train/fox/note.txt", content=b"text")

    image_set = scan(tmp_path)

    assert image_set.classes == ("cat", "dog")
    assert find(image_set, "no-class-folder")[0].names == ("test/loose.jpg", "top.jpg")
    assert find(image_set, "empty-class")[0].names == ("test/dog", "train/fox", "train/owl")
    assert find(image_set, "missing-class")[0].detail == {"split": "test", "classes": ["dog"]}


def test_two_spellings_of_one_unicode_name_are_one_class(tmp_path: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    lay(tmp_path, f"train/{composed}/1.jpg", "train/蜂/1.jpg", f"test/{taken_apart}/2.jpg", "test/蜂/2.jpg")

    image_set = scan(tmp_path)

    assert image_set.classes == (composed, "蜂")
    assert kinds(image_set) == set()


def test_names_that_differ_only_by_case_are_reported(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, "Cat/1.jpg", "cat/2.jpg", "cat/A.jpg", "cat/a.jpg", "dog/1.jpg"))

    assert image_set.classes == ("Cat", "cat", "dog")
    assert find(image_set, "similar-class-names")[0].detail == {"classes": ["Cat", "cat"]}
    assert find(image_set, "case-collision")[0].groups == (("cat/A.jpg", "cat/a.jpg"),)
