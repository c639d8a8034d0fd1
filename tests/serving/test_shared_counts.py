"""SharedCounts: two processes see each other's numbers, and the sum is that of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

from headstart.classifier.predictions import Prediction
from headstart.serving.drift import TrainingMean
from headstart.serving.metrics import Metrics
from headstart.serving.shared_counts import SharedCounts


def counted(images: int, direction: int) -> Metrics:
    metrics = Metrics(TrainingMean(np.array([0.6, 0.0]), 10))
    for _ in range(images):
        metrics.image("answered", 0.02)
        metrics.answer(Prediction("a", "x", 1.0, {"x": 1.0}, familiar=direction == 0), np.eye(2)[direction])
    metrics.request("/v1/predict", 200)
    return metrics


def test_any_process_gives_the_sum_of_all(tmp_path: Path) -> None:
    own, other = counted(3, 0), counted(1, 1)
    shared = [SharedCounts(tmp_path, number) for number in (0, 1)]

    shared[1].publish(other)
    text = own.text(shared[0].others())

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['headstart_images_total{outcome="answered"}'] == "4"
    assert lines['headstart_requests_total{path="/v1/predict",status="200"}'] == "2"
    assert lines["headstart_processes"] == "2"
    assert lines["headstart_unfamiliar_share"] == "0.25"
    # the mean of three (1, 0) and one (0, 1) is (0.75, 0.25); that of training (0.6, 0), its spread 0.8
    assert float(lines["headstart_feature_drift"]) == pytest.approx(np.hypot(0.15, 0.25) / 0.8, rel=1e-5)
    assert float(lines["headstart_feature_drift_noise"]) == pytest.approx(np.sqrt(1 / 4 + 1 / 10), rel=1e-5)


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    metrics, shared = counted(1, 0), SharedCounts(tmp_path, 0)
    shared.publish(metrics)
    (tmp_path / "0.json").unlink()
    shared.publish(metrics)
    assert not list(tmp_path.iterdir())
    metrics.image("answered", 0.1)
    shared.publish(metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["0.json"]
    assert shared.others() == []
