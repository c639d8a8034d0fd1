"""demo: draw rock, paper and scissors hands and run the main job on them; needs no network and no photo."""

from __future__ import annotations

from pathlib import Path

from headstart.data.hands import draw_hands
from headstart.workbench.events import Tell, Ticker, tell_plainly
from headstart.workbench.run import Run
from headstart.workbench.train import train


def demo(folder: str | Path, *, backbone: str = "embedded", tell: Tell = tell_plainly) -> Run:
    """Draw `folder/hands` unless it is there already, and train on it into `folder/run`, or `folder/run-2` and on.

    Raises:
        DataError: the folder holds something else.
    """
    hands = Path(folder) / "hands"
    if not hands.exists():
        draw_hands(hands, progress=Ticker(tell, "draw hands"))
    return train(hands, out=Path(folder) / "run", backbone=backbone, tell=tell)
