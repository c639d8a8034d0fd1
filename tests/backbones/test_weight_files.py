"""Weight files: every kind gives the same tensors and hash, and none runs code."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.weight_files import negative_variances, not_finite, read_weights, tensor_hash
from headstart.backbones.weights import load_weights
from headstart.errors import BackboneError

SPEC = SPECS["cifar_resnet20"]


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in build_backbone(SPEC, seed=5).network.state_dict().items()}


def test_the_same_tensors_have_the_same_hash_in_every_kind_of_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "a.safetensors")
    torch.save(dict(reversed(state.items())), tmp_path / "b.pth")
    parallel = {f"module.{name}": tensor for name, tensor in state.items() if "num_batches" not in name}
    torch.save({"state_dict": parallel, "best_prec1": 91.7, "epoch": 3}, tmp_path / "c.th")
    torch.save({"model": {"state_dict": state}}, tmp_path / "d.pt", _use_new_zipfile_serialization=False)

    loaded = [load_weights(SPEC, str(tmp_path / name)) for name in ("a.safetensors", "b.pth", "c.th", "d.pt")]

    assert {weights.sha256 for weights in loaded} == {tensor_hash(state)}
    assert [weights.source for weights in loaded] == ["a.safetensors", "b.pth", "c.th", "d.pt"]
    assert all(torch.equal(weights.state["conv1.weight"], state["conv1.weight"]) for weights in loaded)


def test_the_hash_sees_names_shapes_buffers_and_single_bits(state: dict[str, Tensor]) -> None:
    def with_(name: str, tensor: Tensor) -> str:
        return tensor_hash(state | {name: tensor})

    nudged = state["linear.bias"].clone()
    nudged[0] = torch.nextafter(nudged[0], torch.tensor(9.0))
    changed = {
        tensor_hash(state),
        with_("linear.bias", nudged),
        with_("bn1.running_mean", state["bn1.running_mean"] + 1),
        with_("conv1.weight", state["conv1.weight"].reshape(-1)),
        tensor_hash({name.replace("linear", "fc"): tensor for name, tensor in state.items()}),
    }

    assert len(changed) == 5
    assert with_("bn1.num_batches_tracked", torch.tensor(99)) == tensor_hash(state)


def test_half_precision_becomes_single(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()},
              tmp_path / "half.safetensors")  # fmt: skip

    file = read_weights(tmp_path / "half.safetensors")

    assert file.state["conv1.weight"].dtype == torch.float32
    assert torch.equal(file.state["conv1.weight"], state["conv1.weight"].half().float())


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path(mark).touch.__func__, (mark,)  # type: ignore[attr-defined]

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")

    with pytest.raises(BackboneError, match=r"a pickle that holds [\w.]+, not tensors alone"):
        load_weights(SPEC, str(tmp_path / "evil.pth"))
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused_with_a_hint(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")

    with pytest.raises(BackboneError, match=r"state_dict\(\)"):
        load_weights(SPEC, str(tmp_path / "whole.pth"))


def test_what_a_checkpoint_holds_beside_tensors_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    """Scripts of timm, torchvision and Lightning keep the parsed arguments of their call."""
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "last.pth.tar")

    with pytest.raises(BackboneError, match=r"holds argparse\.Namespace, not tensors alone.*weights_only=False"):
        read_weights(tmp_path / "last.pth.tar")


def test_a_pickle_of_a_later_protocol_is_not_said_to_hold_more_than_tensors(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth", pickle_protocol=4)

    with pytest.raises(BackboneError, match=r"a pickle of another protocol than torch\.save writes"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"\x08\x05\x12\x8f\x02\n>\n\x05image", b"\n\x08Net\xa2\x06", b"ftrt\xf0\xff"])
def test_a_model_of_another_program_is_not_called_a_pickle(tmp_path: Path, content: bytes) -> None:
    """Core ML, Caffe, TensorRT."""
    (tmp_path / "a.bin").write_bytes(content + bytes(50))

    with pytest.raises(BackboneError, match="bytes that are neither safetensors nor a torch file"):
        read_weights(tmp_path / "a.bin")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_a_file_without_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BackboneError, match="a file with weights"):
        load_weights(SPEC, str(tmp_path / name))


def test_bytes_of_no_known_kind_are_not_called_a_pickle(state: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"\xff" * 1000)
    save_file(state, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:999])

    with pytest.raises(BackboneError, match="1,000 bytes that are neither safetensors nor a torch file"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(BackboneError, match="a safetensors file that is cut off"):
        read_weights(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_a_truncated_file_is_refused(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(BackboneError, match="a file with weights"):
        load_weights(SPEC, str(path))


def test_weights_that_are_not_finite_are_refused_with_tensor_and_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    for value in (torch.nan, torch.inf):
        broken = {name: tensor.clone() for name, tensor in state.items()}
        broken["linear.bias"][0] = value
        torch.save(broken, tmp_path / "broken.pth")
        with pytest.raises(BackboneError, match=r"linear\.bias.*broken\.pth"):
            load_weights(SPEC, str(tmp_path / "broken.pth"))


def test_numbers_of_eight_bits_are_looked_at_like_others() -> None:
    whole = torch.ones(3).to(torch.float8_e5m2)  # torch adds up none of these
    damaged = torch.tensor([1.0, torch.inf, -1.0]).to(torch.float8_e5m2)
    assert not_finite({"a": whole, "b.running_var": whole}) == []
    assert not_finite({"a": damaged}) == ["a"]
    assert negative_variances({"a.running_var": damaged, "b.running_var": whole}) == ["a.running_var"]


def test_limits_and_masks_are_infinite_by_design() -> None:
    none, mask = torch.tensor(-torch.inf), torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    assert not_finite({"a.input_min": none, "a.mask": mask, "backbone.mask": mask}) == []
    weights = {"a.weight": mask, "a.running_var": -none, "head.scale": none, "a.gamma": torch.tensor([1.0, torch.inf])}
    assert not_finite(weights | {"a.nan": torch.tensor([torch.nan, 0.0])}) == [*weights, "a.nan"]


def test_negative_variances_are_refused_with_tensor_and_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    """As an average of more than the weights leaves them: every feature would be NaN."""
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken["bn1.running_var"][1] = -0.01
    torch.save(broken, tmp_path / "broken.pth")

    with pytest.raises(BackboneError, match=r"variances of 0 or more.*bn1\.running_var.*broken\.pth"):
        load_weights(SPEC, str(tmp_path / "broken.pth"))
    network = build_backbone(SPEC).network
    network.get_buffer("bn1.running_var")[0] = -1
    with pytest.raises(BackboneError, match=r"bn1\.running_var"):
        Backbone.from_module(network, preprocess={"size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)})


@pytest.mark.parametrize("entry", ["net", "state_dict_ema", "model_state", "weights", "something"])
def test_the_one_entry_with_tensors_is_taken_and_named(state: dict[str, Tensor], tmp_path: Path, entry: str) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.ones(10**6)}}, "param_groups": []}
    torch.save({entry: state, "optimizer": optimizer, "epoch": 3}, tmp_path / "a.pth")
    loaded = load_weights(SPEC, str(tmp_path / "a.pth"))
    assert loaded.source == f"a.pth, entry {entry}"
    assert loaded.sha256 == tensor_hash(state)


@pytest.mark.slow
def test_of_raw_and_averaged_weights_the_raw_ones_are_taken_and_the_others_can_be_asked_for(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    averaged = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict_ema": averaged, "state_dict": state}, tmp_path / "a.pth")
    raw = load_weights(SPEC, str(tmp_path / "a.pth"))
    asked = [load_weights(SPEC, f"{tmp_path / 'a.pth'}#{name}") for name in ("state_dict_ema", "ema")]
    assert raw.source == "a.pth, entry state_dict (not a.pth#state_dict_ema)"
    assert raw.sha256 == tensor_hash(state)
    assert {one.sha256 for one in asked} == {tensor_hash(averaged)}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "backbone.", "0.", "model.backbone._orig_mod.module."])
def test_a_prefix_of_all_names_is_removed_and_said(state: dict[str, Tensor], tmp_path: Path, prefix: str) -> None:
    torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()} | {"loss.w": torch.ones(3)},
               tmp_path / "a.pth")  # fmt: skip
    backbone = load_backbone(SPEC.name, weights=str(tmp_path / "a.pth"))
    assert torch.equal(backbone.network.state_dict()["conv1.weight"], state["conv1.weight"])
    assert backbone.weights.source == f"a.pth, prefix {prefix} removed"


@pytest.mark.parametrize("wrapper", ["_checkpoint_wrapped_module", "_fsdp_wrapped_module._orig_mod"])
def test_wrapped_blocks_have_the_names_of_the_network(state: dict[str, Tensor], tmp_path: Path, wrapper: str) -> None:
    wrapped = {name.replace("layer2.0.", f"layer2.0.{wrapper}."): tensor for name, tensor in state.items()}
    assert wrapped.keys() != state.keys()
    torch.save({f"net.{name}": tensor for name, tensor in wrapped.items()}, tmp_path / "a.pth")

    backbone = load_backbone(SPEC.name, weights=str(tmp_path / "a.pth"))

    assert torch.equal(backbone.network.state_dict()["layer2.0.conv1.weight"], state["layer2.0.conv1.weight"])
    assert backbone.weights.source == "a.pth, prefix net. removed, names of wrappers removed"


@pytest.mark.parametrize("prefix", ["", "0."])
def test_parts_may_be_named_by_their_place(state: dict[str, Tensor], tmp_path: Path, prefix: str) -> None:
    """As `nn.Sequential(*network.children())` and, before its head, fastai name them."""
    network = build_backbone(SPEC).network
    network.load_state_dict(state)
    parts = nn.Sequential(*list(network.children())[:-1])
    theirs = {f"{prefix}{name}": tensor for name, tensor in parts.state_dict().items()}
    head = {"1.8.weight": torch.ones(2, 512)} if prefix else {}
    torch.save(theirs | head, tmp_path / "a.pth")

    backbone = load_backbone(SPEC.name, weights=str(tmp_path / "a.pth"))

    assert backbone.weights.source == ", ".join(
        ("a.pth", *(["prefix 0. removed"] if prefix else []), "parts named by their place")
    )
    own = backbone.network.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own if not name.startswith("linear."))


@pytest.mark.slow
def test_averaged_weights_behind_another_prefix_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    """As Lightning stores a module with two networks: both are in one state_dict."""
    two = {f"net.{name}": tensor for name, tensor in state.items()}
    two |= {f"net_ema.{name}": tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": two}, tmp_path / "a.ckpt")

    raw = load_backbone(SPEC.name, weights=str(tmp_path / "a.ckpt"))
    averaged = load_backbone(SPEC.name, weights=f"{tmp_path / 'a.ckpt'}#net_ema")

    assert raw.weights.source == "a.ckpt, prefix net. removed (not a.ckpt#net_ema)"
    assert torch.equal(raw.network.state_dict()["conv1.weight"], state["conv1.weight"])
    assert torch.equal(averaged.network.state_dict()["conv1.weight"], state["conv1.weight"] + 1)


def test_what_torch_warns_of_is_not_the_users_matter(state: dict[str, Tensor], tmp_path: Path) -> None:
    """Detectron's files, and others that pickle wrote: torch's reader warns of their protocol."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": {"a": [1.0]}}, protocol=4))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BackboneError):
            load_weights(SPEC, str(tmp_path / "model.pkl"))


