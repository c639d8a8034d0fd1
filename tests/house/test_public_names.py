"""The front door: every public name resolves, and nothing heavy is imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import headstart


def test_every_public_name_resolves_to_something_with_a_docstring() -> None:
    for name in headstart.__all__:
        value = getattr(headstart, name)
        assert name == "__version__" or value.__doc__, name


def test_help_and_import_need_no_torch() -> None:
    code = (
        "import sys, contextlib, io\n"
        "import headstart\n"
        "from headstart.cli.main import main\n"
        "for arguments in (['--help'], ['train', '--help'], ['fetch', '--help'], ['backbones']):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(arguments)\n"
        "heavy = {'torch', 'torchvision', 'matplotlib', 'scipy', 'PIL', 'numpy'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
