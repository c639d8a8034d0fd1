"""Metrics are means over samples, or have a memory of their own."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from headstart.errors import TrainingError
from headstart.training.meters import accuracy
from small_loops import loop, points


def test_d29_metrics_are_means_over_samples_of_each_pass() -> None:
    sbs = loop(metrics={"accuracy": accuracy}, batch=16)
    record = list(sbs.epochs(4))[-1]
    x, y = points().tensors
    correct = (sbs.predict(x).argmax(1) == y.numpy()).mean()
    assert record.val_metrics["accuracy"] == pytest.approx(correct)
    assert 0 < record.metrics["accuracy"] <= 1
    assert record.metrics["accuracy"] * 40 == pytest.approx(round(record.metrics["accuracy"] * 40))
    assert "val_accuracy" in str(record)


def test_a_metric_with_a_memory_is_reset_and_computed_over_the_whole_validation_set() -> None:
    class Worst:
        def reset(self) -> None:
            self.margins: list[float] = []

        def update(self, logits: Tensor, y: Tensor) -> None:
            self.margins += logits.gather(1, y[:, None]).flatten().tolist()

        def compute(self) -> float:
            return min(self.margins)

    sbs = loop(metrics={"worst": Worst()})
    record = list(sbs.epochs(2))[-1]
    x, y = points().tensors
    assert record.val_metrics == {"worst": pytest.approx(float(sbs.predict(x)[np.arange(40), y].min()), rel=1e-6)}
    assert record.metrics == {}


@pytest.mark.parametrize("value", [None, "good", [[0.5]], {"a": 1}])
def test_a_metric_that_gives_no_number_is_named(value: object) -> None:
    sbs = loop(metrics={"mine": lambda logits, y: value})
    with pytest.raises(TrainingError, match=r"one value for each sample, or their mean, found .* \(metric mine\)"):
        sbs.train(1)
