"""parity.html: the verdict first, every image, names escaped."""

from __future__ import annotations

from pathlib import Path

from headstart.onnx_export.parity_report import ParityReport, ParityRow
from headstart.reports.parity_page import write_parity_page


def test_the_page_shows_the_verdict_and_every_image(tmp_path: Path) -> None:
    rows = (
        ParityRow("<b>.png", "cat", "cat", difference=0.0012, margin=0.5, pixels=1),
        ParityRow("tie.png", "cat", "dog", difference=0.0023, margin=0.001, pixels=0),
    )
    report = ParityReport(rows, tolerance=0.005, pixel_tolerance=2, left_out={"bad.png": "empty"})

    page = write_parity_page(tmp_path / "p.html", report, file="classifier.onnx").read_text(encoding="utf-8")

    assert "The file gives the classifier&#39;s answers" in page or "The file gives the classifier's answers" in page
    assert page.index("tie.png") < page.index("&lt;b&gt;.png")  # the largest difference first
    assert "0.0023" in page
    assert "bad.png" in page
    assert "http" not in page.replace("http-equiv", "")
