"""Predicted times: a few timed steps, scaled to all training images, for every strategy of `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drawn_photos import draw_folder
from headstart.errors import DataError
from headstart.finetune.cost import Cost
from headstart.recipe import Recipe
from headstart.workbench.predict_time import predict_time


@pytest.mark.slow
def test_costs_of_some_images_are_scaled_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw_folder(tmp_path / "set", per_class=40)
    timed = list[int]()

    def predict_cost(strategy: str, task: Any) -> Cost:
        timed.append(len(task.images.rows))
        assert set(task.images.labels.tolist()) == {0, 1, 2}
        return Cost(once=4.0, epoch=8.0, after=2.0)

    monkeypatch.setattr("headstart.workbench.predict_time.predict_cost", predict_cost)
    found = predict_time(folder, backbone="embedded", offline=True, epochs=5, test_share=0.2, on_event=None)

    assert (found.images, found.waiting, timed) == (120, 120, [64] * 3)
    assert found.strategies["probe"] == 0.0
    assert found.strategies["auto"] == Recipe().seconds
    assert found.strategies["full"] == pytest.approx((4 + 5 * 8 + 2) * 96 / 64)  # 96 of 120 are trained on
    again = predict_time(folder, backbone="embedded", offline=True, on_event=None)
    assert again.waiting == 120 - 64  # only features of the timed images were computed


def test_a_set_without_an_honest_test_is_refused(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "set", per_class=1)
    with pytest.raises(DataError):
        predict_time(folder, backbone="embedded", offline=True, on_event=None)
