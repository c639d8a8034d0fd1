"""Experiments over HTTP are those of the lab, within the bounds of their sliders."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.lab.catalogue import run_experiment
from studio.studio_client import StudioClient


@pytest.fixture
def client(tmp_path: Path) -> StudioClient:
    return StudioClient(tmp_path / "p")


@pytest.mark.slow
def test_the_textbooks_numbers_are_computed(client: StudioClient) -> None:
    found = client.ask("GET", "/api/lab/batch_norm_1d?momentum=0.1&batch_size=64").json()

    assert [one["value"] for one in found["numbers"]] == [one.value for one in run_experiment("batch_norm_1d").numbers]
    stored = [one["value"] for one in found["numbers"] if one["printed"]]
    assert stored[:4] == pytest.approx([0.1350, 0.1450, 1.0134, 1.2981], abs=5e-5)  # as printed in the chapter
    assert len(found["panels"][-1]["lines"][0]["x"]) == len(found["panels"][-1]["lines"][0]["y"])


@pytest.mark.parametrize(
    "path",
    ["batch_norm_1d?momentum=2", "batch_norm_1d?momentum=x", "batch_norm_1d?points=100000000", "shortcuts", "..%2fx",
     "identity?plain_epochs=1000000", "batch_norm_1d?batch_size=nan", "batch_norm_1d?momentum=nan"],
)  # fmt: skip
def test_what_is_no_slider_is_refused(client: StudioClient, path: str) -> None:
    assert client.ask("GET", f"/api/lab/{path}").status_code in (404, 422)
