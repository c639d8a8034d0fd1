"""The command pretrain: its help, and mistakes in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "lagre"), ("option error", "Did you mean large")),
        (("--recipe", "proof", "--offline"), ("backbone error", "squeezenet1_0 on disk")),
        (("--recipe", "proof", "--weights", "nothing.safetensors"), ("backbone error", "nothing.safetensors")),
    ],
)
def test_a_mistake_ends_with_code_2_and_a_hint(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as left:
        main(["pretrain", *arguments])

    message = capsys.readouterr().err
    assert left.value.code == 2
    assert all(word in message for word in words)
    assert not (tmp_path / "pretrained").exists()
