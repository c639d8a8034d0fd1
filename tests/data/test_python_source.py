"""Data sets given as Python values become tables that are read like any other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.dataset import load_dataset
from headstart.data.image_set import ImageSet, scan
from headstart.data.images import open_image
from headstart.data.python_source import KeptSource, keep_source, kept_fault
from headstart.errors import DataError, RecipeError
from headstart.recipe import Recipe
from headstart.source_layout import SourceLayout

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


class Frame:
    """What pandas and polars have in common, without either: columns by name, a column as a list."""

    def __init__(self, **columns: list[Any]) -> None:
        self.columns = list(columns)
        self._columns = columns

    def to_dict(self) -> dict[str, list[Any]]:
        return self._columns

    def __getitem__(self, name: str) -> Any:
        values = self._columns[name]
        return type("Column", (), {"to_list": lambda self: values})()


class Pictures:
    """A map dataset as torchvision has them."""

    def __init__(self, items: list[tuple[Any, Any]], classes: list[str] | None = None) -> None:
        self._items = items
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self._items[i]


def rows(kept: KeptSource) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(kept.table.read_text("utf-8"))))


def pixels(kept: KeptSource) -> list[NDArray[np.uint8]]:
    return [open_image(kept.table.parent / row["path"]).rgb for row in rows(kept)]


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_images_in_memory_lie_beside_the_table_with_the_same_pixels(tmp_path: Path) -> None:
    kept = keep_source([(one, "ab"[i % 2]) for i, one in enumerate(RGB)], tmp_path)

    assert [row["label"] for row in rows(kept)] == ["a", "b"] * 3
    np.testing.assert_array_equal(pixels(kept), RGB)
    assert kept.table.name == "list-6-images.csv"
    assert (kept.in_memory, kept.size_bytes) == (
        6,
        sum(file.stat().st_size for file in kept.table.parent.glob("*.png")),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda rgb: rgb,
        Image.fromarray,
        lambda rgb: torch.from_numpy(rgb).permute(2, 0, 1),
        lambda rgb: torch.from_numpy(rgb).permute(2, 0, 1).float() / 255,  # torchvision's ToTensor
        lambda rgb: _file(rgb, "BMP"),
        lambda rgb: io.BytesIO(_file(rgb, "PNG")),
    ],
)
def test_every_kind_of_image_keeps_its_pixels(tmp_path: Path, make: Any) -> None:
    kept = keep_source([(make(one), 0) for one in RGB], tmp_path)

    np.testing.assert_array_equal(pixels(kept), RGB)


def _file(rgb: NDArray[np.uint8], kind: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, kind)
    return data.getvalue()


def test_the_same_images_and_labels_give_the_same_table_and_nothing_else_stays(tmp_path: Path) -> None:
    first = keep_source([(one, "a") for one in RGB], tmp_path)
    there = files_in(tmp_path)

    assert keep_source(((one, "a") for one in RGB), tmp_path).table == first.table
    names = ("/list-6-images.csv", *(f"/0000{i}.png" for i in range(6)), ".seal")
    assert files_in(tmp_path) == there == {f"sources/{first.table.parent.name}{name}" for name in names}
    assert keep_source([(one, "b") for one in RGB], tmp_path).table != first.table
    assert keep_source([(one[::-1], "a") for one in RGB], tmp_path).table != first.table


def test_paths_are_not_copied_and_are_those_of_the_current_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    names = sorted(path.relative_to(photos) for path in photos.glob("*/*.png"))
    pairs = [(path if i % 2 else str(path), path.parent.name) for i, path in enumerate(names)]

    kept = keep_source(pairs, tmp_path)
    monkeypatch.chdir(tmp_path)

    seal = kept.table.parent.with_suffix(".seal")
    assert files_in(tmp_path) == {path.relative_to(tmp_path).as_posix() for path in (kept.table, seal)}
    assert [sample.path for sample in scan(kept.table).samples] == [photos / name for name in names]
    assert scan(kept.table).classes == ("disc", "square", "stripes")


def test_a_frame_has_the_column_words_and_the_meaning_of_a_table(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.glob("*/*.png"))
    columns: dict[str, list[Any]] = {
        "Image Path": [str(path) for path in paths],
        "class": [path.parent.name for path in paths],
        "set": ["val" if i % 4 == 0 else "training" for i in range(len(paths))],
        "group": [float(i // 2) for i in range(len(paths))],
    }
    kept = keep_source(Frame(**columns), tmp_path)
    table = tmp_path / "own.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])

    assert scan(kept.table).samples == tuple(
        type(one)(one.path, one.name, one.label, one.split, group=str(int(float(one.group or 0))))
        for one in scan(table).samples
    )  # frames write whole numbers with a decimal point


def test_a_frame_may_hold_the_images_themselves_and_missing_cells(tmp_path: Path) -> None:
    labels = ["a", None, float("nan"), "b", "a", "b"]
    kept = keep_source(Frame(label=labels, image=[Image.fromarray(one) for one in RGB]), tmp_path)

    assert [row["label"] for row in rows(kept)] == ["a", "", "", "b", "a", "b"]
    assert scan(kept.table).findings[1].kind == "empty-label"
    assert kept.in_memory == 6


def test_columns_are_named_and_missed_as_in_a_table(tmp_path: Path) -> None:
    Image.fromarray(RGB[0]).save(tmp_path / "x.png")
    frame = Frame(a=[str(tmp_path / "x.png")], b=["cat"], c=["dog"])
    with pytest.raises(DataError, match=r"Expected columns path and label.*found columns a, b, c.*DataFrame of 1 rows"):
        keep_source(frame, tmp_path)
    kept = keep_source(frame, tmp_path, layout=SourceLayout(path_column="a", label_column="b"))
    assert kept.table.read_text("utf-8").splitlines()[0] == "a,b,c"
    with pytest.raises(RecipeError, match="a delimiter with a csv file only"):
        keep_source(frame, tmp_path, layout=SourceLayout(delimiter=";"))


def test_pandas_frames_are_read_with_a_named_index(photos: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    paths = sorted(photos.glob("*/*.png"))
    frame = pandas.DataFrame({"path": paths, "label": pandas.Categorical([path.parent.name for path in paths])})

    kept = keep_source(frame.set_index("path"), tmp_path)

    assert kept.table.name == "DataFrame-48-images.csv"
    assert [sample.path for sample in scan(kept.table).samples] == paths
    with pytest.raises(DataError, match="one column for the label"):
        keep_source(pandas.DataFrame([["a", "b", "c"]], columns=["path", "label", "label"]), tmp_path)


def test_labels_of_a_map_dataset_are_indices_into_its_classes(tmp_path: Path) -> None:
    items = [(one, np.int64(i % 3)) for i, one in enumerate(RGB)]
    kept = keep_source(Pictures(items, ["zebra", "ant", "cow"]), tmp_path)

    assert [row["label"] for row in rows(kept)] == ["zebra", "ant", "cow"] * 2
    assert kept.classes == ("zebra", "ant", "cow")
    assert kept.table.name == "Pictures-6-images.csv"
    with pytest.raises(DataError, match=r"Expected a label from 0 to 1.*found 2 \(dataset\[2\]\)"):
        keep_source(Pictures(items, ["zebra", "ant"]), tmp_path)


def test_whole_numbers_without_names_keep_their_order(tmp_path: Path) -> None:
    kept = keep_source([(RGB[0], label) for label in (10, 2, torch.tensor(1))], tmp_path)
    assert kept.classes == ("1", "2", "10")


def test_an_image_folder_gives_its_files_and_so_does_a_part_of_it(photos: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    whole = datasets.ImageFolder(str(photos), transform=np.asarray)

    kept = keep_source(torch.utils.data.Subset(whole, [40, 3]), tmp_path)

    assert [(row["path"], row["label"]) for row in rows(kept)] == [
        (whole.samples[40][0], "stripes"),
        (whole.samples[3][0], "disc"),
    ]
    assert (kept.in_memory, kept.classes) == (0, ("disc", "square", "stripes"))
    assert "transform is not applied" in kept.notes[0]


@pytest.mark.slow
def test_a_dataset_of_ours_keeps_labels_splits_and_groups(photos: Path, tmp_path: Path) -> None:
    dataset = load_dataset(photos, Recipe(), progress=lambda name, unit: lambda done, total: None)
    divided = dataset.with_split(0.2, 0)

    image_set = scan(keep_source(divided, tmp_path).table)

    assert {one.path: (one.label, one.split) for one in image_set.samples} == {
        one.path: (one.label, split) for one, split in zip(divided.samples, divided.splits, strict=True)
    }
    part = scan(keep_source(dataset.subset([0, 20, 40]), tmp_path).table)
    assert [one.path for one in part.samples] == [dataset.samples[i].path for i in (0, 20, 40)]
    grouped = ImageSet(
        root=image_set.root,
        samples=tuple(type(one)(one.path, one.name, one.label, group="g") for one in image_set.samples),
        classes=("stripes", "disc", "square"),
        findings=(),
        source="",
    )
    kept = keep_source(grouped, tmp_path)
    assert {one.group for one in scan(kept.table).samples} == {"g"}
    assert kept.classes == ("stripes", "disc", "square")


def _generator() -> Iterator[object]:
    yield RGB[0], "a"
    yield RGB[1]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3, "found int"),
        ([], "found an empty list"),
        (Frame(path=[], label=[]), "found an empty Frame"),
        ([("a.png", "a"), ("b.png", "b")], r"paths of files that exist, found .*a.png.*from the current folder"),
        (None, "found NoneType"),
        (RGB, r"found an array of shape \(6, 5, 4, 3\)"),
        ({"a": [RGB[0]]}, "found dict"),
        (Image.fromarray(RGB[0]), "found Image"),
        (b"\x89PNG", "found bytes"),
        ([RGB[0], RGB[1]], r"found ndarray \(source\[0\]\).*zip"),
        ((list(RGB), list("ababab")), r"found 6 values \(source\[0\]\).*zip"),
        (_generator(), r"found ndarray \(source\[1\]\)"),
        ([(RGB[0], "a", "train")], r"found 3 values.*DataFrame"),
        ([{"image": RGB[0], "label": 0}], r"found dict.*row\['image'\]"),
        ([("a", RGB[0])], "found ndarray"),
        ([(7, "a")], "found int"),
        ([(RGB[0], None)], "found None"),
        ([(RGB[0], 0.5)], "found 0.5"),
        ([(RGB[0], [0, 1])], "found list.*Several labels"),
        ([(RGB[0].astype(float), "a")], r"found an array of float64 \(image 0\)"),
        ([(torch.randn(3, 4, 4), "a")], "found a tensor of torch.float32.*not normalised"),
        ([("https://example.org/a.png", "a")], r"found an address \(image 0\)"),
        (torch.utils.data.DataLoader(Pictures([(RGB[0], 0)])), "found DataLoader.*loader.dataset"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_by_name_and_leaves_nothing(tmp_path: Path, source: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        keep_source(source, tmp_path)
    assert files_in(tmp_path) == set()


def test_what_a_dataset_raises_names_the_index(tmp_path: Path) -> None:
    class Broken(Pictures):
        def __getitem__(self, i: int) -> tuple[Any, Any]:
            if i == 2:
                raise OSError("truncated")
            return super().__getitem__(i)

    with pytest.raises(DataError, match=r"found OSError: truncated \(dataset\[2\]\).*Subset"):
        keep_source(Broken([(one, 0) for one in RGB]), tmp_path)


def test_a_table_that_went_with_the_cache_is_known_as_such(tmp_path: Path) -> None:
    kept = keep_source([(RGB[0], "a")], tmp_path)
    assert not kept_fault(kept.table, tmp_path)
    kept.table.unlink()
    assert kept_fault(kept.table, tmp_path) == "nothing there: the cache has been cleared"
    assert not kept_fault(tmp_path / "photos", tmp_path)


def test_a_kept_data_set_whose_files_were_altered_is_written_again(tmp_path: Path) -> None:
    pairs = list(zip(RGB, ["ant", "bee"] * 3, strict=True))
    kept = keep_source(pairs, tmp_path)
    before = {path.name: path.read_bytes() for path in kept.table.parent.iterdir()}
    next(kept.table.parent.glob("*.png")).unlink()
    assert kept_fault(kept.table, tmp_path) == "other files than were written there"
    again = keep_source(pairs, tmp_path)
    assert again.table == kept.table
    assert {path.name: path.read_bytes() for path in kept.table.parent.iterdir()} == before
    assert not kept_fault(kept.table, tmp_path)
