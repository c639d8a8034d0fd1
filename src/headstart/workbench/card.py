"""card: the model card of a run as a Markdown file, from what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.errors import RunError
from headstart.files import FOR_OUT, write_text
from headstart.output_paths import writable_file
from headstart.plain import Plain
from headstart.public_api import public_api
from headstart.reports.model_card import model_card
from headstart.untrusted import read_text
from headstart.workbench.run import Run

FILE = "model_card.md"
_MOST = 5_000_000  # bytes; one of 100 classes has 20,000


@dataclass(frozen=True)
class ModelCard(Plain):
    """A model card: where, and its text; `is_kept`: it was there before, and nothing was written."""

    path: Path
    text: str
    is_kept: bool = False

    def __str__(self) -> str:
        kept = " (it was there and is kept; --out FILE writes a new one)" if self.is_kept else ""
        return f"Model card: {self.path}{kept}"


@public_api
def card(run: str | Path | Run, *, out: str | Path | None = None) -> ModelCard:
    """Write the model card of a run: the sections of Mitchell et al. 2019, from measured values only.

    Args:
        out: file to write, replaced where it exists; None: model_card.md in the folder of the run, which `push` sends.
            One that is there is kept: what was not measured is yours to write into it.

    Raises:
        RunError: there is no run, or the file cannot be read or written.
    """
    named = None if out is None else writable_file(out, replaces=(".md", ".markdown", ".txt"))
    opened = run if isinstance(run, Run) else Run.load(run)
    path = named or opened.folder / FILE
    if named is None and (kept := card_in(opened.folder)) is not None:
        return ModelCard(path, kept, is_kept=True)
    text = model_card(opened.evaluation, opened.record, name=opened.folder.absolute().name)
    write_text(path, text, hint=FOR_OUT)
    return ModelCard(path, text)


def card_in(folder: Path) -> str | None:
    """The text of the card in a run's folder, as the user may have changed it; None: there is none.

    Raises:
        RunError: it cannot be read, or is no text.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return read_text(path, _MOST)
    except (OSError, ValueError) as error:
        raise RunError(
            expected="a model card in UTF-8", found=str(error), where=path, hint="Remove it; headstart card writes one."
        ) from error
