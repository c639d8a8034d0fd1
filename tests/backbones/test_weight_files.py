"""Weight files: every kind gives the same tensors and hash, and none runs code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.weight_files import read_weights, tensor_hash
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

    with pytest.raises(BackboneError, match="holds more than tensors"):
        load_weights(SPEC, str(tmp_path / "evil.pth"))
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused_with_a_hint(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")

    with pytest.raises(BackboneError, match=r"state_dict\(\)"):
        load_weights(SPEC, str(tmp_path / "whole.pth"))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_a_file_without_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BackboneError, match="a file with weights"):
        load_weights(SPEC, str(tmp_path / name))


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_a_truncated_file_is_refused(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(BackboneError, match="a file with weights"):
        load_weights(SPEC, str(path))
