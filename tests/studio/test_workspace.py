"""The workspace: what a killed process left of uploads is removed, recordings have names that training groups by."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from headstart.data.bursts import HOLD
from headstart.errors import DataError
from headstart.studio.workspace import Workspace, ids_of


def test_unfinished_uploads_of_another_time_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".headstart" / "incoming").mkdir(parents=True)
    (tmp_path / ".headstart" / "incoming" / "half").write_bytes(b"x")

    Workspace(tmp_path, {"backbone": "embedded"})

    assert not (tmp_path / ".headstart" / "incoming").exists()


def test_a_recording_has_a_name_of_its_own_that_training_groups_by(tmp_path: Path) -> None:
    space = Workspace(tmp_path, {"backbone": "embedded"})
    names = {space.new_burst() for _ in range(20)}
    assert len(names) > 15
    assert all(HOLD.fullmatch(name) for name in names)


@pytest.mark.parametrize("values", [{}, {"ids": []}, {"ids": "abc"}, {"ids": None}, {"ids": ["a", {}]}, {"ids": [1]}])
def test_a_list_of_images_is_asked_for(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="numbers of images"):
        ids_of(values)
