"""BackboneSpec: its stages by every name they have."""

from __future__ import annotations

import pytest

from headstart.backbones.catalogue import SPECS
from headstart.backbones.spec import Stage
from headstart.errors import BackboneError

SPEC = SPECS["resnet18"]


@pytest.mark.parametrize("name", ["stage4", "layer4", "pooled"])
def test_a_stage_has_a_name_a_module_and_the_last_is_pooled(name: str) -> None:
    assert SPEC.stage(name) == Stage("stage4", "layer4", 512)


@pytest.mark.parametrize(
    ("layers", "stages"),
    [
        ("auto", ("stage2", "stage3", "stage4")),
        ("last-three", ("stage2", "stage3", "stage4")),
        ("last-two", ("stage3", "stage4")),
        ("pooled", ("stage4",)),
        ("all", ("stem", "stage1", "stage2", "stage3", "stage4")),
        ("layer4, stem", ("stem", "stage4")),
        ("stage4,layer4,pooled", ("stage4",)),
    ],
)
def test_layers_are_chosen_by_word_by_stage_or_by_module(layers: str, stages: tuple[str, ...]) -> None:
    assert SPEC.choose_stages(layers) == stages


def test_a_multiply_add_is_two_operations() -> None:
    assert SPEC.gflop == pytest.approx(2 * 1.814)
    assert SPECS["resnet18"].is_timm is False


def test_an_unknown_stage_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match="Did you mean stage4"):
        SPECS["resnet18"].choose_stages("pooled,stage44")
