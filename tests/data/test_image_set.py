"""Image sets: every layout, and every file that is not used is said."""

from __future__ import annotations

import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

from headstart.data.finding import Finding
from headstart.data.image_set import ImageSet, scan, scan_unlabelled
from headstart.errors import DataError

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


def lay(root: Path, *names: str, content: bytes = JPEG) -> Path:
    """Make files, and folders where a name ends in `/`."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def rows(image_set: ImageSet) -> list[tuple[str, str | None, str | None]]:
    return [(sample.name, sample.label, sample.split) for sample in image_set.samples]


def find(image_set: ImageSet, kind: str) -> list[Finding]:
    return [finding for finding in image_set.findings if finding.kind == kind]


def kinds(image_set: ImageSet) -> set[str]:
    return {finding.kind for finding in image_set.findings}


def test_a_folder_per_class_is_read_in_order_of_names(tmp_path: Path) -> None:
    lay(tmp_path, "dog/2.JPG", "cat/10.png", "cat/9.jpeg", "cat/deep/er/1.webp", "dog/1.tif")

    image_set = scan(tmp_path)

    assert rows(image_set) == [
        ("cat/10.png", "cat", None),
        ("cat/9.jpeg", "cat", None),
        ("cat/deep/er/1.webp", "cat", None),
        ("dog/1.tif", "dog", None),
        ("dog/2.JPG", "dog", None),
    ]
    assert image_set.classes == ("cat", "dog")
    assert image_set.findings == ()
    assert image_set.samples[0].path == tmp_path / "cat" / "10.png"
    summary = image_set.to_dict()
    assert summary["counts"] == {"all": {"cat": 3, "dog": 2}}
    assert (summary["images"], summary["classes"], summary["source"]) == (5, ["cat", "dog"], str(tmp_path))


@pytest.mark.parametrize(
    ("words", "parts"),
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
def test_folders_of_parts_are_known_by_their_usual_names(
    tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    lay(tmp_path, *(f"{word}/{label}/1.jpg" for word in words for label in ("cat", "dog")))

    image_set = scan(tmp_path)

    expected = [
        (f"{word}/{label}/1.jpg", label, part)
        for word, part in zip(words, parts, strict=True)
        for label in ("cat", "dog")
    ]
    assert rows(image_set) == sorted(expected)
    assert kinds(image_set) == set()


def test_two_folders_of_one_part_are_read_together_and_said(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, *(f"{word}/{label}/1.jpg" for word in ("train", "val", "dev") for label in "ab")))

    assert [part for _, _, part in rows(image_set)].count("validation") == 4
    assert find(image_set, "merged-splits")[0].names == ("dev", "val")


def test_a_class_called_train_among_other_classes_is_a_class(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, "bus/1.jpg", "car/1.jpg", "train/1.jpg", "train/steam/2.jpg"))

    assert image_set.classes == ("bus", "car", "train")
    assert {part for _, _, part in rows(image_set)} == {None}
    assert find(image_set, "split-name-as-class")[0].names == ("train",)


def test_folders_beside_the_parts_are_said_and_not_used(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg", "extra/cat/3.jpg", "val/")

    image_set = scan(tmp_path)

    assert len(image_set.samples) == 4
    assert find(image_set, "unused-folder")[0].names == ("extra/cat/3.jpg",)
    assert find(image_set, "empty-split")[0].names == ("val",)


@pytest.mark.parametrize("prefix", ["photos/", "a/b/c/", "photos/photos/"])
@pytest.mark.parametrize(
    "layout", [("cat/1.jpg", "dog/1.jpg"), ("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg")]
)
def test_wrapping_folders_are_passed_and_said(tmp_path: Path, prefix: str, layout: tuple[str, ...]) -> None:
    image_set = scan(lay(tmp_path, *(prefix + name for name in layout), "README.md", content=JPEG))

    assert image_set.classes == ("cat", "dog")
    assert find(image_set, "wrapper-folder")[0].detail == {"folder": prefix.rstrip("/")}
    assert [sample.name for sample in image_set.samples] == [prefix + name for name in layout]


def test_what_is_not_an_image_is_skipped_and_said(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "cat/1.jpg",
        "dog/1.jpg",
        ".ipynb_checkpoints/1.jpg",
        "__MACOSX/cat/._1.jpg",
        "cat/.DS_Store",
        "Cat.heic",
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
    assert (unread.names, unread.severity) == (("Cat.heic",), "warning")


def test_many_skipped_names_are_counted_in_full_and_listed_in_part(tmp_path: Path) -> None:
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
def test_images_without_a_suffix_are_used_and_under_a_foreign_one_named(tmp_path: Path, head: bytes) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg")
    lay(tmp_path, "a/plain", "a/old.bak", content=head)

    image_set = scan(tmp_path)

    assert [name for name, _, _ in rows(image_set)] == ["a/1.jpg", "a/plain", "b/1.jpg"]
    found = {finding.detail["reason"]: finding for finding in find(image_set, "suffix")}
    assert found["no-suffix"].names == ("a/plain",)
    assert (found["wrong-suffix"].names, found["wrong-suffix"].severity) == (("a/old.bak",), "warning")


def test_loose_images_and_empty_classes_are_named_and_left_out(tmp_path: Path) -> None:
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


def test_a_class_that_training_does_not_have_keeps_its_own_label(tmp_path: Path) -> None:
    # by index "wasp" would become class 2 and "bee" 1: by name nothing moves
    lay(
        tmp_path,
        "train/ant/1.jpg",
        "train/bee/1.jpg",
        "test/bee/2.jpg",
        "test/wasp/3.jpg",
        "test/wasp/4.jpg",
        "test/aphid/5.jpg",
    )

    image_set = scan(tmp_path)

    assert image_set.classes == ("ant", "bee")
    assert ("test/wasp/3.jpg", "wasp", "test") in rows(image_set)
    (finding,) = find(image_set, "unknown-class")
    assert finding.severity == "problem"
    assert finding.detail == {"split": "test", "count": 3, "counts": {"aphid": 1, "wasp": 2}}
    assert image_set.to_dict()["counts"]["test"] == {"aphid": 1, "bee": 1, "wasp": 2}


def test_two_spellings_of_one_unicode_name_are_one_class(tmp_path: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    lay(tmp_path, f"train/{composed}/1.jpg", "train/蜂/1.jpg", f"test/{taken_apart}/2.jpg", "test/蜂/2.jpg")

    image_set = scan(tmp_path)

    assert image_set.classes == (composed, "蜂")
    assert kinds(image_set) == set()


def test_odd_names_are_kept_as_data(tmp_path: Path) -> None:
    lay(tmp_path, "a\x1b[31m/=1+1.jpg", "[bold]b/new\nline.jpg")
    raw = os.fsdecode(b"b\xe9")  # Latin-1 bytes, no UTF-8
    lay(tmp_path, f"{raw}/1.jpg")

    image_set = scan(tmp_path)

    assert set(image_set.classes) == {"a\x1b[31m", "[bold]b", "b\\udce9"}
    assert {name for name, _, _ in rows(image_set)} == {"a\x1b[31m/=1+1.jpg", "[bold]b/new\nline.jpg", "b\\udce9/1.jpg"}
    assert all(sample.path.read_bytes() == JPEG for sample in image_set.samples)
    assert all(sample.name.encode("utf-8") for sample in image_set.samples)


def test_names_that_differ_only_by_case_are_said(tmp_path: Path) -> None:
    image_set = scan(lay(tmp_path, "Cat/1.jpg", "cat/2.jpg", "cat/A.jpg", "cat/a.jpg", "dog/1.jpg"))

    assert image_set.classes == ("Cat", "cat", "dog")
    assert find(image_set, "similar-class-names")[0].detail == {"classes": ["Cat", "cat"]}
    assert find(image_set, "case-collision")[0].groups == (("cat/A.jpg", "cat/a.jpg"),)


def test_links_are_followed_once_and_loops_are_no_trap(tmp_path: Path) -> None:
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
    assert names == ["cat/1.jpg", "cat/linked.jpg", "dog/2.jpg", "dog/x/1.jpg", "owl/1.jpg"]
    said = {finding.detail["reason"]: finding.names for finding in find(image_set, "skipped")}
    assert said["broken-link"] == ("cat/broken.jpg", "cat/self.jpg")
    assert said["repeated-link"] == ("a_cat/", "cat/up/", "dog/back/")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_said_and_never_opened(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")

    image_set = scan(tmp_path)

    assert find(image_set, "skipped")[0].names == ("a/pipe.jpg",)


def test_a_table_is_read_as_a_file_and_as_the_one_table_of_a_folder(tmp_path: Path) -> None:
    lay(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg", "images/4.jpg")
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,label,split,group\nimages/2.jpg,dog,test,\nimages/1.jpg,cat,train,g\nimages/3.jpg,dog,train,g\n"
    )

    as_file, as_folder = scan(table), scan(tmp_path)

    expected = [("images/1.jpg", "cat", "train"), ("images/2.jpg", "dog", "test"), ("images/3.jpg", "dog", "train")]
    assert rows(as_file) == rows(as_folder) == expected
    assert [sample.group for sample in as_folder.samples] == ["g", None, "g"]
    assert "table" in kinds(as_file)
    assert find(as_folder, "not-in-table")[0].names == ("images/4.jpg",)
    assert not find(as_folder, "skipped")


def test_a_relative_path_to_a_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "photos", "1.jpg", "2.jpg")
    (tmp_path / "photos" / "t.csv").write_text("path,label\n1.jpg,a\n2.jpg,b\n")
    monkeypatch.chdir(tmp_path / "photos")

    for source in (Path("t.csv"), Path(), Path("../photos"), Path("../photos/t.csv")):
        image_set = scan(source)

        assert [name for name, _, _ in rows(image_set)] == ["1.jpg", "2.jpg"]
        assert all(sample.path.is_absolute() for sample in image_set.samples)
        assert "not-in-table" not in kinds(image_set)


def test_other_tables_beside_class_folders_change_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "sizes.csv").write_text("path,width\ncat/1.jpg,3\n")

    assert rows(scan(tmp_path)) == [("cat/1.jpg", "cat", None), ("dog/1.jpg", "dog", None)]


def test_two_tables_without_class_folders_must_be_told_apart(tmp_path: Path) -> None:
    lay(tmp_path, "images/1.jpg", "images/2.jpg")
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("path,label\nimages/1.jpg,a\nimages/2.jpg,b\n")

    with pytest.raises(DataError, match=r"one table that lists images.*test\.csv, train\.csv"):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
@pytest.mark.parametrize("layout", ["classes", "parts", "table"])
def test_an_archive_of_any_layout_is_scanned(tmp_path: Path, name: str, layout: str) -> None:
    files = {
        "classes": ["photos/cat/1.jpg", "photos/dog/2.jpg"],
        "parts": ["photos/train/cat/1.jpg", "photos/train/dog/2.jpg"],
        "table": ["photos/1.jpg", "photos/2.jpg", "photos/labels.csv"],
    }[layout]
    folder = lay(tmp_path / "made", *files)
    if layout == "table":
        (folder / files[-1]).write_text("path,label\n1.jpg,cat\n2.jpg,dog\n")
    archive = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(archive, "w") as made:
            for file in files:
                made.write(folder / file, file)
    else:
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(folder / "photos", "photos")

    image_set = scan(archive, unpack_into=tmp_path / "cache")

    assert [(sample.name, sample.label) for sample in image_set.samples] == [(files[0], "cat"), (files[1], "dog")]
    assert image_set.source == str(archive)
    assert image_set.root.parent == tmp_path / "cache"
    assert image_set.samples[0].path.read_bytes() == JPEG


def test_a_table_from_an_archive_cannot_reach_out_of_it(tmp_path: Path) -> None:
    lay(tmp_path, "secret.jpg")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("1.jpg", JPEG)
        made.writestr("labels.csv", f"path,label\n1.jpg,cat\n{tmp_path}/secret.jpg,dog\n")

    with pytest.raises(DataError, match="paths inside the archive"):
        scan(tmp_path / "a.zip", unpack_into=tmp_path / "cache")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "images in class folders, found none. an empty folder"),
        (("cat/", "dog/"), r"found none\..*class folders without a usable image"),
        (("1.jpg", "2.jpg"), r"found none\. 2 \(1\.jpg, 2\.jpg\): images in no class folder"),
        (("train/1.jpg", "test/2.jpg"), r"found none\..*no class folder"),
        (("cat/1.jpg", "cat/2.jpg"), r"at least 2 classes with images, found 1 \('cat'\)"),
        (("cat/1.jpg", "dog/1.heic"), r"found 1 \('cat'\).*unsupported format"),
        (("train/cat/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg"), r"found 1 \('cat'\)"),
    ],
)
def test_a_set_that_cannot_be_learnt_says_what_is_missing(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        scan(lay(tmp_path, *names))

    assert caught.value.where == str(tmp_path)
    assert "own folder" in caught.value.hint


def test_one_class_passes_where_it_is_asked_for(tmp_path: Path) -> None:
    assert scan(lay(tmp_path, "cat/1.jpg"), least_classes=1).classes == ("cat",)


def test_a_path_that_is_not_there_names_its_neighbours(tmp_path: Path) -> None:
    lay(tmp_path, "photos/", "videos/")

    with pytest.raises(DataError, match="Did you mean photos"):
        scan(tmp_path / "photo")
    with pytest.raises(DataError, match="does not exist either"):
        scan(tmp_path / "nowhere" / "photos")


def test_a_single_image_is_sent_to_predict(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found another file.*headstart predict"):
        scan(lay(tmp_path, "1.jpg") / "1.jpg")


def test_an_archive_needs_a_folder_to_unpack_into(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder to unpack"):
        scan(lay(tmp_path, "a.zip") / "a.zip")


def test_paths_to_predict_keep_their_order_and_lose_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "new/b.jpg", "new/a.png", "new/deep/c.jpg", "new/d.heic", "new/wrong.txt", "new/.hidden.jpg", "z.jpg")
    lay(tmp_path, "new/notes.txt", "notes.pdf", content=b"text")

    found = scan_unlabelled([tmp_path / "z.jpg", tmp_path / "notes.pdf", tmp_path / "new", tmp_path / "z.jpg"])

    named = [path.relative_to(tmp_path).as_posix() for path in found]
    inside = ["new/a.png", "new/b.jpg", "new/d.heic", "new/deep/c.jpg", "new/wrong.txt"]
    assert named == ["z.jpg", "notes.pdf", *inside, "z.jpg"]


def test_paths_to_predict_that_hold_nothing_are_an_error(tmp_path: Path) -> None:
    lay(tmp_path, "empty/", "photo.jpg")

    with pytest.raises(DataError, match=r"Did you mean photo\.jpg"):
        scan_unlabelled([tmp_path / "foto.jpg"])
    with pytest.raises(DataError, match="at least one image"):
        scan_unlabelled([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("hymenoptera", {"train": {"ants": 123, "bees": 121}, "validation": {"ants": 70, "bees": 83}}),
        (
            "rps_photos",
            {"train": {"paper": 145, "rock": 144, "scissors": 144}, "test": {"paper": 62, "rock": 61, "scissors": 62}},
        ),
        (
            "rps28",
            {
                "train": dict.fromkeys(("paper", "rock", "scissors"), 840),
                "test": dict.fromkeys(("paper", "rock", "scissors"), 124),
            },
        ),
    ],
)
def test_real_sets_are_counted_as_their_readme_says(
    test_data: Path, name: str, counts: dict[str, dict[str, int]]
) -> None:
    image_set = scan(test_data / name)

    assert image_set.to_dict()["counts"] == counts
    assert kinds(image_set) == {"skipped"}  # README.md, LICENSE


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/photos"])
def test_a_path_longer_than_the_system_allows_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing there"):
        scan(tmp_path / name)
    with pytest.raises(DataError, match="nothing there"):
        scan_unlabelled([tmp_path / name])
