"""Rows made from timm's registry, against timm's own transforms and features."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headstart.backbones import timm_specs
from headstart.backbones.backbone import build_backbone, load_backbone
from headstart.backbones.catalogue import find_spec
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import replace_head
from headstart.backbones.weights import load_weights, weights_available
from headstart.errors import BackboneError

timm = pytest.importorskip("timm")

# residual, transformer, maps with channels last, window attention, a last stage narrower than the penultimate features
NAMES = ("test_resnet", "test_vit", "test_mambaout", "test_maxvit", "test_efficientnet", "mobilenetv3_small_100")


# the last one stretches the image
@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "convnext_tiny.in12k_ft_in1k_384"])
def test_preprocessing_is_timm_s_own(name: str) -> None:
    from timm.data import create_transform, resolve_data_config

    row = find_spec(f"timm:{name}")
    wants = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    rgb = np.random.default_rng(0).integers(0, 256, (300, 401, 3), dtype=np.uint8)

    ours = Preprocess.of(row).normalise(Preprocess.of(row).prepare(rgb)[None])[0]

    theirs = create_transform(**wants, is_training=False)(Image.fromarray(rgb))
    assert ours.shape == theirs.shape
    levels = 2.01 if row.interpolation == "bicubic" else 1.01  # see test_preprocess
    assert (ours - theirs).abs().max() <= levels / 255 / min(row.std)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_last_stage_is_what_timm_calls_features_before_the_logits(name: str) -> None:
    row = find_spec(f"timm:{name}")
    backbone = build_backbone(row, seed=1)
    pixels = torch.randn(2, 3, row.crop, row.crop)

    features = backbone.features(pixels)

    network = backbone.network
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)  # type: ignore[operator]
    assert features.shape == (2, sum(backbone.widths))
    assert torch.allclose(features[:, backbone.slices["final"]], expected, rtol=1e-4, atol=1e-5)
    assert len({stage.module for stage in row.stages}) == len(row.stages) > 2


# outputs in lists and tuples, two paths, class tokens without images, constants in the graph, a graph of its own
UNUSUAL = ("pit_ti_224", "efficientvim_m1")
SLOW = (
    *(
        "cait_xxs24_224",
        "coat_lite_tiny",
        "coat_tiny",
        "crossvit_tiny_240",
        "csatv2",
        "deit_tiny_distilled_patch16_224",
    ),
    *("eva02_tiny_patch14_224", "fasternet_s", "hiera_tiny_224", "hrnet_w18_small", "selecsls42"),
    *("hieradet_small", "swin_tiny_patch4_window7_224", "tnt_s_patch16_224", "tresnet_m"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*UNUSUAL, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_of_unusual_form_gives_what_its_classifier_takes(name: str) -> None:
    row = find_spec(f"timm:{name}")
    backbone = build_backbone(row, seed=1)
    pixels = torch.randn(2, 3, row.crop, row.crop)
    taken: list[torch.Tensor] = []
    handle = backbone.network.get_submodule(row.head[0]).register_forward_pre_hook(lambda _, x: taken.append(x[0]))

    with torch.inference_mode():
        backbone.network(pixels)
    handle.remove()
    features = backbone.features(pixels)

    assert features.shape == (2, sum(backbone.widths))
    torch.testing.assert_close(features[:, backbone.slices["final"]], taken[0].flatten(1), rtol=1e-4, atol=1e-5)
    assert replace_head(backbone.network, row, 5)(pixels).shape == (2, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["deit_tiny_distilled_patch16_224", pytest.param("levit_128s", marks=pytest.mark.slow)]
)
def test_the_pooled_features_of_distilled_networks_are_timms_pre_logits(name: str) -> None:
    row = find_spec(f"timm:{name}")
    backbone = build_backbone(row, seed=1)
    pixels = torch.randn(2, 3, row.crop, row.crop)

    with torch.inference_mode():
        tokens = backbone.network.forward_features(pixels)
        expected = backbone.network.forward_head(tokens, pre_logits=True)
    pooled = backbone.features(pixels)[:, backbone.slices[row.stage("pooled").name]]

    torch.testing.assert_close(pooled, expected.flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_class_token_of_distilled_networks_stays_a_stage_but_is_not_chosen() -> None:
    row = find_spec("timm:deit_tiny_distilled_patch16_224")

    assert [stage.name for stage in row.stages] == ["stage1", "stage2", "stage3", "final", "pre_logits"]
    assert row.choose_stages("auto") == ("stage2", "stage3", "pre_logits")


@pytest.mark.slow
def test_a_network_without_a_classifier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = timm.create_model("test_vit", pretrained=False)
    monkeypatch.setitem(network.pretrained_cfg, "classifier", "logits")
    with pytest.raises(BackboneError, match="classifier, which takes the features"):
        timm_specs._spec(network.to("meta").eval(), network.pretrained_cfg)


def test_a_network_that_fails_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise KeyError("serial_blocks1")

    timm_specs.timm_spec.cache_clear()
    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(BackboneError, match="KeyError: 'serial_blocks1'"):
        find_spec("timm:test_vit3")


def test_the_spec_has_timm_s_licence_and_the_full_name() -> None:
    row = find_spec("timm:test_resnet")

    assert row.name == "timm:test_resnet.r160_in1k"
    assert row.licence == "apache-2.0"
    assert row.url == "https://huggingface.co/timm/test_resnet.r160_in1k"
    assert row.is_timm
    assert find_spec(row.name) == row


def test_the_numbers_of_a_known_network_are_correct() -> None:
    row = find_spec("timm:resnet18")

    assert row.parameters == pytest.approx(11.689512)
    assert row.gmac == pytest.approx(1.814, rel=1e-3)
    assert [stage.width for stage in row.stages] == [64, 64, 128, 256, 512]


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "hf_hub:a/b", "local-dir:/tmp/x", "a/b"])
def test_names_that_lead_to_a_hub_or_a_folder_are_refused(name: str) -> None:
    with pytest.raises(BackboneError, match="are refused"):
        find_spec(f"timm:{name}")


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet81", "Did you mean resnet18"), ("resnet18.nope", "Try resnet18 alone"), ("qqqqqqqq", "list_models")],
)
def test_unknown_names_are_answered_with_a_hint(name: str, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        find_spec(f"timm:{name}")


@pytest.mark.slow
def test_a_network_that_wants_a_border_is_refused() -> None:
    bordered = next(name for name in timm.list_models(pretrained=True) if _crop_mode(name) == "border")

    with pytest.raises(BackboneError, match="crop mode border"):
        find_spec(f"timm:{bordered}")


def _crop_mode(name: str) -> str:
    return str(timm.get_pretrained_cfg(name).crop_mode)


def test_a_file_given_by_hand_is_loaded(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", pretrained=False)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")

    backbone = load_backbone("timm:test_resnet", weights=str(tmp_path / "mine.safetensors"), offline=True)

    pixels = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        assert torch.allclose(backbone.pretrained_logits(pixels), network.eval()(pixels), atol=1e-6)


def test_what_timm_s_hub_has_left_on_disk_is_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as hub

    network = timm.create_model("test_resnet", pretrained=False)
    snapshot = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    save_file(network.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    loaded = load_weights(find_spec("timm:test_resnet"), offline=True)

    assert loaded.path == snapshot / "model.safetensors"
    assert weights_available(find_spec("timm:test_resnet")).path == loaded.path
    assert torch.equal(loaded.state["conv1.0.weight"], network.state_dict()["conv1.0.weight"])
    assert loaded.licence == "apache-2.0"


def test_offline_without_a_file_says_where_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    with pytest.raises(BackboneError, match=r"huggingface.co/timm/test_resnet.*--weights FILE"):
        load_weights(find_spec("timm:test_resnet"), offline=True)


def test_the_head_can_be_replaced() -> None:
    row = find_spec("timm:test_resnet")

    network = replace_head(build_backbone(row).network, row, 5)

    assert network(torch.zeros(1, 3, 160, 160)).shape == (1, 5)


def test_without_timm_the_error_is_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # what Python itself does for a module that must not be found

    with pytest.raises(BackboneError) as caught:
        find_spec("timm:test_vit2")

    assert caught.value.hint == 'pip install "headstart[timm]"'
