"""FlipTTA: mean features of an image and its flip, the same from every engine, cached apart from others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.networks import randomise_batch_norms
from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.flip_tta import FlipTTA
from headstart.data.images import ImageRules
from headstart.engines.choose import Engine, choose_engine, with_flips
from headstart.engines.onnxruntime_engine import missing_packages
from headstart.features.cache import FeatureCache
from headstart.features.extract import open_store


def made() -> Backbone:
    backbone = build_backbone(SPECS["cifar_resnet20"])
    randomise_batch_norms(backbone.network)
    return backbone


def by_hand(backbone: Backbone, pixels: torch.Tensor, unit: bool) -> np.ndarray:
    """From the network's own graph and a flip made by numpy."""
    flipped = torch.from_numpy(pixels.numpy()[..., ::-1].copy())
    network, rows = backbone.feature_extractor(), []
    for view in (pixels, flipped):
        with torch.no_grad():
            features = network(view).double().numpy()
        stages = [features[:, columns] for columns in backbone.slices.values()]
        if unit:
            stages = [stage / np.linalg.norm(stage, axis=1, keepdims=True) for stage in stages]
        rows.append(np.concatenate(stages, 1))
    return (rows[0] + rows[1]) / 2


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize(
    "engine", ["network", "eager", "folded", pytest.param("onnxruntime", marks=pytest.mark.slow), "device"]
)
def test_every_engine_gives_the_mean_over_both(engine: str, unit: bool, tmp_path: Path) -> None:
    if engine == "onnxruntime" and missing_packages():
        pytest.skip("onnxruntime is not installed")
    backbone = made()
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain = backbone.features(pixels).numpy()
    expected = by_hand(backbone, pixels, unit)
    backbone.flip_tta = FlipTTA(backbone.widths, unit)
    forward = backbone.features
    if engine == "device":
        forward = choose_engine(backbone, device="cpu:0", cache_folder=tmp_path).forward
    elif engine != "network":
        chosen = choose_engine(backbone, name=engine, cache_folder=tmp_path)
        assert chosen.name == engine
        assert "run twice, for the flip too" in chosen.reason
        forward = chosen.forward
    np.testing.assert_allclose(forward(pixels).numpy(), expected, rtol=1e-4, atol=2e-5 * expected.max())
    assert np.abs(expected - plain).max() > 0.01 * plain.max()
    np.testing.assert_allclose(forward(pixels.flip(-1)).numpy(), expected, rtol=1e-4, atol=2e-5 * expected.max())


def test_an_engine_that_runs_twice_takes_twice_the_time() -> None:
    backbone, calls = made(), list[int]()

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        return torch.ones(len(pixels), sum(backbone.widths))

    backbone.flip_tta = FlipTTA(backbone.widths, unit=False)
    engine = with_flips(Engine("folded", "because", forward, 0.25), backbone)
    assert engine.forward(torch.zeros(2, 3, 32, 32)).shape == (2, sum(backbone.widths))
    assert (engine.seconds_per_image, calls) == (0.5, [2, 2])


def test_features_of_both_are_cached_apart_from_those_without_flips(tmp_path: Path) -> None:
    backbone, cache, content = made(), FeatureCache(tmp_path, 1e9), hashlib.sha256(b"an image").hexdigest()
    row = np.ones((1, sum(backbone.widths)), np.float32)
    open_store(cache, backbone, ImageRules()).add([content], row)
    for unit in (True, False):
        backbone.flip_tta = FlipTTA(backbone.widths, unit)
        store = open_store(cache, backbone, ImageRules())
        assert content not in store
        store.add([content], row)
    backbone.flip_tta = None
    assert len(open_store(cache, backbone, ImageRules())) == 1
    assert len(cache.entries()) == 3
