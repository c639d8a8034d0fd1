"""The choice of an engine: checked against eager, explained in a reason, and open to engines from outside."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engines.engine_checks import furthest, made, noise
from headstart.backbones.backbone import Backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.engines.benchmark import TOLERANCE
from headstart.engines.choose import Engine, EngineSearch, choose_engine
from headstart.engines.forward import Forward, folded_forward
from headstart.errors import BackboneError
from headstart.recipe import Recipe
from headstart.registry import ENGINES, register_engine


def crooked(backbone: Backbone) -> Forward:
    """Features that are off by more than the tolerance."""
    straight = folded_forward(backbone)
    return lambda pixels: straight(pixels) * (1 + 10 * TOLERANCE)


def unavailable(backbone: Backbone) -> Forward:
    raise BackboneError(expected="an export", found="a test that allows none")


@pytest.mark.parametrize("waiting", [100, 10**5])
def test_an_engine_whose_features_differ_is_refused_with_the_reason(waiting: int) -> None:
    search = EngineSearch(made("cifar_resnet20"), {"folded": crooked})

    engine = search.best(waiting, 32, export_seconds=None)

    assert engine.name == "eager"
    assert "folded was refused: its features differ from eager's by 2e-04" in engine.reason


def test_an_engine_that_is_requested_and_refused_is_replaced_by_eager() -> None:
    engine = EngineSearch(made("cifar_resnet20"), {"folded": crooked}).requested("folded")

    assert engine.name == "eager"
    assert "the network itself; folded was refused" in engine.reason


def test_auto_runs_the_network_itself_when_hardly_an_image_waits(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    assert choose_engine(backbone, waiting=0, cache_folder=tmp_path).reason.endswith("nothing to compute")
    few = choose_engine(backbone, waiting=3, cache_folder=tmp_path)
    assert (few.name, few.seconds_per_image) == ("eager", None)
    assert "only 3 images to compute" in few.reason
    assert "only 1 image to compute" in choose_engine(backbone, waiting=1, cache_folder=tmp_path).reason


@pytest.mark.slow
def test_no_export_is_made_while_someone_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.engines.choose._EXPORT", 0.0)  # worth it however few images wait
    monkeypatch.setattr("headstart.engines.choose.onnx_forward", lambda *_, **__: pytest.fail("an export"))
    engine = choose_engine(made("cifar_resnet20"), waiting=48, cache_folder=tmp_path, may_export=False)
    assert engine.name == "folded"


@pytest.mark.slow
def test_auto_measures_when_many_images_wait_and_uses_the_table_before() -> None:
    some = EngineSearch(made("resnet18"), {"folded": folded_forward}).best(100, 32, export_seconds=None)
    assert some.name == "folded"
    assert "in the benchmark of this network" in some.reason
    assert some.seconds_per_image is not None
    assert some.seconds_per_image > 0
    many = EngineSearch(made("cifar_resnet20"), {"folded": folded_forward}).best(10**6, 32, export_seconds=None)
    assert "measured on 8 images" in many.reason


@pytest.mark.slow
@pytest.mark.parametrize(("waiting", "tries"), [(20, False), (10**8, True)])
def test_an_export_is_tried_only_when_many_images_wait(waiting: int, tries: bool) -> None:
    search = EngineSearch(made("cifar_resnet20"), {"folded": folded_forward, "onnxruntime": unavailable})
    search.benchmark.eager_seconds = 0.01  # on a busy machine an image can take a second

    engine = search.best(waiting, 32, export_seconds=20.0)

    assert ("onnxruntime is not available: a test that allows none" in engine.reason) == tries


@pytest.mark.slow
def test_a_missing_package_is_an_error_for_the_name_and_not_for_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = made("cifar_resnet20")
    choose_engine(backbone, name="folded", cache_folder=tmp_path)  # imports what it needs
    monkeypatch.setattr(sys, "path", [])  # no package can be found from here
    for name in ("onnxruntime", "onnx", "onnxscript"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(BackboneError, match=r"onnxscript.*pip install"):
        choose_engine(backbone, name="onnxruntime", cache_folder=tmp_path)
    assert choose_engine(backbone, waiting=10**7, cache_folder=tmp_path).name in ("eager", "folded")


def test_an_unknown_engine_is_an_error_that_names_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="Did you mean onnxruntime"):
        choose_engine(made("cifar_resnet20"), name="onnx-runtime", cache_folder=tmp_path)


def test_on_another_device_only_eager_can_be_requested(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="the CPU"):
        choose_engine(made("cifar_resnet20"), name="folded", device="cuda", cache_folder=tmp_path)


def test_the_choice_leaves_threads_gradients_and_random_numbers_unchanged(tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    fingerprint = backbone.fingerprint
    choose_engine(backbone, name="folded", waiting=10**6, cache_folder=tmp_path)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert backbone.fingerprint == fingerprint


def test_every_engine_is_a_choice_of_the_recipe_and_can_be_imported() -> None:
    assert list(ENGINES) == ["auto", "eager", "folded", "compiled", "onnxruntime"]
    for name in ENGINES:
        assert Recipe(engine=name).engine == name
        assert callable(ENGINES[name])


@pytest.fixture
def doubled() -> Iterator[list[int]]:
    """Registers two engines: `halves` runs each batch in two, `wrong` doubles the features; the batches that ran."""
    ran: list[int] = []

    @register_engine("halves")
    def halves(backbone: Backbone) -> Forward:
        def forward(pixels: Tensor) -> Tensor:
            ran.append(len(pixels))
            return torch.cat([backbone.plain_features(half) for half in pixels.chunk(2)])

        return forward

    @register_engine("wrong")
    def wrong(backbone: Backbone) -> Forward:
        return lambda pixels: 2 * backbone.plain_features(pixels)

    yield ran
    ENGINES.remove("halves")
    ENGINES.remove("wrong")


def test_a_registered_engine_runs_on_request(doubled: list[int], tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    pixels = noise(backbone, 6)

    engine = choose_engine(backbone, name="halves", cache_folder=tmp_path)

    assert (engine.name, engine.reason) == ("halves", "as requested")
    assert furthest(backbone, engine.forward(pixels), pixels) <= TOLERANCE
    assert doubled[-1] == 6
    assert Recipe(engine="halves").engine == "halves"


def test_a_registered_engine_is_compared_with_eager_like_any_other(doubled: list[int], tmp_path: Path) -> None:
    engine = choose_engine(made("cifar_resnet20"), name="wrong", cache_folder=tmp_path)

    assert engine.name == "eager"
    assert "wrong was refused" in engine.reason


def test_a_registered_engine_serves_flip_tta(doubled: list[int], tmp_path: Path) -> None:
    backbone = made("cifar_resnet20")
    backbone.flip_tta = FlipTTA(backbone.widths, unit=True)
    pixels = noise(backbone, 2)

    engine: Engine = choose_engine(backbone, name="halves", cache_folder=tmp_path)

    assert torch.allclose(engine.forward(pixels), backbone.features(pixels), atol=1e-6)
    assert "run twice, for the flip too" in engine.reason


@pytest.mark.slow
def test_the_example_in_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending" / "engine.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)

    exec(compile(code, "engine.md", "exec"), {"__name__": "example"})
    ENGINES.remove("halves")

    assert len(code.strip().splitlines()) <= 25
    assert capsys.readouterr().out.strip().splitlines()[-1] == "halves"
