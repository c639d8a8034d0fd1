"""`python -m headstart`: the command line."""

from headstart.cli.main import main

main()