def test_a_prefix_that_does_not_help_is_named_with_its_dot(tmp_path: Path) -> None:
    torch.save({"lora.a": torch.ones(2), "lora.b": torch.ones(2)}, tmp_path / "a.pth")

    with pytest.raises(BackboneError, match=r"All names begin with 'lora\.', and without it"):
        load_backbone(SPEC.name, weights=str(tmp_path / "a.pth"))


@pytest.mark.slow
def test_several_networks_in_a_file_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    two = {
        f"{name}.{key}": tensor + (name == "teacher")
        for name in ("student", "teacher")
        for key, tensor in state.items()
    }
    torch.save(two, tmp_path / "a.pth")
    with pytest.raises(BackboneError, match=r"'student\.' and 'teacher\.'"):
        load_backbone(SPEC.name, weights=str(tmp_path / "a.pth"))
    teacher = load_backbone(SPEC.name, weights=f"{tmp_path / 'a.pth'}#teacher")
    assert torch.equal(teacher.network.state_dict()["conv1.weight"], state["conv1.weight"] + 1)


def test_a_list_of_named_tensors_is_unwrapped(state: dict[str, Tensor], tmp_path: Path) -> None:
    """As `torch.save(list(network.named_parameters()), path)` writes it."""
    path = tmp_path / "list.pt"
    torch.save(list(state.items()), path)

    assert tensor_hash(read_weights(path).state) == tensor_hash(state)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")  # torch says that it takes long
