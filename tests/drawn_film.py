"""Films that OpenCV writes from pictures, for the tests of videos; skipped with a word where it is not installed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

RATE = 10  # frames per second


def write_film(path: Path, frames: Iterable[NDArray[np.uint8]], rate: float = RATE) -> Path:
    """A film of H×W×3 uint8 RGB frames, all of one size; MPEG-4, or motion JPEG in an .avi."""
    cv2 = pytest.importorskip("cv2", reason="needs headstart[video]")
    writer = None
    for rgb in frames:
        if writer is None:
            code = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
            writer = cv2.VideoWriter(str(path), code, rate, (rgb.shape[1], rgb.shape[0]))
            assert writer.isOpened()
        writer.write(np.ascontiguousarray(rgb[..., ::-1]))
    assert writer is not None
    writer.release()
    return path
