"""Metrics: the buckets of the histogram add up, as Prometheus reads them."""

from __future__ import annotations

from headstart.serving.metrics import Metrics


def test_buckets_are_cumulative_and_sums_right() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.01, 0.03, 0.7, 60.0):
        metrics.image("answered", seconds)
    metrics.request("/v1/predict", 200)
    metrics.request("/v1/predict", 200)

    lines = dict(line.rsplit(" ", 1) for line in metrics.text().splitlines() if not line.startswith("#"))

    buckets = [int(count) for name, count in lines.items() if "_bucket" in name]
    assert buckets == [2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5]
    assert float(lines["headstart_image_seconds_sum"]) == 60.741
    assert lines['headstart_requests_total{path="/v1/predict",status="200"}'] == "2"
