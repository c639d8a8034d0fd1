"""bfloat16: where the processor has it, and float32 elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from engines.engine_checks import made, noise
from headstart import runtime
from headstart.engines.bfloat16 import attach_bfloat16, has_bfloat16, require_bfloat16
from headstart.engines.choose import choose_engine
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
