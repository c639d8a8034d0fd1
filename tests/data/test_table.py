"""Tables of images: what is read, and every line that is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.finding import Finding
from headstart.data.table import TableRow, names_images, read_table
from headstart.errors import DataError


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
    assert findings == []


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
        ("t.TSV", "path\tlabel\textra\n1.jpg\tcat\n2.jpg\tdog\t\tmore\n"),
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
        "missing-file": ([3, 8, 9], "problem"),
        "empty-label": ([4], "problem"),
        "two-labels": ([5, 6], "problem"),
        "repeated-row": ([7], "warning"),
    }
    assert findings[0].message.startswith("Lines 3, 8, 9 name a file that does not exist: 3 (gone.jpg")


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
        ("path,label\n", "no line below the first"),
        ("1.jpg,cat\n2.jpg,dog\n", "without path and label"),
        ("path,width\n1.jpg,10\n", "without label"),
        ("file,image,label\n1.jpg,2.jpg,cat\n", "one column for the path, found file and image"),
        ("path,label,label\n1.jpg,cat,dog\n", "one column for the label"),
        ("path,label,split\n1.jpg,cat,train\n2.jpg,dog,trian\n", r"found 'trian' in line 3"),
        ("path,label,split\n1.jpg,cat,train\n2.jpg,dog,\n", "a split in every line, or in none, found none in line 3"),
        ("path,label\nx.jpg,cat\ny.jpg,dog\n", "file that exists, found Lines 2, 3 name a file"),
        ('path,label\n"1.jpg,cat\n', "UTF-8 text"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "UTF-8 text"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, text)


def test_a_preferred_column_wins_over_another_of_its_role(folder: Path) -> None:
    rows, _ = read(folder, "class,label,filename,path\nx,cat,y,1.jpg\n")

    assert [(row.name, row.label) for row in rows] == [("1.jpg", "cat")]


def test_text_in_another_encoding_is_refused_with_a_hint(folder: Path) -> None:
    (folder / "t.csv").write_bytes("path,label\n1.jpg,Käfer\n".encode("latin-1"))

    with pytest.raises(DataError, match="Save it as CSV UTF-8"):
        read_table(folder / "t.csv", folder)


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
    for name, text in {"a.csv": "path,label\n", "b.csv": "x,y\n1,2\n", "c.csv": "", "d.tsv": "file\tclass\n"}.items():
        (folder / name).write_text(text)
    (folder / "e.csv").write_bytes(b"\xff\xfe\x00")

    assert [names_images(path) for path in sorted(folder.glob("*.[ct]sv"))] == [True, False, False, True, False]


@pytest.mark.parametrize("long", ["x" * 300 + ".jpg", "x" * 300 + "\\1.jpg", "/".join(["x" * 200] * 30)])
def test_a_path_longer_than_the_system_allows_is_a_missing_file(folder: Path, long: str) -> None:
    rows, (finding,) = read(folder, f"path,label\n1.jpg,cat\n{long},dog\n")

    assert [row.name for row in rows] == ["1.jpg"]
    assert (finding.kind, finding.detail["lines"]) == ("missing-file", [3])
