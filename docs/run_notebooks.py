"""The notebooks with their outputs as pages of the site, kept by content meanwhile.

Their cells run in IPython, without the kernel and its messages: the tests run them in kernels.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import forked
import run_blocks

NOTEBOOKS = run_blocks.DOCS.parent / "notebooks"
OUT = run_blocks.DOCS / "_generated" / "notebooks"


def calls() -> list[forked.Call]:
    """Write the page that lists the notebooks; a call for each notebook whose page is to be written."""
    OUT.mkdir(parents=True, exist_ok=True)
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    names = [path.stem for path in notebooks]
    listed = "\n".join(["```{toctree}", ":maxdepth: 1", *names, "```"])
    about = "Run by the build of this site. They are in `notebooks/` of the repository, and run on Colab, too."
    (OUT / "index.md").write_text(f"# Notebooks\n\n{about}\n\n{listed}\n", encoding="utf-8")
    return [functools.partial(_write, path) for path in notebooks]


def _write(path: Path, place: int) -> None:
    text = path.read_text(encoding="utf-8")
    key = hashlib.sha256(f"{run_blocks.source_hash()}{Path(__file__).read_text('utf-8')}{text}".encode()).hexdigest()
    page, kept = OUT / f"{path.stem}.md", OUT / f"{path.stem}.key"
    if page.exists() and kept.exists() and kept.read_text() == key:
        return
    began = time.monotonic()
    page.write_text(page_of(path.stem, executed(text)), encoding="utf-8")
    kept.write_text(key)
    print(f"{path.name}: run in {time.monotonic() - began:.1f} s, {time.process_time():.1f} CPU-s", file=sys.stderr)


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


def page_of(name: str, content: Any) -> str:
    """Markdown of an executed notebook; its pictures become files."""
    parts = []
    for number, cell in enumerate(content.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"````python\n{cell.source}\n````")
        for at, output in enumerate(cell.outputs):
            data = output.get("data", {})
            if "image/png" in data:
                run_blocks.PICTURES.mkdir(parents=True, exist_ok=True)
                picture = run_blocks.PICTURES / f"{name}-{number}-{at}.png"
                run_blocks.save_picture(base64.b64decode(data["image/png"]), picture)
                parts.append(f"![What the cell above draws](/_generated/pictures/{picture.name})")
            elif shown := output.get("text") or data.get("text/plain"):
                parts.append(f"````text\n{shown.strip()}\n````")
    return "\n\n".join(parts) + "\n"
