"""demo: draw rock, paper and scissors hands and run the main job on them; needs no network and no photo."""

from __future__ import annotations

import shlex
from pathlib import Path

from headstart.data.output_record import is_output_folder, output_folder, record_folder
from headstart.datasets.hands import draw_hands
from headstart.files import all_or_none
from headstart.output_paths import writable_folder
from headstart.progress import Notice, OnEvent, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.run import Run
from headstart.workbench.session import Session
from headstart.workbench.train import train


@public_api
def demo(folder: str | Path, *, backbone: str = "auto", on_event: OnEvent | None = print_event) -> Run:
    """Draw `folder/hands` unless it is there already, and train on it into `folder/run`, or `folder/run-2` and on.

    Raises:
        DataError: the folder holds something else.
    """
    with all_or_none():
        hands = output_folder(writable_folder(folder, "demo", for_model=True)) / "hands"
        if not hands.exists():
            draw_hands(hands, progress=Session(on_event=on_event).progress("draw hands"))
            if not is_output_folder(Path(folder)):  # a folder of the user: among images, `hands` would be a class
                record_folder(hands)
    run = train(hands, out=Path(folder) / "run", backbone=backbone, offline=True, on_event=on_event)
    report = on_event or silent
    report(Notice(f"The same in a browser, with your camera: headstart studio {shlex.quote(str(folder))}"))
    return run
