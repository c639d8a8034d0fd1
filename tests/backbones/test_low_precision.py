"""LowPrecision: a backbone computes with it wherever it computes features, and its flips too."""

from __future__ import annotations

import pytest
import torch

from headstart.backbones.backbone import load_backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.low_precision import LowPrecision


@pytest.mark.slow
def test_it_replaces_the_forward_pass_and_the_fingerprint_of_a_backbone_and_its_copies() -> None:
    backbone = load_backbone("embedded")
    pixels = torch.randn(2, 3, backbone.preprocess.crop, backbone.preprocess.crop)
    plain = backbone.features(pixels)
    backbone.low_precision = LowPrecision("int8", lambda given: 2 * backbone.plain_features(given), "ab" * 32)
    for one in (backbone, backbone.copy()):
        assert torch.equal(one.features(pixels), 2 * plain)
        assert torch.equal(one.plain_features(pixels), plain)
        assert one.fingerprint == "ab" * 32
    backbone.flip_tta = FlipTTA(backbone.widths, unit=False)
    flipped = backbone.plain_features(pixels.flip(-1))
    torch.testing.assert_close(backbone.features(pixels), plain + flipped)
