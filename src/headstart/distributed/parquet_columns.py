"""Which column of a Parquet file says what: by its words, or as the user says; and what its values mean.

In: the schema and, for splits and names of images, the values. Out: ParquetColumns, with findings about the columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.finding import Finding
from headstart.data.split_words import letters
from headstart.data.table_splits import STATEMENTS, parse_values
from headstart.errors import DataError
from headstart.source_layout import GROUP_WORDS, SourceLayout
from headstart.untrusted import Untrusted, parse_object
from headstart.wording import listed

_WORDS = {
    "bytes": ("bytes", "image", "imagebytes", "content", "img", "jpg"),
    "path": ("path", "file", "filename", "imagepath", "filepath", "url"),
    "label": ("label", "class", "classname", "category", "target", "labels"),
    "group": ("group", "groupid", "patient", "patientid", "session", "subject"),
    "split": ("split", "part", "subset", "partition", "set", "usage", "fold", *STATEMENTS),
    "name": ("name", "id", "imageid", "key"),
}
"""Role → words for its column, the surer ones first; case, spaces and signs do not matter."""
_PLAIN = ("split", "part", "subset", "partition", "set")
_HUB = b"huggingface"  # metadata of the schema: what the Hugging Face hub knows of the columns
_SHOWN = 12  # columns in the message of a finding


@dataclass(frozen=True)
class ParquetColumns:
    """How a Parquet file is read.

    Args:
        columns: role → the file's column; `image.bytes` for a field of a structure. `inside` is a path that names an
            image in this file alone.
        splits: value of the column of splits → split.
        classes: names of the classes whose numbers are the labels; empty: labels are what they are.
    """

    columns: Mapping[str, str]
    splits: Mapping[str, str]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]


def find_parquet_columns(parquet: pq.ParquetFile, layout: SourceLayout, url: str, *, labelled: bool) -> ParquetColumns:
    """The columns of a Parquet file.

    Args:
        labelled: False: there may be none of labels.

    Raises:
        DataError: there is none of images or labels, or none as the user says.
    """
    schema = parquet.schema_arrow
    columns, test_value = _columns(schema, layout, url)
    _read_images(schema, columns)
    if "path" not in columns and "bytes" not in columns:
        raise _refused("a column of images, `bytes` or `path`", schema, url)
    if labelled and "label" not in columns:
        raise _refused("a column `label`", schema, url)
    splits = _splits(parquet, columns, test_value, named=layout.split_column, url=url)
    if (inside := columns.get("inside")) is not None and not _names_each(parquet, inside):
        del columns["inside"]
    found = _findings(schema, columns, test_value)
    return ParquetColumns(columns, splits, _class_names(schema, columns.get("label")), tuple(found))


def _columns(schema: pa.Schema, layout: SourceLayout, url: str) -> tuple[dict[str, str], str | None]:
    """Column of each role, and the value of the split to test on, where the user says one."""
    named = {"path": layout.path_column, "label": layout.label_column, "split": layout.split_column}
    test_value = None
    head, equals, value = (layout.split_column or "").rpartition("=")
    if equals and layout.split_column not in schema.names:
        named["split"], test_value = head, value.strip()
    if layout.group_by not in GROUP_WORDS and (not layout.groups_by_pattern or layout.group_by in schema.names):
        named["group"] = layout.group_by
    found: dict[str, str] = {}
    by_word = {letters(name): name for name in reversed(schema.names)}
    for role, words in _WORDS.items():
        if (own := named.get(role)) is not None:
            if own not in schema.names:
                raise _refused(f"a column {own!r}", schema, url)
            found[role] = own
        elif (column := next((by_word[word] for word in words if word in by_word), None)) is not None:
            found[role] = column
    return found, test_value


def _read_images(schema: pa.Schema, columns: dict[str, str]) -> None:
    """Whether the column of images holds bytes, a structure of them, or paths."""
    image = columns.get("bytes")
    if image is None:
        return
    kind = schema.field(image).type
    if pa.types.is_struct(kind):  # as Hugging Face writes it: {bytes, path}
        columns["bytes"] = f"{image}.bytes"
        if "path" in {field.name for field in kind} and not columns.keys() & {"name", "path"}:
            columns["inside"] = f"{image}.path"
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        columns.setdefault("path", image)
        del columns["bytes"]
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        del columns["bytes"]


def _splits(
    parquet: pq.ParquetFile, columns: dict[str, str], test_value: str | None, *, named: str | None, url: str
) -> dict[str, str]:
    """What each value says; values that say none are absent, and refused where the user names the column."""
    column = columns.get("split")
    if column is None:
        return {}
    there = parquet.read(columns=[column]).column(0).unique().to_pylist()
    values = sorted(text for value in there if value is not None and (text := str(value).strip()))
    if test_value is not None and test_value in values:
        return {value: "test" if value == test_value else "train" for value in values}
    known = {} if test_value is not None else parse_values(column, values)
    unknown = [value for value in values if value not in known]
    if unknown and named is None and not (known and letters(column) in _PLAIN):
        del columns["split"]  # a word of other things too; in a plain column of splits one may be mistyped
        return {}
    if named is not None and unknown:
        expected = "train, validation or test in the split column"
        raise DataError(
            expected=expected if test_value is None else f"rows whose {column} is {test_value!r}, to test on",
            found=listed([repr(value) for value in unknown], _SHOWN),
            where=url,
            hint=f"To test on one of these values: --split-column {column}={unknown[0]}",
        )
    return known


def _names_each(parquet: pq.ParquetFile, column: str) -> bool:
    """Whether each row has a path of its own."""
    name, _, field = column.partition(".")
    values = [(one or {}).get(field) for one in parquet.read(columns=[column]).column(name).to_pylist()]
    return all(values) and len(set(values)) == len(values)


def _class_names(schema: pa.Schema, column: str | None) -> tuple[str, ...]:
    """Names behind the numbers of a column of labels, as the Hugging Face hub stores them."""
    stored = (schema.metadata or {}).get(_HUB)
    if stored is None or column is None or not pa.types.is_integer(schema.field(column).type):
        return ()
    try:
        found: Any = parse_object(stored)
    except Untrusted:  # then the numbers are the classes
        return ()
    for key in ("info", "features", column, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    names = tuple(str(name).strip() for name in found) if isinstance(found, list) else ()
    return names if all(names) and len(set(names)) == len(names) else ()


def _findings(schema: pa.Schema, columns: Mapping[str, str], test_value: str | None) -> list[Finding]:
    found = []
    used = {column.partition(".")[0] for column in columns.values()}
    if "group" in columns:
        found.append(Finding("table-groups", "note", f"Groups come from the column {columns['group']}."))
    if test_value is not None:
        message = f"Rows with {test_value!r} in the split column are the test split, all others training."
        found.append(Finding("table-split", "note", message))
    if unused := [name for name in schema.names if name not in used]:
        names = f"Column{'s' if len(unused) > 1 else ''} not used: {listed(unused, _SHOWN)}."
        split = next((name for name in unused if letters(name) in _WORDS["split"]), None)
        if split is not None and "split" not in columns:
            names += (
                f" {split} does not say train, validation or test; --split-column {split}=VALUE tests on one value."
            )
        found.append(Finding("unused-columns", "note", names, detail={"columns": unused}))
    return found


def _refused(expected: str, schema: pa.Schema, url: str) -> DataError:
    return DataError(
        expected=expected,
        found=f"columns {', '.join(schema.names)}",
        where=url,
        hint="Columns are path or bytes, label, group, split; --path-column, --label-column, --split-column and "
        "--group-by name others.",
    )
