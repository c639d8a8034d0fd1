"""The classifier file: written whole, read without code, refused when damaged."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from classifier.cards import change_card, stated
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import REGISTERED
from headstart.backbones.registered import register_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError
from headstart.heads.head import Head


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_who_may_read_the_file_is_for_the_umask_to_say(classifier: Classifier, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        file = classifier.save(tmp_path / "classifier.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.999])
def test_a_cut_off_file_is_a_clear_error(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 5 else keep * len(data))])
    with pytest.raises(ClassifierError, match="complete classifier file"):
        Classifier.load(path)


@pytest.mark.parametrize(
    "raised",
    [
        SafetensorError("Error while deserializing: I/O error: Input/output error (os error 5)"),
        OSError("Input/output error (os error 5)"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
def test_a_file_that_the_disk_does_not_give_is_not_called_damaged(
    path: Path, raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("headstart.classifier.file.safe_open", refuse)
    with pytest.raises(ClassifierError) as caught:
        Classifier.load(path)
    assert caught.value.found == "Input/output error"
    assert caught.value.hint == "Check the disk and its connection."


def test_missing_and_infinite_tensors_are_refused(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load(path.read_bytes())  # older safetensors cannot write over a file that it has mapped
    broken = {key: value for key, value in tensors.items() if "conv1" not in key}
    save_file(broken, path, metadata)
    with pytest.raises(ClassifierError, match="missing"):
        Classifier.load(path)
    save_file({**tensors, "head.bias": torch.full((3,), torch.nan, dtype=torch.float64)}, path, metadata)
    with pytest.raises(ClassifierError, match="finite"):
        Classifier.load(path)


def changed_tensor(path: Path, name: str, value: float) -> None:
    """Write one number into a tensor of the file, and keep all else, the checksum too."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load(path.read_bytes())
    tensors[name].reshape(-1)[0] = value
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["backbone.conv.weight", "backbone.norm.running_mean", "head.weight", "head.bias"])
def test_a_number_that_is_not_finite_is_refused_with_its_tensor(own: Path, name: str, value: float) -> None:
    changed_tensor(own, name, value)
    with pytest.raises(ClassifierError, match=name) as refused:
        Classifier.load(own, module=Own())
    assert refused.value.where == str(own)


def test_a_negative_variance_is_refused_with_its_tensor(own: Path) -> None:
    changed_tensor(own, "backbone.norm.running_var", -1.0)
    with pytest.raises(ClassifierError, match="running_var"):
        Classifier.load(own, module=Own())


@pytest.mark.parametrize(
    ("name", "factor", "message"),
    [("head.weight", 1e30, "up to 1e[+]15"), ("head.bias", 1e30, "e[+]")],
)
def test_a_head_that_decides_nothing_or_all_is_refused(path: Path, name: str, factor: float, message: str) -> None:
    tensors = load(path.read_bytes())
    card = stated(path)
    tensors["head.bias"] += 1
    save_file({**tensors, name: tensors[name] * factor}, path, {"headstart": json.dumps(card)})

    with pytest.raises(ClassifierError, match=message):
        Classifier.load(path)


@pytest.mark.slow
def test_stages_in_another_order_than_forward_are_refused(tmp_path: Path) -> None:
    backbone = load_backbone("embedded")
    stages = backbone.stages[-2:]
    weight = np.random.default_rng(0).normal(size=(sum(backbone.spec.stage(name).width for name in stages), 2))
    head = Head("ridge", stages, weight, np.zeros(2), temperature=1.0)
    path = Classifier(backbone, head, Card.of(backbone, head, ("ant", "bee"))).save(tmp_path / "c.safetensors")

    with pytest.raises(ClassifierError, match="in the order stage3, stage4, found stage4, stage3"):
        Classifier.load(change_card(path, stages=list(reversed(stages))))


def test_a_stage_under_another_name_than_its_own_is_refused(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["headstart"])
    card["stages"] = ["pooled"]  # that of the last stage in a call; features are stored under its own
    save_file(load(path.read_bytes()), path, {"headstart": json.dumps(card)})
    with pytest.raises(ClassifierError, match=r"own names.*pooled"):
        Classifier.load(path)


def test_flipped_bits_in_tensors_or_card_are_seen(path: Path) -> None:
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for at in (start + 4, start + 400_001, whole.index(b"created") - 20):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ClassifierError):
            Classifier.load(path)


def test_what_could_not_be_opened_is_not_written(classifier: Classifier, tmp_path: Path) -> None:
    broken = classifier.copy()
    next(broken.backbone.network.parameters()).data[0] = torch.nan
    with pytest.raises(ClassifierError, match="NaN"):
        broken.save(tmp_path / "broken.safetensors")
    assert not (tmp_path / "broken.safetensors").exists()


