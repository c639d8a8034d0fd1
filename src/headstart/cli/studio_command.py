"""The command that opens the studio in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.command import command
from headstart.progress import OnEvent


@command()
def studio(
    folder: Annotated[Path, typer.Argument(help="Folder with a folder of images per class; made if missing.")] = Path(
        "studio"
    ),
    *,
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.", min=0, max=65535)] = 8018,
    backbone: Annotated[str, typer.Option(help="Backbone of the live answers.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    on_event: OnEvent,
) -> object:
    """Collect images, learn, look and try in a browser; all of it stays on this machine."""
    from headstart.studio.launch import launch

    options = {"backbone": backbone, "offline": offline}
    return launch(folder, port=port, open_browser=browser, options=options, on_event=on_event)
