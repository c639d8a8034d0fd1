"""bfloat16: where the processor has it, and float32 elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from engines.engine_checks import made, noise
from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.engines import choose
from headstart.engines.bfloat16 import attach_bfloat16, has_bfloat16, require_bfloat16
from headstart.engines.choose import choose_engine
from headstart.engines.forward import Forward, device_forward
from headstart.errors import BackboneError


def with_flags(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    """A processor with these instructions only."""
    monkeypatch.setattr(runtime, "cpu_flags", lambda: frozenset(flags))


def test_features_have_the_rounding_of_bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_flags(monkeypatch, "avx512_bf16")
    backbone, pixels = made("cifar_resnet20"), noise(made("cifar_resnet20"), 4)
    expected, before = backbone.features(pixels), backbone.fingerprint
    attach_bfloat16(backbone)
    found = backbone.features(pixels)
    apart = float((found - expected).abs().max() / expected.abs().max())
    assert 1e-5 < apart < 0.05  # 8 bits of mantissa, over twenty layers
    assert float(F.cosine_similarity(found, expected).min()) > 0.999
    assert found.dtype == torch.float32
    assert torch.equal(found.to(torch.bfloat16).float(), found)  # nothing behind the eighth bit
    assert backbone.fingerprint != before
    assert torch.equal(pickle.loads(pickle.dumps(backbone)).features(pixels), found)  # to another process
    engine = choose_engine(backbone, cache_folder=tmp_path)
    assert torch.equal(engine.forward(pixels), found)
    assert "bfloat16" in engine.reason


def test_a_machine_without_it_refuses_to_train_and_answers_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flags(monkeypatch, "avx2", "avx512f", "avx512_vnni")
    assert not has_bfloat16()
    with pytest.raises(BackboneError, match="--precision int8"):
        require_bfloat16()
    with pytest.raises(BackboneError, match="--step-precision bfloat16"):
        require_bfloat16("--step-precision", "float32")
    backbone, pixels = made("cifar_resnet20"), noise(made("cifar_resnet20"), 2)
    attach_bfloat16(backbone)
    assert torch.equal(backbone.features(pixels), backbone.plain_features(pixels))


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_each_kind_of_processor_that_has_it_is_known(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    with_flags(monkeypatch, flag)
    require_bfloat16()


def test_on_a_device_it_has_the_same_rounding() -> None:
    backbone, pixels = made("cifar_resnet20"), noise(made("cifar_resnet20"), 4)
    expected = backbone.plain_features(pixels)
    found = device_forward(backbone, "cpu", dtype=torch.bfloat16)(pixels)
    assert 1e-5 < float((found - expected).abs().max() / expected.abs().max()) < 0.05
    assert found.dtype == torch.float32
    assert torch.equal(backbone.plain_features(pixels), expected)  # the network itself stays as it was


@pytest.mark.slow
def test_compiled_it_takes_any_number_of_images_and_gives_the_same() -> None:
    backbone = made("cifar_resnet20")
    plain = device_forward(backbone, "cpu", dtype=torch.bfloat16)
    compiled = device_forward(backbone, "cpu", dtype=torch.bfloat16, compiled=True)
    for count in (1, 3, 8):
        pixels = noise(backbone, count)
        expected = plain(pixels)
        assert float((compiled(pixels) - expected).abs().max() / expected.abs().max()) < 0.03


def test_a_gpu_runs_it_compiled_where_torch_can_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: list[tuple[str, str, torch.dtype]] = []

    has_compiler = True

    def build(backbone: Backbone, device: str, *, dtype: torch.dtype, compiled: bool = False) -> Forward:
        if compiled and not has_compiler:
            raise BackboneError(expected="a network that torch.compile takes", found="no compiler", where="here")
        built.append(("compiled" if compiled else "eager", device, dtype))
        return backbone.plain_features

    monkeypatch.setattr(choose, "device_forward", build)
    backbone = made("cifar_resnet20")
    attach_bfloat16(backbone)
    engine = choose_engine(backbone, device="cuda:1", waiting=30_000, cache_folder=tmp_path)
    assert (engine.name, engine.reason, engine.device) == ("compiled", "bfloat16 on cuda:1, compiled", "cuda:1")
    assert choose_engine(backbone, device="cuda", waiting=29_999, cache_folder=tmp_path).name == "eager"
    assert choose_engine(backbone, name="eager", device="cuda", cache_folder=tmp_path).name == "eager"
    assert built == [("compiled", "cuda:1", torch.bfloat16), *2 * [("eager", "cuda", torch.bfloat16)]]
    with pytest.raises(BackboneError, match="engine of bfloat16"):
        choose_engine(backbone, name="onnxruntime", device="cuda", cache_folder=tmp_path)
    has_compiler = False
    engine = choose_engine(backbone, device="cuda", waiting=10**6, cache_folder=tmp_path)
    assert (engine.name, engine.reason) == ("eager", "bfloat16 on cuda; not compiled: no compiler")
    with pytest.raises(BackboneError, match="no compiler"):
        choose_engine(backbone, name="compiled", device="cuda", cache_folder=tmp_path)


def test_a_gpu_that_only_imitates_it_does_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flags(monkeypatch, "amx_bf16")  # the processor's instructions say nothing about a GPU
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert not has_bfloat16("cuda")
    with pytest.raises(BackboneError, match=r"cuda:1, which does not"):
        require_bfloat16(device="cuda:1")
    assert not has_bfloat16("mps")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    require_bfloat16(device="cuda")
