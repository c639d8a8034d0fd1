"""Tables of images: what is read, and every line that is not is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headstart.data.finding import Finding
from headstart.data.table import TableRow, names_images, read_table
from headstart.errors import DataError
from headstart.source_layout import SourceLayout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1.jpg", "2.jpg", "sub/3.jpg", "a,b.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    return tmp_path / "photos"


def read(
    folder: Path, text: str, name: str = "table.csv", may_leave: bool = True
) -> tuple[list[TableRow], list[Finding]]:
    (folder / name).write_text(text, encoding="utf-8")
    return read_table(folder / name, folder, may_leave=may_leave)


def test_a_table_gives_path_label_part_and_group(folder: Path) -> None:
    rows, findings = read(folder, "path,label,split,group\n1.jpg,cat,Train,g1\nsub/3.jpg,dog,VALID,\n")

    assert rows == [
        TableRow(2, folder / "1.jpg", "1.jpg", "cat", split="train", group="g1"),
        TableRow(3, folder / "sub" / "3.jpg", "sub/3.jpg", "dog", split="validation", group=None),
    ]
    assert [finding.message for finding in findings] == [
        "Groups come from the column group: 1 group; 1 image without one."
    ]


@pytest.mark.parametrize("path", ["path", "File", "filename", "file_name", "image", "filepath"])
@pytest.mark.parametrize("label", ["label", "class", "TARGET", "category"])
def test_usual_names_of_the_columns_are_known_in_any_order(folder: Path, path: str, label: str) -> None:
    rows, _ = read(folder, f"width, {label} ,{path},subset\n10,cat,1.jpg,dev\n10,dog,2.jpg,testing\n")

    assert [(row.name, row.label, row.split) for row in rows] == [
        ("1.jpg", "cat", "validation"),
        ("2.jpg", "dog", "test"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path,label\r\n1.jpg,cat\r\n\r\n2.jpg,dog\r\n"),
        ("t.csv", "\ufeffpath,label\n1.jpg,cat\n2.jpg,dog"),
        ("t.csv", "path;label\n1.jpg;cat\n2.jpg;dog\n"),
        ("t.tsv", "path\tlabel\n1.jpg\tcat\n2.jpg\tdog\n"),
        ("t.TSV", "path\tlabel\t\n1.jpg\tcat\n2.jpg\tdog\t\t\n"),
        ("t.csv", 'path,label\n"1.jpg"," cat"\n ./2.jpg ,dog\n'),
    ],
)
def test_line_ends_marks_delimiters_and_quotes_do_not_matter(folder: Path, name: str, text: str) -> None:
    rows, findings = read(folder, text, name)

    assert [(row.path, row.name, row.label) for row in rows] == [
        (folder / "1.jpg", "1.jpg", "cat"),
        (folder / "2.jpg", "2.jpg", "dog"),
    ]
    assert findings == []


def test_commas_in_quotes_windows_paths_and_unicode_labels_are_read(folder: Path) -> None:
    # the second label is e + combining accent, which is one class with the composed form
    rows, _ = read(folder, 'path,label\n"a,b.jpg",é\nsub\\3.jpg,e\u0301\n')

    assert [(row.name, row.label) for row in rows] == [("a,b.jpg", "é"), ("sub/3.jpg", "é")]


def test_every_line_that_cannot_be_used_is_named(folder: Path) -> None:
    text = "\n".join(
        [
            "path,label",  # line 1
            "1.jpg,cat",
            "gone.jpg,cat",
            "2.jpg,",
            "sub/3.jpg,cat",
            "./sub/3.jpg,dog",  # line 6
            "1.jpg,cat",
            ",cat",
            "gone2.jpg,dog",
        ]
    )

    rows, findings = read(folder, text)

    assert [(row.line, row.name) for row in rows] == [(2, "1.jpg")]
    found = {finding.kind: (finding.detail["lines"], finding.severity) for finding in findings}
    assert found == {
        "no-path": ([8], "problem"),
        "missing-file": ([3, 9], "problem"),
        "empty-label": ([4], "problem"),
        "two-labels": ([5, 6], "problem"),
        "repeated-row": ([7], "warning"),
    }
    assert findings[1].message.startswith("Lines 3, 9 name a file that does not exist: gone.jpg")


def test_a_file_in_two_parts_is_left_out(folder: Path) -> None:
    rows, (finding,) = read(folder, "path,label,split\n1.jpg,cat,train\n2.jpg,cat,train\n1.jpg,cat,test\n")

    assert [row.name for row in rows] == ["2.jpg"]
    assert (finding.kind, finding.detail["lines"]) == ("two-splits", [2, 4])


def test_a_cell_over_two_lines_keeps_the_line_numbers_right(folder: Path) -> None:
    _, (finding,) = read(folder, 'path,label\n1.jpg,"big\ncat"\ngone.jpg,cat\n')

    assert finding.detail["lines"] == [4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty table"),
        ("1.jpg,cat\n2.jpg,dog\n", "without path and label"),
        ("path,width\n1.jpg,10\n", "without label"),
        ("file,image,label\n1.jpg,2.jpg,cat\n", "one column for the path, found file and image"),
        ("path,label,label\n1.jpg,cat,dog\n", "one column for the label"),
        ('path,label\n"1.jpg,cat\n', "unexpected end of data, in the cell that begins in line 2"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, text)


def test_a_preferred_column_wins_over_another_of_its_role(folder: Path) -> None:
    rows, _ = read(folder, "class,label,filename,path\nx,cat,y,1.jpg\n")

    assert [(row.name, row.label) for row in rows] == [("1.jpg", "cat")]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("path,label\n", "no-usable-line", "no line below the first"),
        ("path,label,split\n1.jpg,cat,train\n2.jpg,dog,trian\n", "unknown-split", r"found 'trian' in line 3"),
        ("path,label,split\n1.jpg,cat,train\n2.jpg,dog,\n", "partial-split", r"or in none, found none in line 3"),
        ("path,label\nx.jpg,cat\ny.jpg,dog\n", "no-usable-line", r"exists, found Lines 2, 3 name a file"),
        ("path,label\n1.jpg,cat\n2.jpg,dog\nsub/3.jpg,cat|dog\n", "several-labels", r"found 'cat\|dog' in line 4"),
        ("path,label\n1.jpg,0\n2.jpg,0.0\n", "two-spellings", r"found '0' and '0.0': the same number"),
    ],
)
def test_what_stops_a_training_is_a_finding_for_the_audit(folder: Path, text: str, kind: str, message: str) -> None:
    stops = [finding for finding in read(folder, text)[1] if finding.stops_training]

    assert stops[0].kind == kind
    assert re.search(message, stops[0].message)
    assert len(stops) == 1  # one mistake, one finding
    with pytest.raises(DataError, match=message):
        raise stops[0].to_error(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1.jpg,cat\n2.jpg,\n", "Line 3 has no label: 2.jpg."),
        ("path,label\n1.jpg,cat\n2.jpg,\nsub/3.jpg,\n", "Lines 3, 4 have no label: 2.jpg, sub/3.jpg."),
        ("path,label\n1.jpg,cat\nx.jpg,cat\n", "Line 3 names a file that does not exist: x.jpg."),
        (
            "path,label\n1.jpg,cat\n2.png,cat\n",
            "Line 3 names a file that is there with another suffix; correct the path: 2.png.",
        ),
        ("path,label\n1.jpg,cat\n1.jpg,cat\n", "Line 3 repeats an earlier line: 1.jpg."),
    ],
)
def test_messages_speak_of_one_line_or_of_several(folder: Path, text: str, message: str) -> None:
    assert [finding.message for finding in read(folder, text)[1]] == [message]


@pytest.mark.parametrize("written", ["1", "photos/1", "3", "sub/3", "3.jpg", "sub\\3"])
def test_a_path_without_suffix_or_folder_leads_to_the_only_image_it_can_mean(folder: Path, written: str) -> None:
    rows, (note,) = read(folder.parent, f"path,label\n{written},cat\n")

    assert [row.path.stem for row in rows] == [written.removesuffix(".jpg")[-1]]
    assert (note.kind, note.severity, note.names) == ("completed-path", "note", (rows[0].name,))


def test_paths_of_another_machine_are_read_below_the_folder_and_that_is_said(folder: Path) -> None:
    rows, (note, missing) = read(
        folder, "path,label\nC:\\me\\set\\1.jpg,cat\nC:\\me\\set\\sub\\3.jpg,dog\nC:\\me\\set\\9.jpg,dog\n"
    )

    assert [(row.name, row.label) for row in rows] == [("1.jpg", "cat"), ("sub/3.jpg", "dog")]
    assert note.message == "Paths begin with C:/me/set/, which is not here; they are read below the table's folder."
    assert missing.message == "Line 4 names a file that does not exist: 9.jpg."


def test_a_path_that_can_mean_two_images_names_both(folder: Path) -> None:
    (folder / "sub" / "1.png").write_bytes(b"image")

    rows, findings = read(folder, "path,label\n2.jpg,dog\n1,cat\n")

    assert [row.name for row in rows] == ["2.jpg"]
    found = {finding.kind: finding.message for finding in findings}
    assert found["ambiguous-file"] == "Line 3 means one of several files; line 3: 1.jpg or sub/1.png."
    assert found["missing-file"].startswith("Line 3 names a file that does not exist")


def test_all_columns_that_are_not_used_are_named_once(folder: Path) -> None:
    _, (finding,) = read(folder, "path,width,label,fold,patient\n1.jpg,3,cat,0,a\n2.jpg,3,dog,1,b\n")

    assert (finding.kind, finding.severity) == ("unused-columns", "warning")
    assert finding.detail == {"columns": ["width", "fold", "patient"]}
    assert finding.message.startswith("Columns not used: width, fold, patient. fold (0, 1) does not say train")
    assert "--split-column fold=0" in finding.message
    assert "images of one patient belong together" in finding.message


def test_one_value_of_a_fold_column_can_be_tested_on(folder: Path) -> None:
    (folder / "t.csv").write_text("path,label,fold\n1.jpg,cat,0\n2.jpg,dog,1\nsub/3.jpg,dog,0\n")

    rows, findings = read_table(folder / "t.csv", folder, layout=SourceLayout(split_column="fold=0"))

    assert [row.split for row in rows] == ["test", "train", "test"]
    assert [finding.kind for finding in findings] == ["table-split"]


def test_groups_of_a_named_column_reach_the_samples_and_a_wrong_name_does_not_hide_the_table(folder: Path) -> None:
    (folder / "t.csv").write_text("path,label,patient\n1.jpg,cat,p1\n2.jpg,dog,\nsub/3.jpg,dog,p1\n")

    rows, findings = read_table(folder / "t.csv", folder, layout=SourceLayout(group_by="patient"))

    assert [row.group for row in rows] == ["p1", None, "p1"]
    assert [(finding.kind, finding.detail) for finding in findings] == [("table-groups", {"groups": 1, "without": 1})]
    assert "column patient: 1 group" in findings[0].message
    assert names_images(folder / "t.csv", SourceLayout(group_by="patiant"))
    with pytest.raises(DataError, match="Did you mean patient"):
        read_table(folder / "t.csv", folder, layout=SourceLayout(group_by="patiant"))


@pytest.mark.parametrize(
    ("header", "kept", "severity"), [("path,label", 1, "problem"), ("path,label,note", 2, "warning")]
)
def test_more_cells_than_the_first_line_names_are_never_dropped_in_silence(
    folder: Path, header: str, kept: int, severity: str
) -> None:
    tail = "" if header == "path,label" else ",x"
    rows, findings = read(folder, f"{header}\n1.jpg,cat{tail}\n2.jpg,dog{tail},cat\n")

    assert len(rows) == kept
    found = {finding.kind: (finding.severity, finding.detail) for finding in findings}
    assert found["extra-cells"] == (severity, {"count": 1, "lines": [3]})


def test_a_users_own_table_may_name_files_outside_its_folder(folder: Path) -> None:
    outside = folder.parent / "other.jpg"
    outside.write_bytes(b"image")

    rows, _ = read(folder, f"path,label\n../other.jpg,cat\n{folder / '1.jpg'},dog\n")

    assert [(row.path, row.name) for row in rows] == [(outside, outside.as_posix()), (folder / "1.jpg", "1.jpg")]


@pytest.mark.parametrize("path", ["../other.jpg", "/etc/passwd", "sub/../../other.jpg", "..\\other.jpg"])
def test_a_strangers_table_may_not(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"paths inside the archive.*line 3"):
        read(folder, f"path,label\n1.jpg,dog\n{path},cat\n", may_leave=False)


def test_only_a_table_with_paths_and_labels_describes_an_image_set(folder: Path) -> None:
    for name, text in {
        "a.csv": "path,label\n",
        "f.csv": "id,breed\n1,cat\n",
        "g.csv": "id,breed\n9,cat\n",
        "b.csv": "x,y\n1,2\n",
        "c.csv": "",
        "d.tsv": "file\tclass\n",
    }.items():
        (folder / name).write_text(text)
    (folder / "e.csv").write_bytes(b"\xff\xfe\x00")

    assert [names_images(path) for path in sorted(folder.glob("*.[ct]sv"))] == [
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("long", ["x" * 300 + ".jpg", "x" * 300 + "\\1.jpg", "/".join(["x" * 200] * 30)])
def test_a_path_longer_than_the_system_allows_is_a_missing_file(folder: Path, long: str) -> None:
    rows, (finding,) = read(folder, f"path,label\n1.jpg,cat\n{long},dog\n")

    assert [row.name for row in rows] == ["1.jpg"]
    assert (finding.kind, finding.detail["lines"]) == ("missing-file", [3])
