"""The command `headstart`, and `python -m headstart`: the command line, which Ctrl-C also ends while it is imported."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line, which takes half a second, and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        # compiled code would make an ImportError of KeyboardInterrupt; nothing is begun, so the process may just end
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from headstart.cli.main import main as command_line

    signal.signal(signal.SIGINT, before)
    command_line()


if __name__ == "__main__":
    main()
