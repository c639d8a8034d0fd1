"""parity.html: an exported file beside its classifier, with the largest difference and every image."""

from __future__ import annotations

from pathlib import Path

from headstart.onnx_export.parity_report import ParityReport
from headstart.reports.page import write_page


def write_parity_page(path: Path, report: ParityReport, *, file: str) -> Path:
    """Write the page as one HTML file; it appears whole or not at all.

    Args:
        file: name of the exported file.

    Raises:
        RunError: the page cannot be written there.
    """
    rows = sorted(report.rows, key=lambda row: -row.difference)
    return write_page(path, "parity.html", {"file": file, "report": report, "rows": rows})
