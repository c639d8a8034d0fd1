"""Backbones side by side: what their spec says, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.backbones.catalogue import SPECS, find_spec
from headstart.backbones.joined_spec import base_names, names_at
from headstart.errors import BackboneError

NAME = "resnet18+mobilenet_v2_035"


def test_the_spec_names_both_their_licences_and_their_work() -> None:
    spec, first, second = find_spec(NAME), SPECS["resnet18"], SPECS["mobilenet_v2_035"]

    assert spec.name == NAME
    assert spec.parts == ("resnet18", "mobilenet_v2_035")
    assert spec.title == "ResNet-18 + MobileNetV2, width 0.35"
    assert first.licence in spec.licence
    assert second.licence in spec.licence
    assert spec.parameters == first.parameters + second.parameters
    assert spec.gmac == pytest.approx(1.814 + 0.067 * (224 / 225) ** 2)  # on the first one's pixels
    assert (spec.crop, spec.mean, spec.std) == (first.crop, first.mean, first.std)


def test_words_for_stages_take_the_last_ones_of_each() -> None:
    spec = find_spec(NAME)

    assert spec.choose_stages("pooled") == ("resnet18.stage4", "mobilenet_v2_035.stage6")
    assert spec.choose_stages("last-two") == (
        "resnet18.stage3",
        "resnet18.stage4",
        "mobilenet_v2_035.stage5",
        "mobilenet_v2_035.stage6",
    )
    # each as it is alone
    assert spec.choose_stages("auto") == (
        "resnet18.stage2",
        "resnet18.stage3",
        "resnet18.stage4",
        "mobilenet_v2_035.stage5",
        "mobilenet_v2_035.stage6",
    )
    assert spec.choose_stages("all") == tuple(stage.name for stage in spec.stages)
    assert spec.choose_stages("mobilenet_v2_035.stage2") == ("mobilenet_v2_035.stage2",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18+resnet18", "resnet18 twice"),
        ("resnet18+random", "random"),
        ("resnet18+resnet19", "resnet18"),
        ("resnet18+", "catalogue"),
    ],
)
def test_what_cannot_be_joined_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        find_spec(name)


def test_the_spec_needs_no_torch() -> None:
    code = (
        f"import sys; import headstart.backbones.catalogue as c; c.find_spec({NAME!r}); print('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_one_network_at_two_sizes_does_the_work_of_both() -> None:
    spec, alone = find_spec("resnet18@288+resnet18@224"), SPECS["resnet18"]

    assert (spec.resize, spec.crop) == (329, 288)  # 256 · 288 / 224
    assert spec.gmac == pytest.approx(alone.gmac * ((288 / 224) ** 2 + 1))
    assert spec.megabytes == alone.megabytes  # one file of weights
    assert spec.licence == f"resnet18: {alone.licence}"
    assert spec.choose_stages("pooled") == ("resnet18@288.stage4", "resnet18@224.stage4")


def test_names_of_sizes_have_the_largest_first() -> None:
    assert names_at("resnet18", (224, 288)) == "resnet18@288+resnet18@224"
    assert names_at("a+b", (2, 1)) == "a@2+b@2+a@1+b@1"
    assert base_names(("a@2", "b@2", "a@1", "b@1")) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18@20+resnet18@224", "from 32 to 2048"),
        ("resnet18@+resnet18", "from 32 to 2048"),
        ("resnet18@1e2+resnet18", "from 32 to 2048"),
        ("resnet18@224+resnet18@288", "Write resnet18@288 first"),
        ("resnet18+resnet18@288", "Write resnet18@288 first"),
        ("resnet18@288+resnet18@288", "resnet18@288 twice"),
        ("resnet18@288", "--size 288"),
    ],
)
def test_a_size_that_cannot_be_is_refused(name: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        find_spec(name)