def test_a_torch_checkpoint_is_called_one(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "network.pth")
    with pytest.raises(ClassifierError, match=r"a torch checkpoint.*--weights"):
        Classifier.load(tmp_path / "network.pth")


def test_plain_weights_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ClassifierError, match="without headstart's card"):
        Classifier.load(tmp_path / "weights.safetensors")
    with pytest.raises(ClassifierError, match="no such file"):
        Classifier.load(tmp_path / "nothing.safetensors")


def test_a_giant_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "giant.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ClassifierError, match="complete classifier file"):
        Classifier.load(path)


def test_a_folder_that_cannot_be_written_leaves_nothing(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ClassifierError, match="to write the classifier"):
        classifier.save(tmp_path / "file" / "classifier.safetensors")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["file"]


class Own(nn.Module):
    """A user's network."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


def on(backbone: Backbone) -> Classifier:
    weight = torch.randn(8, 2, generator=torch.Generator().manual_seed(1)).double().numpy()
    head = Head("ridge", ("final",), weight, weight[0], temperature=1.5)
    return Classifier(backbone, head, Card.of(backbone, head, ("a", "b")))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The file of a classifier on a user's network."""
    torch.manual_seed(0)
    return on(Backbone.from_module(Own(), preprocess={"size": 40}, licence="MIT")).save(tmp_path / "own.safetensors")


@pytest.mark.slow
def test_a_classifier_on_a_users_network_loads_with_another_one_of_its_kind(own: Path, photos: Path) -> None:
    torch.manual_seed(0)
    model, image = on(Backbone.from_module(Own(), preprocess={"size": 40}, licence="MIT")), next(photos.rglob("*.png"))
    torch.manual_seed(9)

    opened = Classifier.load(own, module=Own())

    assert opened.predict(image) == model.predict(image)
    assert opened.backbone.fingerprint == model.backbone.fingerprint
    assert opened.backbone.weights == model.backbone.weights
    assert opened.backbone.preprocess == model.backbone.preprocess
    assert opened.save(own.with_name("again.safetensors")).read_bytes() == own.read_bytes()


def test_the_card_says_what_it_needs_and_the_file_holds_tensors_only(own: Path) -> None:
    card = stated(own)

    assert card["backbone"] == "Own"
    assert card["module"] == {
        "class": "Own",
        "package": __name__,
        "parameters": 8 * 27 + 8 + 16 + 45,
        "stages": [{"name": "final", "module": "fc", "width": 8, "pool": "vector", "side": "input"}],
        "head": ["fc"],
    }
    assert sorted(load_file(own)) == [
        "backbone.conv.bias",
        "backbone.conv.weight",
        *[f"backbone.norm.{name}" for name in ("bias", "num_batches_tracked", "running_mean", "running_var", "weight")],
        "head.bias",
        "head.weight",
    ]


def test_without_the_network_the_error_says_what_to_pass(own: Path) -> None:
    with pytest.raises(ClassifierError, match=r"Own, 0\.000285 M parameters, found no module.*module=Own\("):
        Classifier.load(own)


@pytest.mark.parametrize("wrong", [Own(9), nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())])
def test_another_network_is_refused(own: Path, wrong: nn.Module) -> None:
    with pytest.raises(ClassifierError, match="This is another network"):
        Classifier.load(own, module=wrong)


def test_a_module_for_a_classifier_of_the_catalogue_is_refused(path: Path) -> None:
    with pytest.raises(ClassifierError, match="no module, since headstart builds this network"):
        Classifier.load(path, module=Own())


@pytest.fixture
def registered() -> Iterator[None]:
    register_backbone("Own", preprocess={"size": 40})(Own)
    yield
    REGISTERED.remove("Own")


def test_a_registered_network_needs_no_module(own: Path, registered: None, photos: Path) -> None:
    image = next(photos.rglob("*.png"))
    expected = Classifier.load(own, module=Own()).predict(image)

    assert Classifier.load(own).predict(image) == expected


def test_an_export_where_a_classifier_is_asked_for_is_called_that(tmp_path: Path) -> None:
    exported = tmp_path / "classifier.onnx"
    exported.write_bytes(b"\x08\x08\x12\x09headstart\x1a\x050.3.0" + bytes(99))

    for place, found in ((exported, "an ONNX model"), (tmp_path, "a folder without classifier.safetensors")):
        with pytest.raises(ClassifierError) as refused:
            Classifier.load(place)
        assert refused.value.found == found
        assert f"predict, check and serve take {exported}" in refused.value.hint
