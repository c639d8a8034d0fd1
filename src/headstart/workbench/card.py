"""card: the model card of a run as a Markdown file, from what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.files import FOR_OUT, write_text
from headstart.output_paths import writable_file
from headstart.plain import Plain
from headstart.public_api import public_api
from headstart.reports.model_card import model_card
from headstart.workbench.run import Run

FILE = "model_card.md"


@dataclass(frozen=True)
class ModelCard(Plain):
    """A card that was written: where, and its text."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"Model card: {self.path}"


@public_api
def card(run: str | Path | Run, *, out: str | Path | None = None) -> ModelCard:
    """Write the model card of a run: the sections of Mitchell et al. 2019, from measured values only.

    Args:
        out: file to write, replaced where it exists; None: model_card.md in the folder of the run.

    Raises:
        RunError: there is no run, or the file cannot be written.
    """
    named = None if out is None else writable_file(out)
    opened = run if isinstance(run, Run) else Run.load(run)
    path = named or opened.folder / FILE
    text = model_card(opened.evaluation, opened.record, name=opened.folder.absolute().name)
    write_text(path, text, hint=FOR_OUT)
    return ModelCard(path, text)
