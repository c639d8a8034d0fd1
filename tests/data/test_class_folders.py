"""Class and split folders: which image gets which label and split, and what is reported."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.errors import DataError
from headstart.source_layout import SourceLayout
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


@pytest.mark.parametrize(
    "other", ["ants\u200b", "a\ufeffnts", "\u202aants", "ANTS\u00a0", "ａｎｔｓ"], ids=ascii
)  # a mark of a word processor, of a file, of a direction; a space that does not break; full width
def test_names_that_look_the_same_are_reported(tmp_path: Path, other: str) -> None:
    image_set = scan(lay(tmp_path, "ants/1.jpg", f"{other}/2.jpg", "an ts/3.jpg", "bees/3.jpg"))

    (finding,) = find(image_set, "similar-class-names")
    assert finding.detail == {"classes": sorted(["ants", other.strip("\u3000")])}


@pytest.mark.parametrize("other", ["1,000", "01000", "1000.0", "１０００", "1 000"])
def test_two_spellings_of_one_number_are_reported(tmp_path: Path, other: str) -> None:
    image_set = scan(lay(tmp_path, "1000/1.jpg", f"{other}/2.jpg", "10000/3.jpg"))

    (finding,) = find(image_set, "similar-class-names")
    assert finding.detail == {"classes": sorted(["1000", other])}


def test_letters_of_another_script_that_look_the_same_are_reported(tmp_path: Path) -> None:
    cyrillic = "\u0430nt\u0455"
    image_set = scan(lay(tmp_path, "ants/1.jpg", f"{cyrillic}/2.jpg", "муравьи/3.jpg"))

    assert find(image_set, "similar-class-names")[0].detail == {"classes": ["ants", cyrillic]}


def test_splits_of_other_names_are_not_taken_for_classes_without_a_word(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{split}/{name}/1.jpg" for split in ("seg_train", "seg_test") for name in ("ants", "bees")))

    with pytest.raises(DataError, match=r"If seg_test, seg_train are splits, rename them train, validation or test"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("names", "inner"),
    [
        (("x/1/a.jpg", "x/2/a.jpg", "y/1/a.jpg", "y/2/a.jpg"), ["1", "2"]),
        (("2023/ants/a.jpg", "2023/bees/a.jpg", "2024/ants/a.jpg", "2024/bees/a.jpg"), ["ants", "bees"]),
        # a few may be missing in places
        (("x/1/a.jpg", "x/2/a.jpg", "y/1/a.jpg", "y/2/a.jpg", "z/1/a.jpg", "z/2/a.jpg", "z/3/a.jpg"), ["1", "2"]),
        # at a deeper level
        (("x/p/ants/a.jpg", "x/p/bees/a.jpg", "y/q/ants/a.jpg", "y/q/bees/a.jpg"), ["ants", "bees"]),
        # inside the folders of splits
        (
            ("train/x/1/a.jpg", "train/x/2/a.jpg", "train/y/1/a.jpg", "train/y/2/a.jpg", "test/x/1/b.jpg",
             "test/y/2/b.jpg"),
            ["1", "2"],
        ),
        # in other capitals
        (("x/Ants/a.jpg", "x/Bees/a.jpg", "y/ants/a.jpg", "y/bees/a.jpg"), ["Ants", "Bees"]),
        # in the folder of one split, and classes of the other
        (
            ("train/x/1/a.jpg", "train/x/2/a.jpg", "train/y/1/a.jpg", "train/y/2/a.jpg", "test/1/b.jpg",
             "test/2/b.jpg"),
            ["1", "2"],
        ),
    ],
)  # fmt: skip
def test_the_same_folders_inside_all_classes_stop_a_training(
    tmp_path: Path, names: tuple[str, ...], inner: list[str]
) -> None:
    lay(tmp_path, *names)

    with pytest.raises(DataError, match=r"same folders .* inside .*--label-from first .*--label-from last"):
        scan(tmp_path)
    (finding,) = find(scan(tmp_path, stop=False), "two-levels")

    assert finding.detail["inner"] == inner
    assert finding.severity == "problem"
    last = scan(tmp_path, layout=SourceLayout(label_from="last"))
    assert set(inner) <= set(last.classes)


@pytest.mark.parametrize(
    "names",
    [
        ("x/1/a.jpg", "x/2/a.jpg", "y/3/a.jpg", "y/4/a.jpg"),  # other names in each
        ("x/images/a.jpg", "y/images/a.jpg"),  # one shared name only wraps
        ("x/1/a.jpg", "x/2/a.jpg", "y/a.jpg", "y/b.jpg"),  # in one class alone
        # images beside them
        ("x/1/a.jpg", "x/2/a.jpg", "x/b.jpg", "x/c.jpg", "y/1/a.jpg", "y/2/a.jpg", "y/b.jpg", "y/c.jpg"),
        # fewer than half are shared
        ("x/1/a.jpg", "x/2/a.jpg", "x/3/a.jpg", "x/4/a.jpg", "y/1/a.jpg", "y/2/a.jpg", "y/5/a.jpg", "y/6/a.jpg",
         "y/7/a.jpg"),
    ],
)  # fmt: skip
def test_folders_inside_classes_that_differ_mean_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    image_set = scan(lay(tmp_path, *names))

    assert image_set.classes == ("x", "y")
    assert find(image_set, "two-levels") == []


def test_trainval_beside_train_is_named_as_unused_once(tmp_path: Path) -> None:
    lay(
        tmp_path, *(f"{split}/{name}/{split}.jpg" for split in ("train", "trainval", "test") for name in ("cat", "dog"))
    )

    image_set = scan(tmp_path)

    assert {sample.split for sample in image_set.samples} == {"train", "test"}
    assert len(image_set.samples) == 4
    assert find(image_set, "unused-folder")[0].detail == {"count": 2}
    assert find(image_set, "empty-split") == []


def test_train_and_val_inside_every_class_are_splits(tmp_path: Path) -> None:
    lay(tmp_path, "cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg", "dog/val/2.jpg", "owl/train/1.jpg")

    image_set = scan(tmp_path)

    assert {(sample.label, sample.split) for sample in image_set.samples} == {
        ("cat", "train"), ("cat", "validation"), ("dog", "train"), ("dog", "validation"), ("owl", "train"),
    }  # fmt: skip
    assert find(image_set, "inner-splits")[0].detail == {"splits": {"train": "train", "val": "validation"}}
    assert find(image_set, "two-levels") == []


@pytest.mark.parametrize(
    "names",
    [
        ("cat/train/1.jpg", "cat/val/1.jpg", "dog/train/1.jpg", "dog/old/1.jpg"),  # one folder is no split
        ("cat/train/1.jpg", "dog/train/1.jpg"),  # one split alone says nothing
        ("cat/train/1.jpg", "cat/val/1.jpg", "cat/0.jpg", "dog/train/1.jpg", "dog/val/1.jpg"),  # an image beside them
        ("cat/val/1.jpg", "cat/test/1.jpg", "dog/val/1.jpg", "dog/test/1.jpg"),  # nothing to train on
    ],
)
def test_folders_inside_classes_that_are_no_splits_give_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    image_set = scan(lay(tmp_path, *names), stop=False)

    assert {sample.split for sample in image_set.samples} == {None}
    assert find(image_set, "inner-splits") == []
