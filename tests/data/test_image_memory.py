"""What decoding takes is known before it begins, and never more than the bound at once."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.image_memory import MOST_PIXELS, MemoryBudget, bytes_needed, reduction


def test_large_images_are_reduced_by_a_power_of_two() -> None:
    assert [reduction(MOST_PIXELS * n) for n in (1, 3, 4, 15, 16, 100)] == [1, 2, 2, 4, 4, 8]


@pytest.mark.parametrize(("mode", "least"), [("RGB", 3), ("P", 1), ("I;16", 2), ("RGBA", 4)])
def test_the_estimate_is_at_least_what_the_decoded_image_takes(mode: str, least: int) -> None:
    data = io.BytesIO()
    Image.new(mode, (400, 300)).save(data, "PNG")

    image = Image.open(io.BytesIO(data.getvalue()))

    assert bytes_needed(image, len(data.getvalue())) >= 400 * 300 * (least + 3)


def test_who_does_not_fit_waits_and_one_alone_always_fits() -> None:
    budget, order, inside = MemoryBudget(10), [], threading.Event()

    def second() -> None:
        inside.wait()
        with budget.reserved(8):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with budget.reserved(100):  # more than there is, but alone
        inside.set()
        time.sleep(0.05)
        order.append("first")
    thread.join(5)

    assert order == ["first", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["palette", "deep"])
def test_a_small_file_of_many_pixels_stays_under_the_bound(kind: str, tmp_path: Path) -> None:
    side = 12_000  # 144 million pixels in less than a megabyte
    image = Image.new("P", (side, side)) if kind == "palette" else Image.fromarray(np.zeros((side, side), np.uint16))
    options = {"transparency": 0} if kind == "palette" else {}
    image.save(tmp_path / "large.png", **options)
    code = (
        "import resource, sys\n"
        "from headstart.data.images import open_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "open_image(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    ).stdout

    assert int(printed) * 1024 < 1.2e9  # it took 4.6 and 5.4 GB