def test_a_sparse_tensor_becomes_plain(tmp_path: Path) -> None:
    numbers = torch.tensor([[0.0, 2.0], [0.0, -1.0]])
    torch.save({"weight": numbers.to_sparse()}, tmp_path / "sparse.pt")

    assert torch.equal(read_weights(tmp_path / "sparse.pt").state["weight"], numbers)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (torch.ones(3), "one tensor without a name"),
        ([torch.ones(3), torch.ones(2)], "a list of 2 tensors without names"),
        ({"weight": torch.ones(3, device="meta")}, "tensors without numbers, of the device meta: weight"),
        ({0: torch.ones(3)}, "no tensors by their names in it (the first one is [0])"),
        ({"shadow": [torch.ones(3)]}, "no tensors by their names in it (the first one is ['shadow'][0])"),
        ({}, "no tensors in it"),
        (5, "no tensors in it"),
    ],
)
def test_what_has_no_named_numbers_is_called_what_it_is(contents: object, words: str, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "some.pt")
    with pytest.raises(BackboneError) as error:
        read_weights(tmp_path / "some.pt")
    assert error.value.found == words


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_file_that_the_disk_does_not_give_is_not_called_damaged(
    name: str, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(state, tmp_path / name) if name.endswith("tensors") else torch.save(state, tmp_path / name)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO)) if name == "a.pth" else SafetensorError("(os error 5)")

    monkeypatch.setattr("headstart.backbones.weight_files.safe_open", refuse)
    monkeypatch.setattr("zipfile.ZipExtFile.read", refuse)  # where all of a checkpoint is read first
    with pytest.raises(BackboneError) as caught:
        read_weights(tmp_path / name)
    assert caught.value.found == "Input/output error"
    assert caught.value.hint == "Check the disk and its connection."
