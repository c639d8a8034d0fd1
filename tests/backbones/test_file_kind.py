"""Kinds of files by content, and damage that the checksums of a zip show."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headstart.backbones.file_kind import kind_of, refuse_kind, zip_damage

STATE = {"weight": torch.arange(5000.0)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n <HTML>", "web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"\x08\x08\x12\x09headstart\x1a\x050.3.0" + bytes(99), "ONNX"),
        (b"\x08\x08\x12\x07pytorch\x1a\x051.0:\x02" + bytes(99), "ONNX"),
        (b"\x08\x01\x12\x83\xe7\x61\x0a\xec\x17\x0a\x05input" + bytes(99), "TensorFlow SavedModel"),
        (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
        (b'{"a": 1}', "JSON"),
        (b"hello", "a text"),
        (b"\x89PNG\r\n", "PNG"),
        (bytes(1000), ""),
        ((5000).to_bytes(8, "little") + b'{"a":{"dtype":"F32"', "safetensors file that is cut off"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    found = kind_of(tmp_path / "x.pth")
    assert words in found if words else found == ""


def test_kinds_of_zip_files_are_told_apart(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:  # the entries that torch.jit.save writes
        for name in ("data.pkl", "code/__torch__/net.py", "constants.pkl", "version"):
            archive.writestr(f"b/{name}", b"x")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.jpg", b"x")
    save_file(STATE, tmp_path / "d.bin")

    found = [kind_of(tmp_path / name) for name in ("a.pth", "b.pt", "c.zip", "d.bin")]

    assert found[0] == "torch checkpoint"
    assert "TorchScript" in found[1]
    assert "zip archive of 1 file (a.jpg)" in found[2]
    assert found[3] == "safetensors"
    assert refuse_kind(tmp_path) == "a folder, not a file"


def test_every_flipped_bit_of_a_tensor_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(STATE, path)
    whole = path.read_bytes()
    assert zip_damage(path) == ""
    at = whole.index(STATE["weight"].numpy().tobytes())
    for offset in (0, 777, 19_999):
        damaged = bytearray(whole)
        damaged[at + offset] ^= 0x10
        path.write_bytes(damaged)
        assert "checksum" in zip_damage(path)
    path.write_bytes(whole[:-30])
    assert "damaged" in zip_damage(path)


def test_a_file_saved_without_checksums_counts_as_whole(tmp_path: Path) -> None:
    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("this torch always writes checksums")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert zip_damage(tmp_path / "a.pth") == ""
