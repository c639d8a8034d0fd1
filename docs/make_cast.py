"""Record a session in the terminal as an SVG that scrolls: real commands on drawn hands, and what they print.

python docs/make_cast.py        writes docs/pictures/terminal.svg; no network, no font from outside
"""

from __future__ import annotations

import html
import shutil
import tempfile
from pathlib import Path

import run_blocks

COMMANDS = (
    "headstart audit photos/",
    "headstart train photos/ --backbone embedded",
    "headstart predict runs/photos-2 new_images/",
)
ROWS, WIDTH = 26, run_blocks.COLUMNS + 2
LINE, SIGN = 17, 7.8  # px
READ = 0.18  # seconds a line


def session() -> list[str]:
    """The lines of a terminal in which the commands are typed one after the other."""
    lines = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "here")
        run_blocks.make_folder(folder)
        with run_blocks._inside(folder):
            for command in COMMANDS:
                code, out = run_blocks.run_line(command)
                assert code == 0, out
                printed = out.replace(str(folder.resolve()), "~").rstrip().splitlines()
                lines += [f"$ {command}", *(line.rstrip() for line in printed), ""]  # tables are padded
        shutil.rmtree(folder)
    return lines


def svg(lines: list[str]) -> str:
    """The lines as an SVG of ROWS lines that scrolls through all of them, and stands still for who wants no motion."""
    width, height = round(WIDTH * SIGN) + 24, ROWS * LINE + 44
    end = -max(0, len(lines) - ROWS) * LINE
    seconds = len(lines) * READ + 6
    texts = [
        f'<text y="{LINE * (i + 1)}"{" class=c" if line.startswith("$ ") else ""}>{html.escape(line)}</text>'.replace(
            "class=c", 'class="c"'
        )
        for i, line in enumerate(lines)
        if line
    ]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>headstart in a terminal: audit, train, predict</title>
<style>
text {{ font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d6dbe0; white-space: pre }}
.c {{ fill: #7ee0b5; font-weight: bold }}
@keyframes scroll {{ 0%, 8% {{ transform: none }} 88%, 100% {{ transform: translateY({end}px) }} }}
.s {{ animation: scroll {seconds:.0f}s linear infinite }}
@media (prefers-reduced-motion: reduce) {{ .s {{ animation: none }} }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#16191d"/>
<circle cx="18" cy="15" r="5" fill="#e0655f"/><circle cx="36" cy="15" r="5" fill="#e0b35f"/>
<circle cx="54" cy="15" r="5" fill="#6fc06a"/>
<svg x="12" y="30" width="{width - 24}" height="{ROWS * LINE + 6}"><g class="s">
{chr(10).join(texts)}
</g></svg>
</svg>
"""


if __name__ == "__main__":
    target = run_blocks.DOCS / "pictures" / "terminal.svg"
    target.write_text(svg(session()), encoding="utf-8")
    print(f"{target.name}  {target.stat().st_size / 1000:.0f} kB")
