"""The notebooks with their outputs as pages of the site: run in kernels of their own, kept by content meanwhile."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import run_blocks

NOTEBOOKS = run_blocks.DOCS.parent / "notebooks"
OUT = run_blocks.DOCS / "_generated" / "notebooks"
SECONDS = 300  # of one cell


def write_all() -> None:
    """Write a page for each notebook, and the page that lists them."""
    OUT.mkdir(parents=True, exist_ok=True)
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # a kernel is a process of its own
        list(pool.map(_write, notebooks))
    names = [path.stem for path in notebooks]
    listed = "\n".join(["```{toctree}", ":maxdepth: 1", *names, "```"])
    about = "Run by the build of this site. They are in `notebooks/` of the repository, and run on Colab, too."
    (OUT / "index.md").write_text(f"# Notebooks\n\n{about}\n\n{listed}\n", encoding="utf-8")


def _write(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    key = hashlib.sha256(f"{run_blocks.source_hash()}{Path(__file__).read_text('utf-8')}{text}".encode()).hexdigest()
    page, kept = OUT / f"{path.stem}.md", OUT / f"{path.stem}.key"
    if page.exists() and kept.exists() and kept.read_text() == key:
        return
    began = time.monotonic()
    page.write_text(page_of(path.stem, executed(text)), encoding="utf-8")
    kept.write_text(key)
    print(f"{path.name}: run in {time.monotonic() - began:.1f} s", file=sys.stderr)


def executed(text: str) -> Any:
    """The notebook with its outputs.

    Raises:
        CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.reads(text, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(content, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    return content


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
