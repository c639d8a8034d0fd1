"""The notebooks with their outputs as pages of the site.

What they print and draw is stored (`stored.py`), so that the build runs only a notebook that has changed. Their cells
run in IPython, without the kernel and its messages: the tests run them in kernels, and compare what they print with
what is stored.
"""

from __future__ import annotations

import base64
import functools
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import forked
import run_blocks
import stored

NOTEBOOKS = run_blocks.DOCS.parent / "notebooks"
OUT = run_blocks.DOCS / "_generated" / "notebooks"


def paths() -> list[Path]:
    """The notebooks, in their order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def calls() -> dict[str, forked.Call]:
    """Write the pages of the notebooks whose outputs are stored, and their list; a call for each other notebook."""
    OUT.mkdir(parents=True, exist_ok=True)
    names = [path.stem for path in paths()]
    listed = "\n".join(["```{toctree}", ":maxdepth: 1", *names, "```"])
    about = "With their outputs. They are in `notebooks/` of the repository, and run on Colab, too."
    (OUT / "index.md").write_text(f"# Notebooks\n\n{about}\n\n{listed}\n", encoding="utf-8")
    return {path.name: functools.partial(_write, path) for path in paths() if not _is_pasted(path)}


def stores(notebooks: list[Path]) -> dict[str, forked.Call]:
    """A call for each notebook that runs it and stores its page and its pictures."""
    return {path.name: functools.partial(_store, path) for path in notebooks}


def _is_pasted(path: Path) -> bool:
    page = stored.load(f"notebooks/{path.stem}", stored.key_of(path.read_text(encoding="utf-8")))
    if page is None:
        return False
    run_blocks.PICTURES.mkdir(parents=True, exist_ok=True)
    for picture in stored.PICTURES.glob(f"{path.stem}-*"):
        shutil.copy(picture, run_blocks.PICTURES)
    (OUT / f"{path.stem}.md").write_text(page[0], encoding="utf-8")
    return True


def _write(path: Path, place: int) -> None:
    page = page_of(path.stem, executed(path.read_text(encoding="utf-8")), run_blocks.PICTURES)
    (OUT / f"{path.stem}.md").write_text(page, encoding="utf-8")


def _store(path: Path, place: int) -> None:
    text = path.read_text(encoding="utf-8")
    page = page_of(path.stem, executed(text), stored.PICTURES)
    stored.save(f"notebooks/{path.stem}", stored.key_of(text), [page])
    print(f"{path.name}: run, {time.process_time():.1f} CPU-s", file=sys.stderr)


def executed(text: str) -> Any:
    """The notebook with its outputs.

    Raises:
        RuntimeError: a cell failed.
    """
    import nbformat
    from IPython.utils.capture import capture_output

    content = nbformat.reads(text, as_version=4)
    shell = _shell()
    with tempfile.TemporaryDirectory() as folder, run_blocks.working_folder(Path(folder)):
        for cell in (cell for cell in content.cells if cell.cell_type == "code"):
            with capture_output() as captured:
                done = shell.run_cell(cell.source)
            if not done.success:
                raise RuntimeError(f"{cell.source}\n\n{done.error_before_exec or done.error_in_exec!r}")
            shown = [{"data": dict(output.data)} for output in captured.outputs]
            cell.outputs = [*([{"text": captured.stdout}] if captured.stdout.strip() else []), *shown]
    return content


def _shell() -> Any:
    from IPython.core.displayhook import DisplayHook
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    class Shown(DisplayHook):  # type: ignore[misc]
        def __call__(self, result: object = None) -> None:
            """The value of a cell's last line is an output as what `display` shows, and not a printed line."""
            if result is not None and not self.quiet():
                display(result)

    class Shell(InteractiveShell):  # type: ignore[misc,no-any-unimported]
        displayhook_class = Shown

        def enable_gui(self, gui: str | None = None) -> None:
            """Nothing: figures are shown inline, without a window and its event loop."""

    return Shell.instance()


def page_of(name: str, content: Any, pictures: Path) -> str:
    """Markdown of an executed notebook; its pictures become files of a folder."""
    pictures.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, cell in enumerate(content.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"````python\n{cell.source}\n````")
        for at, output in enumerate(cell.outputs):
            data = output.get("data", {})
            if "image/png" in data:
                picture = pictures / f"{name}-{number}-{at}.webp"
                run_blocks.save_picture(base64.b64decode(data["image/png"]), picture)
                parts.append(f"![What the cell above draws](/_generated/pictures/{picture.name})")
            elif shown := output.get("text") or data.get("text/plain"):
                lines = shown.rstrip().lstrip("\n")  # the first line may be indented
                parts.append(f"````text\n{lines}\n````")
    return "\n\n".join(parts) + "\n"
