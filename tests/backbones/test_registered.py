"""register_backbone: a function's network is found by name like those of the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import REGISTERED, find_spec
from headstart.backbones.registered import register_backbone
from headstart.errors import BackboneError


@pytest.fixture
def made() -> Iterator[list[nn.Module]]:
    """Registers `tiny`; the networks that its function made so far."""
    networks: list[nn.Module] = []

    @register_backbone("tiny", preprocess={"size": 32}, licence="MIT", paper="none yet")
    def tiny() -> nn.Module:
        networks.append(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        return networks[-1]

    yield networks
    REGISTERED.remove("tiny")


def test_it_is_found_loaded_and_described(made: list[nn.Module]) -> None:
    assert not made  # nothing is built before it is needed

    spec, backbone = find_spec("tiny"), load_backbone("tiny")

    assert (spec.name, spec.licence, spec.paper, spec.crop) == ("tiny", "MIT", "none yet", 32)
    assert backbone.spec == spec
    assert backbone.network is made[-1]
    assert backbone.weights.licence == "MIT"
    assert load_backbone("tiny").fingerprint == backbone.fingerprint  # drawn from the seed, as it has no weights
    assert load_backbone("tiny", seed=1).fingerprint != backbone.fingerprint


def test_weights_from_a_file_are_loaded_into_it(made: list[nn.Module], tmp_path: Path) -> None:
    torch.save(load_backbone("tiny", seed=5).network.state_dict(), tmp_path / "own.pth")

    backbone = load_backbone("tiny", weights=str(tmp_path / "own.pth"))

    assert backbone.fingerprint == load_backbone("tiny", seed=5).fingerprint
    assert backbone.weights.source == "own.pth"


def test_a_function_may_return_a_backbone() -> None:
    @register_backbone("whole")
    def whole() -> Backbone:
        return Backbone.from_module(nn.Sequential(nn.Conv2d(3, 4, 3)), preprocess={"size": 48}, licence="CC0")

    try:
        assert (find_spec("whole").crop, find_spec("whole").licence) == (48, "CC0")
    finally:
        REGISTERED.remove("whole")


def test_an_unknown_name_names_the_near_registered_ones(made: list[nn.Module]) -> None:
    with pytest.raises(BackboneError, match="Did you mean tiny"):
        find_spec("tinny")


@pytest.mark.parametrize("name", ["resnet18", "", "a/b", "timm:x"])
def test_names_that_are_taken_or_no_names_are_refused(name: str) -> None:
    with pytest.raises(BackboneError, match="a new name of letters"):
        register_backbone(name)


def test_a_missing_preprocess_and_an_unknown_field_are_refused() -> None:
    @register_backbone("bare")
    def bare() -> nn.Module:
        return nn.Conv2d(3, 4, 3)

    try:
        with pytest.raises(BackboneError, match="preprocess, the input of bare"):
            find_spec("bare")
    finally:
        REGISTERED.remove("bare")
    with pytest.raises(BackboneError, match="Did you mean licence"):
        register_backbone("wrong", preprocess={"size": 32}, license="MIT")


def leave() -> nn.Module:
    sys.exit(7)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: Path("no-such-weights").read_bytes(), "FileNotFoundError"),
        (leave, r"RuntimeError: it called sys\.exit\(7\)"),
        (lambda: None, "TypeError: NoneType"),
        (lambda: nn.Linear(1, 1).state_dict(), "TypeError: OrderedDict"),
        (lambda size: nn.Linear(size, 1), "TypeError"),
    ],
)
def test_a_function_that_makes_no_network_is_named(function: Any, found: str) -> None:
    register_backbone("odd", preprocess={"size": 32})(function)
    try:
        with pytest.raises(BackboneError, match=f"backbone 'odd' of the script that registers it, found {found}"):
            load_backbone("odd")
    finally:
        REGISTERED.remove("odd")


@pytest.mark.parametrize(
    ("fact", "value", "kind"),
    [("parameters", "many", "float"), ("licence", 5, "str"), ("head", 3, "tuple of str"), ("gmac", None, "float")],
)
def test_facts_of_another_type_are_refused(fact: str, value: object, kind: str) -> None:
    with pytest.raises(BackboneError, match=rf"Expected {kind} as {fact}, found"):
        register_backbone("odd", preprocess={"size": 32}, **{fact: value})


@pytest.mark.slow
def test_the_example_in_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending" / "backbone.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "backbone.md", "exec"), {"__name__": "example"})

    assert len(code.strip().splitlines()) <= 25
    stages, prediction = capsys.readouterr().out.strip().splitlines()[-2:]
    assert stages.startswith("('stage1', 'final') 100.0")
    assert prediction.startswith("colours/red/0.png: red (")
