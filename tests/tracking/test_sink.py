"""What is sent: numbers of the record, ends of intervals as metrics of their own, nothing that is not a number."""

from __future__ import annotations

from typing import Any

import headstart as hs
from headstart.tracking.sink import epochs_of, metrics_of, params_of, scalars_of


def test_an_interval_is_three_metrics(run: hs.Run) -> None:
    metrics, accuracy = metrics_of(run.record), run.evaluation.accuracy

    assert (metrics["accuracy"], metrics["accuracy_low"], metrics["accuracy_high"]) == (
        accuracy.value,
        accuracy.low,
        accuracy.high,
    )
    assert metrics["baseline/kNN"] == run.record["evaluation"]["baselines"]["kNN"]["accuracy"]["value"]
    assert "accuracy_over_groups" not in metrics or run.evaluation.accuracy_over_groups is not None
    assert all(type(value) is float for value in metrics.values())


def test_options_and_fingerprints_are_parameters(run: hs.Run) -> None:
    params = params_of(run.record)

    assert params["backbone"] == "embedded"
    assert params["data.fingerprint"] == run.record["data"]["fingerprint"]
    assert epochs_of(run.record) == []


def test_names_that_are_not_utf_8_are_escaped(run: hs.Run) -> None:
    params = params_of({**run.record, "data": {**run.record["data"], "name": "photos-\udcff"}})

    assert params["data.name"] == "photos-\\udcff"


def test_an_epoch_without_a_number_leaves_it_out() -> None:
    epoch: dict[str, Any] = {
        "epoch": 2,
        "loss": float("nan"),
        "val_loss": 0.5,
        "metrics": {"accuracy": 1},
        "rates": [0.1],
    }

    assert scalars_of(epoch) == {"validation/loss": 0.5, "train/accuracy": 1.0, "lr/0": 0.1}
    assert epochs_of({"tuning": {"epochs": [epoch, None]}})[0][0] == 2
