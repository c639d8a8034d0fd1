"""Blocks switched off for one image: the answers are those of the network written without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import headstart as hs
from headstart.errors import DataError
from headstart.inspection.residual.switched_off import switch_blocks_off


class LinearBlock(nn.Module):
    """x + A x."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map(x)


def network() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(*(LinearBlock() for _ in range(3)), nn.Flatten(), nn.Linear(3, 2)).eval()


@pytest.mark.parametrize("off", [(), (1,), (0, 2), (0, 1, 2)])
@torch.no_grad()
def test_blocks_that_are_off_leave_their_shortcut(off: tuple[int, ...]) -> None:
    model, pixels = network(), torch.randn(1, 3, 1, 1)
    before = [tensor.clone() for tensor in model.state_dict().values()]

    found = switch_blocks_off(model, pixels, off)

    def answer(without: tuple[int, ...]) -> list[float]:
        kept = [layer for i, layer in enumerate(model) if i not in without]
        return nn.Sequential(*kept)(pixels)[0].softmax(0).tolist()

    assert found.without == pytest.approx(answer(off), abs=1e-6)
    assert found.probabilities == pytest.approx(answer(()), abs=1e-6)
    for i, block in enumerate(found.blocks):
        assert block.probabilities == pytest.approx(answer((i,)), abs=1e-6)
    x = pixels
    for block, layer in zip(found.blocks, model, strict=False):
        assert block.share == pytest.approx(float(layer.map(x).norm() / layer(x).norm()), rel=1e-5)
        x = layer(x)
    assert all(map(torch.equal, before, model.state_dict().values()))


@pytest.mark.slow
def test_a_classifier_answers_as_it_predicts_and_names_its_classes(run: hs.Run) -> None:
    model, image = run.classifier, np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    pixels = model.backbone.preprocess.normalise(model.backbone.preprocess.prepare(image)[None])

    found = switch_blocks_off(model, pixels)

    expected = model.predict(image)
    assert isinstance(expected, hs.Prediction)
    assert dict(zip(found.classes, found.probabilities, strict=True)) == pytest.approx(
        dict(expected.probabilities), abs=1e-4
    )


def test_what_is_no_block_or_no_single_image_is_refused() -> None:
    with pytest.raises(DataError, match="block from 0 to 2"):
        switch_blocks_off(network(), torch.randn(1, 3, 1, 1), (3,))
    with pytest.raises(DataError, match="one image"):
        switch_blocks_off(network(), torch.randn(2, 3, 1, 1))
    plain = switch_blocks_off(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), torch.randn(1, 3, 1, 1))
    assert plain.blocks == ()
    assert plain.probabilities == plain.without
