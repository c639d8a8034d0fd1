"""The command line, called in process in a folder of its own; no call may print a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Answer, Headstart
from headstart.cli.main import main


@pytest.fixture
def headstart(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Headstart:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # output is 100 columns wide, whatever terminal the tests run in

    def call(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Answer(int(left.value.code or 0), out, err)

    return call
