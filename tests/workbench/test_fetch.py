"""fetch: what is asked for is checked before anything is downloaded; the rest is tested with its command."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import DataError, RunError
from headstart.workbench.fetch import fetch


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("kaggle", {}, "no OWNER/NAME"),
        ("rps", {"name": "a/b"}, "nothing after 'rps'"),
        ("rsp", {}, "Did you mean rps"),
        ("rps", {"sha256": "00112233"}, "--sha256 with an address only"),
        ("rps", {"max_gb": 0.0}, "a size in GB above 0"),
    ],
)
def test_mistakes_are_found_before_anything_is_downloaded(
    source: str, options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        fetch(source, **options, on_event=None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_name_is_refused() -> None:
    with pytest.raises(RunError, match="a folder with a name"):
        fetch("rps", out="/", on_event=None)
