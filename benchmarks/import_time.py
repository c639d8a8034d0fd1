"""How much slower than a bare typer program is `headstart --help`, and how long does `import headstart` take?

    python benchmarks/import_time.py [--runs 10]

They take turns, so that a busy moment affects all equally; medians are compared. CPU seconds of the processes are
shown too, since they do not depend on other load.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from machine import hardware
from record import Line, Spent, at_most, show, spending, write

BARE = '''
import typer

app = typer.Typer()


@app.command()
def greet(name: str) -> None:
    """Say hello."""
    print(name)


if __name__ == "__main__":
    app()
'''
HEADSTART = "import sys; from headstart.cli.main import main; sys.argv = ['headstart', *sys.argv[1:]]; main()"
LIMIT = 0.15  # seconds over the bare program


def main() -> None:
    """Time the programs in turns, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        commands = {
            "bare typer program --help": [sys.executable, str(bare), "--help"],
            "headstart --help": [sys.executable, "-c", HEADSTART, "--help"],
            "headstart train --help": [sys.executable, "-c", HEADSTART, "train", "--help"],
            "import headstart": [sys.executable, "-c", "import headstart"],
            "python alone": [sys.executable, "-c", ""],
        }
        spent = timed(commands, runs)
    lines = compared(spent)
    show(lines)
    write("import_time", lines, runs=runs, hardware=hardware())


def timed(commands: dict[str, list[str]], runs: int) -> dict[str, list[Spent]]:
    """What each command spent in each round; a first round, which fills the disk's cache, is not counted."""
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            with spending() as one:
                subprocess.run(command, check=True, capture_output=True)
            if number:
                spent[name].append(one)
    return spent


def compared(spent: dict[str, list[Spent]]) -> list[Line]:
    """Each program's median, and the commands' excess over the bare one."""
    lines = []
    wall, cpu = medians(spent, "wall"), medians(spent, "cpu")
    for name in spent:
        lines.append(Line("import_time", name, wall[name], f"{wall[name]:.3f} s", note=f"{cpu[name]:.3f} CPU s"))
    for name in ("headstart --help", "headstart train --help"):
        more, more_cpu = (by[name] - by["bare typer program --help"] for by in (wall, cpu))
        goal, verdict = at_most(more, LIMIT, " s") if name == "headstart --help" else ("", "")
        what = f"{name}, minus the bare program"
        lines.append(Line("import_time", what, more, f"{more:+.3f} s", goal, verdict, f"{more_cpu:+.3f} CPU s"))
    return lines


def medians(spent: dict[str, list[Spent]], which: str) -> dict[str, float]:
    """Median of one kind of seconds for each program."""
    return {name: median(values(rounds, which)) for name, rounds in spent.items()}


def values(rounds: Sequence[Spent], which: str) -> list[float]:
    """One kind of seconds of all rounds."""
    return [one.wall if which == "wall" else one.cpu for one in rounds]


if __name__ == "__main__":
    main()
