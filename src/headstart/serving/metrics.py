"""Metrics: counters of a server in the text form of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds; those of Prometheus' clients


class Metrics:
    """Counts requests, refusals and images; several threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._images: Counter[str] = Counter()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def request(self, path: str, status: int) -> None:
        """Count an answered request; `path` is one of the server's own."""
        with self._lock:
            self._requests[path, status] += 1

    def image(self, outcome: str, seconds: float) -> None:
        """Count an image: `answered`, `unreadable`, `too_slow` or `turned_away`, and how long it took."""
        with self._lock:
            self._images[outcome] += 1
            self._seconds += seconds
            self._buckets[sum(seconds > bound for bound in _BOUNDS)] += 1

    def text(self) -> str:
        """All of it, one line for each number."""
        with self._lock:
            lines = ["# TYPE headstart_requests_total counter"]
            lines += [
                f'headstart_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            lines.append("# TYPE headstart_images_total counter")
            lines += [f'headstart_images_total{{outcome="{k}"}} {count}' for k, count in sorted(self._images.items())]
            lines.append("# TYPE headstart_image_seconds histogram")
            total = 0
            for bound, count in zip([*map(str, _BOUNDS), "+Inf"], self._buckets, strict=True):
                total += count
                lines.append(f'headstart_image_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"headstart_image_seconds_sum {self._seconds:.6f}", f"headstart_image_seconds_count {total}"]
        return "\n".join(lines) + "\n"
