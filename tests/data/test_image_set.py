"""Image sets: every layout is read, and every file that is not used is reported."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from headstart.data.image_set import scan, scan_unlabelled
from headstart.errors import DataError
from headstart.source_layout import SourceLayout
from laid_files import JPEG, find, kinds, lay, rows


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


def test_of_two_tables_without_class_folders_one_must_be_named(tmp_path: Path) -> None:
    lay(tmp_path, "images/1.jpg", "images/2.jpg")
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("path,label\nimages/1.jpg,a\nimages/2.jpg,b\n")

    with pytest.raises(DataError, match=r"one table that lists images.*test\.csv, train\.csv"):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
@pytest.mark.parametrize("layout", ["classes", "splits", "table"])
def test_an_archive_of_any_layout_is_scanned(tmp_path: Path, name: str, layout: str) -> None:
    files = {
        "classes": ["photos/cat/1.jpg", "photos/dog/2.jpg"],
        "splits": ["photos/train/cat/1.jpg", "photos/train/dog/2.jpg"],
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
        (("cat/", "dog/"), r"found none\..*2 class folders without a usable image, left out: cat, dog\."),
        (("1.jpg", "2.jpg"), r"found none\. 2 images in no class folder, not used: 1\.jpg, 2\.jpg\."),
        (("train/1.jpg", "test/2.jpg"), r"found none\..*no class folder"),
        (("cat/1.jpg", "cat/2.jpg"), r"at least 2 classes with images, found 1 \('cat'\)"),
        (("cat/1.jpg", "dog/1.jxl"), r"found 1 \('cat'\).*unsupported format"),
        (("train/cat/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg"), r"found 1 \('cat'\)"),
    ],
)
def test_a_data_set_that_cannot_be_learned_is_an_error_that_names_what_is_missing(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        scan(lay(tmp_path, *names))

    assert caught.value.where == str(tmp_path)
    assert "own folder" in caught.value.hint


def test_one_class_passes_where_it_is_asked_for(tmp_path: Path) -> None:
    assert scan(lay(tmp_path, "cat/1.jpg"), least_classes=1).classes == ("cat",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".zip", ".tar.gz", ""])
def test_a_device_is_never_read(tmp_path: Path, suffix: str) -> None:
    """Nor a pipe, which waits for ever; /dev/null would end."""
    (tmp_path / f"set{suffix}").symlink_to("/dev/null")

    with pytest.raises(DataError, match=r"a folder or a regular file, found a device"):
        scan(tmp_path / f"set{suffix}", unpack_into=tmp_path / "unpacked")


def test_a_pipe_beside_the_images_is_no_table(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "labels.csv").symlink_to("/dev/zero")  # without an end, as a pipe is

    assert scan(tmp_path).classes == ("cat", "dog")


def test_a_path_that_does_not_exist_names_similar_ones(tmp_path: Path) -> None:
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
    lay(tmp_path, "new/b.jpg", "new/a.png", "new/deep/c.jpg", "new/d.jxl", "new/wrong.txt", "new/.hidden.jpg", "z.jpg")
    lay(tmp_path, "new/notes.txt", "notes.pdf", content=b"text")

    found = scan_unlabelled([tmp_path / "z.jpg", tmp_path / "notes.pdf", tmp_path / "new", tmp_path / "z.jpg"])

    named = [path.relative_to(tmp_path).as_posix() for path in found]
    inside = ["new/a.png", "new/b.jpg", "new/d.jxl", "new/deep/c.jpg", "new/wrong.txt"]
    assert named == ["z.jpg", "notes.pdf", *inside, "z.jpg"]


def test_paths_to_predict_that_hold_nothing_are_an_error(tmp_path: Path) -> None:
    lay(tmp_path, "empty/", "photo.jpg")

    with pytest.raises(DataError, match=r"Did you mean photo\.jpg"):
        scan_unlabelled([tmp_path / "foto.jpg"])
    with pytest.raises(DataError, match="at least one image"):
        scan_unlabelled([tmp_path / "empty"])


def test_videos_in_a_folder_are_counted_as_left_out(tmp_path: Path) -> None:
    lay(tmp_path, "new/a.png")
    lay(tmp_path, "new/one.mp4", "new/deep/two.MOV", "films/one.avi", content=b"film")
    said: list[str] = []

    assert scan_unlabelled([tmp_path / "new"], on_skip=said.append) == [tmp_path / "new" / "a.png"]

    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path / 'new'}: 2 videos left out.")
    with pytest.raises(DataError, match=r"1 video left out\..* a pattern such as \*\.mp4"):
        scan_unlabelled([tmp_path / "films"])


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
def test_a_path_longer_than_the_system_allows_does_not_exist(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing there"):
        scan(tmp_path / name)
    with pytest.raises(DataError, match="nothing there"):
        scan_unlabelled([tmp_path / name])


def test_listed_classes_keep_their_order_and_those_without_images_their_place(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "dog/1.png", "dog/2.png")

    image_set = scan(tmp_path, layout=SourceLayout(classes=("dog", "yak", "cat", "gnu")))

    assert image_set.classes == ("dog", "yak", "cat", "gnu")
    (finding,) = image_set.findings
    assert (finding.kind, finding.severity, finding.detail["classes"]) == ("empty-class", "warning", ["yak", "gnu"])
    assert finding.message == "No training image of yak, gnu: listed as a class, but not learned."


def test_images_of_classes_that_are_not_listed_stop_a_training(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/Gnu/1.png", "test/yak/1.png", "test/yak/2.png")
    layout = SourceLayout(classes=("cat", "dog", "gnu"))

    with pytest.raises(DataError) as refused:
        scan(tmp_path, layout=layout)
    (audited,) = find(scan(tmp_path, layout=layout, stop=False), "other-class")

    assert refused.value.expected == "images of the listed classes only: cat, dog, gnu"
    assert refused.value.found == "Gnu (1 image), yak (2 images)"
    assert refused.value.hint == "Add them to the list, or leave these images out. Did you mean gnu?"
    assert audited.detail["counts"] == {"Gnu": 1, "yak": 2}


def test_of_listed_classes_two_need_images(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "cat/2.png")
    with pytest.raises(DataError, match="at least 2 classes with images, found 1 \\('cat'\\)"):
        scan(tmp_path, layout=SourceLayout(classes=("cat", "dog")))


def test_no_image_at_all_is_asked_for() -> None:
    with pytest.raises(DataError, match="at least one image, found none"):
        scan_unlabelled([])
