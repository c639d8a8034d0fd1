"""engines: what was measured is listed, by network and threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import headstart as hs
from headstart.backbones.backbone import load_backbone
from headstart.engines.measured import keep_measurement


@pytest.mark.slow
def test_every_measurement_of_the_cache_is_listed() -> None:
    folder, backbone, threads = Path(os.environ["HEADSTART_CACHE"]), load_backbone("embedded"), torch.get_num_threads()
    assert hs.list_engines().measurements == ()

    keep_measurement(backbone, {"eager": 0.02, "folded": 0.01}, folder)
    torch.set_num_threads(threads + 1)
    try:
        keep_measurement(backbone, {"eager": 0.01}, folder)
    finally:
        torch.set_num_threads(threads)

    found = hs.list_engines()
    assert found.folder == folder
    assert [(one.threads, one.fastest) for one in found.measurements] == [(threads, "folded"), (threads + 1, "eager")]
