"""Which column of a table says what: by the words of its header, by what its cells hold, or as the user says.

In: the header and the lines. Out: TableColumns with the number of each column, and what is not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.folder_scan import as_text
from headstart.data.split_words import letters
from headstart.data.table_splits import STATEMENTS, parse_values
from headstart.data.table_workbook import Cells
from headstart.errors import DataError, near
from headstart.source_layout import AUTO, GROUP_WORDS, SourceLayout
from headstart.wording import listed

# role → words for its column, the surer ones first; case, spaces, signs and plurals do not matter. A column is taken
# from the first tuple that has one; two of one tuple are an error, but two paths of which one alone names files
_WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "path": (
        ("path",),
        ("file", "filename", "image", "filepath", "imagepath"),
        ("imagefile", "imagefilename", "imagefilepath", "imagename", "img", "imgpath", "imgname", "imgfile", "picture",
         "picturepath", "picturename", "photo", "photopath", "photoname", "pathname", "fname", "relativepath",
         "datei", "dateiname", "dateipfad", "pfad", "bild", "bildname", "bilddatei", "bildpfad", "fichier",
         "nomfichier", "nomdufichier", "chemin", "archivo", "fichero", "imagen", "ruta", "arquivo", "imagem",
         "caminho", "nomefile", "immagine", "percorso", "bestand", "bestandsnaam"),
        ("imageid", "imgid", "pictureid", "photoid", "fileid", "imageurl"),
        ("id", "name"),
    ),
    "label": (
        ("label",),
        ("class", "target", "category"),
        ("labelname", "classname", "categoryname", "targetname", "classlabel", "imagelabel", "imageclass",
         "targetlabel", "groundtruth", "truelabel", "gt", "tag", "klasse", "klassenname", "kategorie", "bezeichnung",
         "classe", "categorie", "etikett", "etiquette", "etiqueta", "clase", "categoria", "etichetta", "rotulo", "klas",
         "categorielabel"),
        ("breed", "species", "diagnosis", "dx", "emotion", "variety", "genre", "style", "artist", "brand", "cultivar",
         "disease", "expression", "level", "grade"),
        ("labelid", "classid", "categoryid", "targetid", "classindex", "classidx", "labelindex", "labelidx", "y"),
        ("name", "type", "kind"),
    ),
    "split": (
        ("split",),
        ("part", "set", "subset"),
        ("partition", "phase", "usage", "fold", "datasplit", "dataset", "splitname", "setname", "subsetname",
         "traintest", "trainortest", "traintestsplit", "trainvaltest", "aufteilung", "teilmenge", "conjunto",
         "particion", "mode", "stage", "kfold", "cvfold", "foldid", "foldno", "foldnr", "foldnumber", "foldindex",
         "foldidx", "valid"),
        tuple(STATEMENTS),
    ),
    "group": (("group",),),
}  # fmt: skip
_GROUP_LIKE = ("patient", "patientid", "subject", "subjectid", "person", "personid", "session", "sessionid", "video",
               "videoid", "series", "seriesid", "scene", "sceneid", "lesionid", "groupid", "cluster")  # fmt: skip
_LOOKED_AT = 20  # lines whose cells are looked at to find the column of the paths
_SHOWN = 24  # columns named in a message
_ACCEPTED = {role: ", ".join(words[0] + words[1] + words[2][:6]) for role, words in _WORDS.items() if role != "group"}

_OTHER_GROUPS = "--group-by also takes auto, none, parent, or a regular expression with a capture group."

HINT = (
    "The first line names the columns: path,label and, optionally, split and group. Words accepted: for the path "
    f"{_ACCEPTED['path']}, …; for the label {_ACCEPTED['label']}, …. Others are named by --path-column and "
    "--label-column; --delimiter sets what stands between cells."
)


@dataclass(frozen=True)
class TableColumns:
    """Number of the column of each role.

    Args:
        split: None where no column says the split.
        test_value: with `--split-column HEADER=VALUE`: lines with it are tested on, all others trained on.
        group: None where there is none.
        unused: headers of all columns that are not used.
        guessed: sentences about columns that were recognised by what they hold.
        hints: sentences about unused columns that seem to say a split or a group.
    """

    path: int
    label: int
    split: int | None
    group: int | None
    test_value: str | None = None
    unused: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def _words_of(text: str) -> set[str]:
    word = letters(text)
    return {word, word.removesuffix("s"), word.removesuffix("es")} - {""}


def has_columns(header: Sequence[str], layout: SourceLayout = AUTO) -> bool:
    """Whether a header has a column of paths and another of labels, by its words or as the user names them."""
    path, label = (_matches(header, role, named) for role, named in _named(layout).items())
    return bool(path and label and (set(path) | set(label) != set(path) or len(path) > 1))


def has_usual_columns(header: Sequence[str], layout: SourceLayout = AUTO) -> bool:
    """The same by the best-known words alone."""
    named = _named(layout)
    return all((named[role] and _matches(header, role, named[role])) or _matches(header, role, tiers=2)
               for role in named)  # fmt: skip


def _named(layout: SourceLayout) -> dict[str, str | None]:
    return {"path": layout.path_column, "label": layout.label_column}


def _matches(
    header: Sequence[str], role: str, named: str | None = None, *, tiers: int | None = None, without: Sequence[int] = ()
) -> list[int]:
    """Columns of the surest words of a role; the column that the user names."""
    if named is not None:
        exact = [i for i, cell in enumerate(header) if cell.strip() == named.strip()]
        return exact or [i for i, cell in enumerate(header) if letters(cell) == letters(named) != ""]
    for words in _WORDS[role][:tiers]:
        found = [i for i, cell in enumerate(header) if i not in without and _words_of(cell) & set(words)]
        # `label` beside `labels`: the very word wins
        exact = [i for i in found if letters(header[i]) in words]
        if found:
            return exact or found
    return []


def find_columns(
    cells: Cells, table: Path, *, names_file: Callable[[str], bool], layout: SourceLayout = AUTO
) -> TableColumns:
    """The columns of a table.

    Args:
        cells: header first.
        names_file: whether a cell is the path of an image that is there.

    Raises:
        DataError: no column of paths or of labels, two that could be, or none of the name that the user gave.
    """
    return _Finder(
        [cell.strip() for cell in cells[0][1]], cells[1:], table, names_file=names_file, layout=layout
    ).find()


class _Finder:
    def __init__(
        self,
        header: Sequence[str],
        rows: Cells,
        table: Path,
        *,
        names_file: Callable[[str], bool],
        layout: SourceLayout,
    ) -> None:
        self.header, self.rows, self.table, self.layout = header, rows, table, layout
        self.names_file = names_file
        self.guessed: list[str] = []
        self.hints: list[str] = []

    def find(self) -> TableColumns:
        given = {role: self._given(role, named) for role, named in _named(self.layout).items()}
        given["split"], test_value = self._given_split()
        given["group"] = self._given_group()
        taken = [column for column in given.values() if column is not None]
        path = self._path(taken) if given["path"] is None else given["path"]
        taken = [*taken, *([] if path is None else [path])]
        label = self._one("label", taken) if given["label"] is None else given["label"]
        taken = [*taken, *([] if label is None else [label])]
        group = self._group(taken) if given["group"] is None else given["group"]
        taken = [*taken, *([] if group is None else [group])]
        split = self._split(taken) if given["split"] is None else given["split"]
        taken = [*taken, *([] if split is None else [split])]
        if label is None and path is not None:
            label = self._only_label(taken)
            taken = [*taken, *([] if label is None else [label])]
        if path is None or label is None:
            raise self._missing(path, label)
        if group in (path, label):
            raise self._groups_of_role(group)
        unused = [i for i in range(len(self.header)) if i not in taken and (self.header[i] or any(self._column(i)))]
        self._hint_at_groups(unused, group)
        return TableColumns(
            path=path,
            label=label,
            split=split,
            group=group,
            test_value=test_value,
            unused=tuple(self.header[i] or f"(column {i + 1})" for i in unused),
            guessed=tuple(self.guessed),
            hints=tuple(self.hints),
        )

    def _column(self, column: int) -> list[str]:
        return [row[column].strip() if column < len(row) else "" for _, row in self.rows]

    def _given(self, role: str, named: str | None) -> int | None:
        if named is None:
            return None
        found = _matches(self.header, role, named)
        if len(found) != 1:
            known = [cell for cell in self.header if cell]
            raise DataError(
                expected=f"one column {named!r} for the {role}",
                found=f"{len(found)} of that name" if found else f"columns {as_text(', '.join(known))}",
                where=self.table,
                hint=" ".join((near(named, known) if known else "", _OTHER_GROUPS if role == "group" else "")).strip(),
            )
        return found[0]

    def _given_split(self) -> tuple[int | None, str | None]:
        named = self.layout.split_column
        if named is None:
            return None, None
        head, equals, value = named.rpartition("=")
        if equals and named not in self.header:
            column = self._given("split", head)
            there = sorted(set(self._column(column)) if column is not None else ())
            if value.strip() not in there:
                raise DataError(expected=f"lines whose {head} is {value.strip()!r}, to test on", where=self.table,
                                found=f"{', '.join(map(repr, there[:_SHOWN]))}",
                                hint="Choose one of these values.")  # fmt: skip
            return column, value.strip()
        column = self._given("split", named)
        values = {value for value in self._column(column or 0) if value}
        unknown = sorted(values - set(parse_values(self.header[column or 0], values)))
        if unknown:
            raise DataError(
                expected="train, validation or test in the split column",
                found=f"{', '.join(map(repr, unknown[:_SHOWN]))} in {named}",
                where=self.table,
                hint=f"To test on one of these values: --split-column {named}={unknown[0]}",
            )
        return column, None

    def _given_group(self) -> int | None:
        """The column that `group_by` names; a pattern is a header only where it is one to the letter."""
        named = self.layout.group_by
        if named in GROUP_WORDS or (self.layout.groups_by_pattern and named.strip() not in self.header):
            return None
        column = self._given("group", named)
        if column is not None and not any(self._column(column)):
            raise DataError(expected="a group in some lines", found=f"only empty cells in {named}", where=self.table,
                            hint="--group-by none groups duplicates only.")  # fmt: skip
        return column

    def _group(self, taken: Sequence[int]) -> int | None:
        """The column that is called group; one that says train and test is no group but the split."""
        found = self._one("group", taken)
        return None if found is not None and self._says_split(self._said(found)) else found

    def _says_split(self, said: Sequence[str]) -> bool:
        return "train" in said and len(set(said)) > 1

    def _groups_of_role(self, column: int | None) -> DataError:
        name = self.header[column or 0]
        return DataError(expected="a column of groups beside those of paths and labels", where=self.table,
                         found=f"--group-by {name}, which is one of these",
                         hint="--path-column and --label-column name the other two.")  # fmt: skip

    def _one(self, role: str, taken: Sequence[int]) -> int | None:
        found = _matches(self.header, role, without=taken)
        if len(found) < 2:
            return found[0] if found else None
        raise self._two(role, found)

    def _two(self, role: str, found: Sequence[int]) -> DataError:
        names = " and ".join(self.header[i] for i in found)
        option = "" if role == "group" else f", or choose it: --{role}-column {self.header[found[0]]}"
        preferred = _WORDS[role][0][0]
        return DataError(expected=f"one column for the {role}", found=names, where=self.table,
                         hint=f"Name the column to use {preferred!r}, once{option}.")  # fmt: skip

    def _path(self, taken: Sequence[int]) -> int | None:
        found = _matches(self.header, "path", without=taken)
        if len(found) == 1:
            return found[0]
        among = found or [i for i in range(len(self.header)) if i not in taken]
        naming = [i for i in among if self._names_files(i)]
        if len(naming) == 1 and not self.names_file(self.header[naming[0]]):  # else the first line is no header
            self.guessed.append(f"Paths come from the column {self.header[naming[0]]!r}: its cells name images.")
            return naming[0]
        if found:
            raise self._two("path", found)
        return None

    def _names_files(self, column: int) -> bool:
        cells = self._column(column)[:_LOOKED_AT]
        return bool(cells) and all(cell and self.names_file(cell) for cell in cells)

    def _only_label(self, taken: Sequence[int]) -> int | None:
        """The one column left, if its words come again and are no numbers."""
        left = [i for i in range(len(self.header)) if i not in taken and self.header[i]]
        if len(left) != 1:
            return None
        counts = Counter(cell for cell in self._column(left[0]) if cell)
        if len(counts) * 2 > counts.total() or any(_number(cell) is not None for cell in counts):
            return None
        self.guessed.append(f"Labels come from the column {self.header[left[0]]!r}, the only other one.")
        return left[0]

    def _split(self, taken: Sequence[int]) -> int | None:
        """The column that says the split; one whose values do not is named with what can be done."""
        by_word = [
            i
            for i, cell in enumerate(self.header)
            if i not in taken and any(_words_of(cell) & set(words) for words in _WORDS["split"])
        ]
        plain = {i: said for i in by_word if (said := self._said(i))}
        for column in by_word:
            if column not in plain:
                self._hint_at_split(column)
        if not plain:
            others = [i for i in range(len(self.header)) if i not in taken and i not in by_word]
            for column in others:
                said = self._said(column)
                if self._says_split(said):
                    plain[column] = said
                    self.guessed.append(f"The split comes from the column {self.header[column]!r}, by its values.")
        if len({tuple(said) for said in plain.values()}) > 1:
            preferred = [i for i in plain if letters(self.header[i]) == "split"]
            if len(preferred) != 1:
                raise self._two("split", list(plain))
            return preferred[0]
        return next(iter(plain), None)

    def _said(self, column: int) -> list[str]:
        """The split of each line, empty where the cell is; empty as a whole if the values say no split."""
        values = self._column(column)
        known = parse_values(self.header[column], set(values) - {""})
        usual = _words_of(self.header[column]) & {word for words in _WORDS["split"][:2] for word in words}
        if not known or (len(known) < len(set(values) - {""}) and not usual):
            return []
        return [known.get(value, value) for value in values]  # a mistyped word stays, and is refused where it is used

    def _hint_at_split(self, column: int) -> None:
        values = sorted({value for value in self._column(column) if value})
        if not values:
            return
        name = self.header[column]
        shown = ", ".join(values[:6]) + (", …" if len(values) > 6 else "")
        self.hints.append(
            f"{name} ({shown}) does not say train, validation or test; to test on one of its values: "
            f"--split-column {name}={values[0]}."
        )

    def _hint_at_groups(self, unused: Sequence[int], group: int | None) -> None:
        names = [self.header[i] for i in unused if _words_of(self.header[i]) & set(_GROUP_LIKE)]
        if names and group is None:
            self.hints.append(
                f"If images of one {names[0]} belong together, they stay in one split with --group-by {names[0]}."
            )

    def _missing(self, path: int | None, label: int | None) -> DataError:
        missing = [role for role, column in (("path", path), ("label", label)) if column is None]
        names = listed([cell or "(empty)" for cell in self.header], _SHOWN)
        return DataError(expected=f"columns path and label, without {' and '.join(missing)} nothing can be read",
                         found=f"columns {names}", where=self.table, hint=HINT)  # fmt: skip


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
