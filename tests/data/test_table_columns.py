"""Columns of a table: by words of several languages, by what cells hold, by options; never by chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.table_columns import TableColumns, find_columns, has_columns
from headstart.errors import DataError
from headstart.source_layout import SourceLayout

PATHS, LABELS = ["1.png", "2.png", "3.png", "4.png"], ["cat", "cat", "dog", "dog"]


def find(header: str, *columns: list[str], **options: str) -> TableColumns:
    """The columns of a table whose images are 1.png, 2.png … and 1, 2 …"""
    cells = [(1, header.split(",")), *((i, list(row)) for i, row in enumerate(zip(*columns, strict=True), start=2))]
    return find_columns(
        cells,
        Path("t.csv"),
        names_file=lambda cell: cell.split(".")[0] in ("1", "2", "3", "4"),
        layout=SourceLayout(**options),
    )


@pytest.mark.parametrize(
    "header",
    ["path,label", "Image Path,Class Name", "filepaths,labels", "image_id,label_name", "imageName,className",
     "FILE NAME,CLASSES", "img_path,category_name", "Dateiname,Klasse", "id,breed", "name,species", "image,level",
     "image_id,dx", "fichier,étiquette", "archivo,categoría", "arquivo,rótulo", "image-path,target-label",
     "Pictures,Tags", "id,label_id", "name,type", "file_names,targets", "x,animal", "photo nr,what it is"],
)  # fmt: skip
@pytest.mark.parametrize("is_turned", [False, True])
def test_headers_of_many_words_are_understood(header: str, is_turned: bool) -> None:
    columns = [PATHS, LABELS]
    if is_turned:
        header, columns = ",".join(reversed(header.split(","))), columns[::-1]

    found = find(header, *columns)

    assert (found.path, found.label) == ((1, 0) if is_turned else (0, 1))
    assert (found.split, found.group, found.unused) == (None, None, ())


@pytest.mark.parametrize(
    "header",
    ["x,y1,z", "path,width", "1.png,cat", "width,height", "image,MEL,NV", "label,class_id", "cat,dog", "path,score"],
)
def test_other_headers_are_refused_with_the_words_that_are_known(header: str) -> None:
    columns = [PATHS, ["10", "20", "10", "20"], ["0", "1", "0", "1"]][: len(header.split(","))]
    if header.startswith(("width", "label", "cat")):
        columns[0] = ["30", "40", "30", "40"]

    with pytest.raises(DataError, match=r"columns path and label.*filename.*category.*--path-column.*--label-column"):
        find(header, *columns)


@pytest.mark.parametrize(
    ("header", "path", "label"),
    [("label,class,path,file", 2, 0), ("id,filename,name,label", 1, 3), ("class_id,class_name,file,label_idx", 2, 1),
     ("category_id,category,image_id,file_name", 3, 1)],
)  # fmt: skip
def test_the_surest_word_wins_and_the_others_are_named(header: str, path: int, label: int) -> None:
    found = find(header, *[["1", "1", "2", "2"]] * 4)

    names = header.split(",")
    assert (found.path, found.label) == (path, label)
    assert found.unused == tuple(name for i, name in enumerate(names) if i not in (path, label))


@pytest.mark.parametrize("header", ["file,image,label", "path,class,target", "path,label,Label", "Path,path,label"])
def test_two_words_as_sure_as_each_other_are_an_error(header: str) -> None:
    with pytest.raises(DataError, match=r"one column for the (path|label).*once, or choose it: --(path|label)-column"):
        find(header, *[PATHS, PATHS, LABELS])


def test_the_very_word_wins_over_its_plural() -> None:
    assert find("path,label,labels", *[PATHS, LABELS, LABELS]).label == 1


def test_of_two_paths_the_one_that_names_images_is_taken_and_said() -> None:
    found = find("file,image,label", ["x", "y", "z", "u"], PATHS, LABELS)

    assert (found.path, found.unused) == (1, ("file",))
    assert found.guessed == ("Paths come from the column 'image': its cells name images.",)


def test_options_name_columns() -> None:
    columns = [PATHS, LABELS, ["a", "b", "a", "b"]]

    found = find("path,label,My Class", *columns, path_column="path", label_column="my class")

    assert (found.label, found.unused) == (2, ("label",))
    with pytest.raises(DataError, match=r"one column 'lable' for the label, found columns path, label.*mean label"):
        find("path,label,x", *columns, label_column="lable")
    with pytest.raises(DataError, match=r"found 2 of that name"):
        find("path,label,label", *columns, label_column="label")
    assert has_columns(["a", "b"], SourceLayout(path_column="a", label_column="b"))
    assert not has_columns(["a", "b"])


@pytest.mark.parametrize(
    ("header", "values"),
    [("is_valid", "False True"), ("Is Valid", "0 1"), ("Usage", "Training PublicTest"), ("set", "train val"),
     ("subset", "TRAIN TEST"), ("fold", "train test"), ("split", "training validation"), ("partition", "Train Valid"),
     ("phase", "train test"), ("Data Split", "train dev"), ("splits", "train test"), ("is_test", "no yes"),
     ("is_train", "true false"), ("whatever", "train test")],
)  # fmt: skip
def test_a_column_that_says_the_split_plainly_is_used(header: str, values: str) -> None:
    first, second = values.split()

    found = find(f"path,label,{header}", PATHS, LABELS, [first, second, first, second])

    assert (found.split, found.unused, found.hints) == (2, (), ())
    assert bool(found.guessed) == (header == "whatever")


@pytest.mark.parametrize(
    "header", ["fold", "split", "set", "is_valid", "phase", "Usage", "partition", "kfold", "fold_id", "valid"]
)
def test_a_column_that_does_not_is_named_with_what_can_be_done(header: str) -> None:
    found = find(f"path,label,{header}", PATHS, LABELS, ["7", "8", "7", "8"])

    assert (found.split, found.unused) == (None, (header,))
    assert found.hints[0].startswith(f"{header} (7, 8) does not say train, validation or test")
    assert f"--split-column {header}=7" in found.hints[0]


def test_two_columns_that_say_different_splits_are_an_error_unless_one_is_named() -> None:
    columns = [PATHS, LABELS, ["train", "train", "test", "test"], ["train", "test", "train", "test"]]

    with pytest.raises(DataError, match=r"one column for the split, found phase and set"):
        find("path,label,phase,set", *columns)
    assert find("path,label,phase,set", *columns, split_column="set").split == 3
    assert find("path,label,split,set", *columns).split == 2
    assert find("path,label,phase,set", *columns[:3], columns[2]).unused == ("set",)


def test_a_value_of_a_column_may_be_the_test() -> None:
    columns = [PATHS, LABELS, ["0", "1", "2", "0"]]

    assert find("path,label,fold", *columns, split_column="fold=2").test_value == "2"
    with pytest.raises(DataError, match=r"lines whose fold is '9', to test on, found '0', '1', '2'"):
        find("path,label,fold", *columns, split_column="fold=9")
    with pytest.raises(DataError, match=r"found '0', '1', '2' in fold.*--split-column fold=0"):
        find("path,label,fold", *columns, split_column="fold")


def test_a_column_called_group_that_says_the_split_is_the_split() -> None:
    said = ["train", "train", "test", "test"]

    found = find("path,label,group", PATHS, LABELS, said)
    named = find("path,label,group", PATHS, LABELS, said, group_by="group")

    assert (found.split, found.group) == (2, None)
    assert found.guessed == ("The split comes from the column 'group', by its values.",)
    assert (named.split, named.group) == (None, 2)
    assert find("path,label,group", PATHS, LABELS, ["test", "test", "dev", "dev"]).group == 2


def test_groups_come_from_the_column_that_is_named() -> None:
    columns = [PATHS, LABELS, ["p1", "p1", "p2", "p2"], ["a", "b", "c", "d"]]

    for header, group_by, expected in (
        ("path,label,Patient ID,group", "Patient ID", 2),
        ("path,label,Patient ID,group", "patient_id", 2),  # case, spaces and signs do not matter
        ("path,label,Patient ID,group", "auto", 3),
        ("path,label,(p)x,group", "(p)x", 2),  # a header to the letter, not a pattern
        ("path,label,p,group", "(p)", 3),  # a pattern, not a header
        ("path,label,parent,x", "parent", None),  # the folder
        ("path,class,name,kind", "name", 2),
    ):
        assert find(header, *columns, group_by=group_by).group == expected, (header, group_by)
    assert find("path,label,Patient ID,group", *columns, group_by="Patient ID").unused == ("group",)


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("patiant", "one column 'patiant' for the group.*Did you mean patient.*regular expression"),
        ("person[0-9]", r"one column 'person\[0-9\]' for the group.*Known: path, label, patient, empty"),
        ("label", "beside those of paths and labels"),
        ("empty", "only empty cells in empty"),
    ],
)
def test_a_column_of_groups_that_is_none_is_refused(group_by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find(
            "path,label,patient,empty", PATHS, LABELS, LABELS, [""] * 4, group_by=group_by,
            label_column="label",
        )  # fmt: skip
