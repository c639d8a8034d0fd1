"""The cells of a table file, whatever its encoding, delimiter or form: csv, tsv, or an Excel workbook.

In: a path. Out: (line number, cells) of every line that is not blank, and Findings about what had to be assumed.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.data.finding import Finding
from headstart.data.table_workbook import SAVE, Cells, read_workbook
from headstart.errors import DataError
from headstart.untrusted import Untrusted, read_bytes

DELIMITERS = (",", ";", "\t", "|")  # tried in this order where the header does not decide
_TEXT, _WORKBOOK, _OTHER = (".csv", ".tsv"), (".xlsx", ".xlsm"), (".xls", ".ods")
_MARKS = (  # the longer mark first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_WESTERN = "ŠšŽžŒœŸ€–—’«»°§¿¡ºªßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ\xa0"
_SEP = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own first line
_MOST_BYTES = 250_000_000  # two million lines; the text and its cells take several times as much memory


def is_table(path: Path) -> bool:
    """True when the suffix is that of a table."""
    return path.suffix.lower() in (*_TEXT, *_WORKBOOK, *_OTHER)


def is_text_table(path: Path) -> bool:
    """True for csv and tsv, which are read without another package."""
    return path.suffix.lower() in _TEXT


def read_cells(
    table: Path,
    *,
    delimiter: str | None = None,
    fits: Callable[[Sequence[str]], bool] = lambda header: False,
    most: int | None = None,
) -> tuple[Cells, list[Finding]]:
    """Cells of every line that is not blank; the header, at line 1, comes first.

    Args:
        delimiter: None: the first of DELIMITERS (in .tsv the tab) whose header fits, else the one that cuts it most.
        fits: whether a header has the columns that are needed.
        most: lines to read.

    Raises:
        DataError: it cannot be read, is no text in UTF-8, UTF-16, UTF-32 or Windows-1252, has broken quotes, or needs a
            package that is not installed.
    """
    suffix = table.suffix.lower()
    if suffix in _WORKBOOK:
        return read_workbook(table, _bytes_of(table), most)
    if suffix in _OTHER:
        raise DataError(expected="a csv, tsv or xlsx table", found=suffix, where=table, hint=SAVE)
    text, findings = _decode(table)
    if delimiter is None and (named := _SEP.match(text)):
        delimiter, text = named[1], text[named.end() :]
        first = 2
    else:
        first = 1
    delimiter = delimiter or _delimiter(text, tab_first=suffix == ".tsv", fits=fits)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    cells: Cells = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                cells.append((reader.line_num + first - 1, row))
            if most is not None and len(cells) >= most:
                break
    except csv.Error as error:
        raise DataError(
            expected="cells as csv writes them, quoted on both sides or not at all",
            found=f"{error}, in the cell that begins in line {(cells[-1][0] + 1) if cells else first}",
            where=table,
            hint='Often a quotation mark is not closed: close it, or write the table again. "a, b" is one cell.',
        ) from error
    return cells, findings


def _bytes_of(table: Path) -> bytes:
    try:
        return read_bytes(table, _MOST_BYTES)
    except Untrusted as error:  # a pipe or a device, which never ends, or far too large
        raise DataError(
            expected="a table in a regular file",
            found=str(error),
            where=table,
            hint="Write the table into a file first.",
        ) from error
    except OSError as error:
        raise DataError(
            expected="a table that can be read",
            found=str(error.strerror),
            where=table,
            hint="Check the file and its permissions.",
        ) from error


def _decode(table: Path) -> tuple[str, list[Finding]]:
    data = _bytes_of(table)
    for mark, encoding in (*_MARKS, (b"", "utf-8")):
        if data.startswith(mark):
            encoding = encoding if mark else _unmarked(data)
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError as error:
                if mark or encoding != "utf-8":
                    raise DataError(expected=f"a table as {encoding} text, as it begins", found=str(error), where=table,
                                    hint=SAVE) from error  # fmt: skip
                return _decode_western(data, table, error)
            if "\0" in text:
                raise DataError(expected="a table as UTF-8 text", found="zero bytes", where=table, hint=SAVE)
            return text, []
    raise AssertionError  # the empty mark fits everything


def _unmarked(data: bytes) -> str:
    """UTF-16 without a mark has a zero in every second byte of plain letters."""
    head = data[:400]
    if len(head) >= 4 and 0 in head:
        if head[0::2].count(0) == 0 and head[1::2].count(0) > len(head) // 4:
            return "utf-16-le"
        if head[1::2].count(0) == 0 and head[0::2].count(0) > len(head) // 4:
            return "utf-16-be"
    return "utf-8"


def _decode_western(data: bytes, table: Path, cause: UnicodeDecodeError) -> tuple[str, list[Finding]]:
    """Windows-1252 text, if all of its letters are those of Western words; other old encodings cannot be told apart."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    foreign = {letter for letter in text if not letter.isascii()}
    # three letters with accents in a row are another alphabet, read wrongly
    if "\0" in text or not foreign <= set(_WESTERN) or re.search(r"[^\W\d_a-zA-Z]{3}", text):
        found = f"bytes that are no such text ({cause.reason} at byte {cause.start:,})"
        raise DataError(expected="a table as UTF-8 text", found=found, where=table, hint=SAVE) from cause
    example = next(word for word in re.split(r"[\s,;|\"]+", text) if not word.isascii())
    message = f"{table.name} is not UTF-8; it is read as Windows-1252, for example {example!r}. {SAVE}"
    return text, [Finding("table-encoding", "warning", message, detail={"encoding": "cp1252"})]


def _delimiter(text: str, *, tab_first: bool, fits: Callable[[Sequence[str]], bool]) -> str:
    order = ("\t", *(one for one in DELIMITERS if one != "\t")) if tab_first else DELIMITERS
    headers = {}
    for one in order:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=one)
        try:
            headers[one] = next((row for row in reader if any(cell.strip() for cell in row)), [])
        except csv.Error:
            continue
        if fits(headers[one]):
            return one
    return max(headers, key=lambda one: len(headers[one]), default=order[0])
