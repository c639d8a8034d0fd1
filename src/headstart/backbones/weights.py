"""Weights from the package, a file, a URL, or the source in the spec. Never unpickles code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from torch import Tensor

from headstart import runtime
from headstart.backbones.catalogue import find_spec
from headstart.backbones.joined_spec import base_names
from headstart.backbones.spec import BackboneSpec, WheelFile
from headstart.backbones.weight_files import (
    SUFFIXES,
    USUAL,
    WeightFile,
    check_finite,
    read_weights,
    split_entry,
    tensor_hash,
)
from headstart.download import Note, WrongHashError, download, file_matches
from headstart.errors import BackboneError, DownloadError
from headstart.files import remove
from headstart.progress import OnProgress

_DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # net-20230815.pth; torchvision's hashes are none
_HASH_IN_NAME = re.compile(rf"-(?!{_DATE}\.)([0-9a-f]{{8,64}})\.[a-z]+$")  # torchvision's habit: resnet18-f37072fd.pth
_HASH_IN_URL = re.compile(r"sha256=([0-9a-fA-F]{64})")
_UNKNOWN = "unknown (the weight file states none)"  # read by strangers, too: on a model card
_PACKAGE = Path(__file__).parent
LITE_INSTALL = 'pip install "headstart[lite]"'
PACKAGED = "comes with headstart"
"""Where the weights of the embedded backbone are from, in a Provenance."""


@dataclass(frozen=True)
class LoadedWeights:
    """Weights in memory and where they are from.

    Args:
        state: tensors by name, those of the classification head too where the file has them.
        source: for people: the file's name or the address, without the folder of this machine.
        sha256: of the tensors, see `tensor_hash`.
        licence: as the file states it, or the spec's for the spec's own source.
        path: the file; None when there is none.
    """

    state: dict[str, Tensor]
    source: str
    sha256: str
    licence: str
    path: Path | None


@dataclass(frozen=True)
class WeightsSource:
    """Where weights would come from, found out without using the network.

    Args:
        path: the file, when it is on disk.
        url: where it can be downloaded otherwise; empty: nowhere.
        megabytes: size of that download; 0: not known.
        licence: of the weights.
    """

    path: Path | None
    url: str
    megabytes: float
    licence: str


@dataclass(frozen=True)
class _Address:
    """A URL in its parts: what to request, the file's name in the cache, the start of its hash and who states it."""

    url: str
    name: str
    sha256: str
    is_hash_of_name: bool


def weights_folder() -> Path:
    """The folder of downloaded weights; files may also be put there by hand."""
    return runtime.cache_folder() / "weights"


def weights_available(spec: BackboneSpec, weights: str | None = None) -> WeightsSource:
    """Where the weights of a spec, or the given ones, would come from; never uses the network.

    Of backbones side by side it is the first part whose weights are not on disk, else the first.

    Raises:
        BackboneError: the URL is not one that can be used.
    """
    if spec.parts:
        names = base_names(spec.parts)
        files = weights.split(",") if weights else [None] * len(names)
        sources = [weights_available(find_spec(name), file) for name, file in zip(names, files, strict=False)]
        return next((source for source in sources if source.path is None), sources[0])
    if weights and not _is_url(weights):
        path, _ = split_entry(weights)
        return WeightsSource(path if path.exists() and not path.is_dir() else None, "", 0.0, _UNKNOWN)
    if weights:
        address = _address(weights)
        return WeightsSource(_on_disk(address), address.url, 0.0, _UNKNOWN)
    if spec.packaged:
        return WeightsSource(_PACKAGE / spec.packaged, "", 0.0, spec.licence)
    if spec.wheel is not None:
        return WeightsSource(_in_wheel(spec.wheel), "", 0.0, spec.licence)
    if spec.is_timm:
        from headstart.backbones.timm_specs import timm_file

        return WeightsSource(timm_file(spec), spec.url, spec.megabytes, spec.licence)
    there = _on_disk(_address(spec.url)) if spec.url else None
    return WeightsSource(there, spec.url, spec.megabytes, spec.licence)


def load_weights(
    spec: BackboneSpec,
    weights: str | None = None,
    *,
    offline: bool = False,
    progress: OnProgress | None = None,
    note: Note | None = None,
) -> LoadedWeights:
    """Weights for a spec: the given file or URL, else the spec's own source, from the disk if it is there.

    Args:
        weights: `.safetensors`, `.pth`, `.pt` or `.th` file, or http(s) URL; `URL#sha256=HEX` checks what arrives,
            `FILE#ENTRY` takes one entry of a checkpoint, such as `#state_dict_ema`.
        offline: never use the network.
        progress: called with the bytes done and the total during a download.
        note: called with a sentence when another process downloads the same file and is waited for.

    Raises:
        BackboneError: there is no such file, it cannot be downloaded, its hash differs, or it holds no weights.
    """
    if weights and not _is_url(weights):
        if "://" in weights:
            raise BackboneError(expected="a file or an http(s) address", found=repr(weights), where="--weights")
        path, entry = split_entry(weights)
        return _load(path, source=path.name, entry=entry)
    if not weights and spec.packaged:
        return _load(_PACKAGE / spec.packaged, source=PACKAGED, licence=spec.licence)
    if not weights and spec.wheel is not None:
        return _load_from_wheel(spec.wheel, licence=spec.licence)
    if not weights and spec.is_timm:
        from headstart.backbones.timm_specs import timm_state

        state, path_or_none = timm_state(spec, offline=offline)
        check_finite(state, path_or_none or spec.url)
        return LoadedWeights(
            state=state, source=spec.url, sha256=tensor_hash(state), licence=spec.licence, path=path_or_none
        )
    if not weights and not spec.url:
        raise BackboneError(
            expected=f"weights for {spec.name}", found="no public source", where="--weights", hint="Give a file."
        )
    address = _address(weights or spec.url)
    there = _on_disk(address)
    if there is None and offline:
        raise BackboneError(
            expected=f"the weights of {spec.name} on disk",
            found="none, and the network is not to be used",
            where=weights_folder() / address.name,
            hint=f"Download {address.url} on another machine and put it there, or give a file with --weights FILE.",
        )
    there = there or _download(address, progress=progress, note=note)
    return _load(there, source=address.url, licence="" if weights else spec.licence, fetched=True)


def load_state_dict_from_url(url: str, *, sha256: str = "", progress: OnProgress | None = None) -> dict[str, Tensor]:
    """Named tensors from a weight file on the web, downloaded once, checked and cached; no code is unpickled.

    Like `torch.hub.load_state_dict_from_url` with `check_hash` and `weights_only` always on. A hash in the file's name
    (`resnet18-f37072fd.pth`) is checked, as is `URL#sha256=HEX`; the tensors come as `read_weights` gives them, on the
    CPU, floating-point ones as float32.

    Args:
        sha256: 64 hex digits; an address without any hash must then be https.
        progress: called with the bytes done and the total during the download.

    Raises:
        BackboneError: it cannot be downloaded, its hash differs, or it holds no weights.
    """
    if not _is_url(url):
        raise BackboneError(expected="an http(s) address", found=repr(url), hint="`read_weights` reads a file.")
    address = _address(f"{url}#sha256={sha256}" if sha256 else url)
    there = _on_disk(address) or _download(address, progress=progress)
    return _load(there, source=address.url, fetched=True).state


def _in_wheel(wheel: WheelFile) -> Path | None:
    """The file inside the installed package; None: it is not installed."""
    try:
        path = Path(str(importlib.metadata.distribution(wheel.distribution).locate_file(wheel.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _load_from_wheel(wheel: WheelFile, *, licence: str) -> LoadedWeights:
    path = _in_wheel(wheel)
    if path is None:
        raise BackboneError(
            expected=f"the package {wheel.distribution}, which holds the weights",
            found="none",
            where="--backbone",
            hint=f"{LITE_INSTALL} installs it.",
        )
    if not file_matches(path, wheel.sha256):
        raise BackboneError(
            expected=f"a file whose SHA-256 begins with {wheel.sha256[:16]}",
            found="another one",
            where=path,
            hint=f"Install it again: pip install --force-reinstall {wheel.distribution}.",
        )
    return _load(path, source=f"the package {wheel.distribution}", licence=licence)


def _load(path: Path, *, source: str, licence: str = "", fetched: bool = False, entry: str = "") -> LoadedWeights:
    try:
        file = read_weights(path, entry)
    except BackboneError:
        if fetched and path.parent == weights_folder():
            remove(path)  # an error page with the name of weights would be found again next time
        raise
    return LoadedWeights(
        state=file.state,
        source=source + _taken(file, path.name),
        sha256=tensor_hash(file.state),
        licence=licence or file.licence or _UNKNOWN,
        path=path,
    )


def _taken(file: WeightFile, name: str) -> str:
    """Which weights of a checkpoint were taken, where that is not plain to see."""
    if file.others:
        others = " or ".join(f"{name}#{other}" for other in file.others)
        return f", entry {file.entry or 'at the top'} (not {others})"
    usual = all(part in USUAL for part in file.entry.split("."))
    return "" if not file.entry or usual else f", entry {file.entry}"


def _download(address: _Address, *, progress: OnProgress | None, note: Note | None = None) -> Path:
    try:
        return download(
            address.url, weights_folder() / address.name, sha256=address.sha256, progress=progress, note=note
        )
    except DownloadError as error:
        hint = f"{error.hint} A file downloaded in another way can be given with --weights FILE."
        if address.is_hash_of_name and isinstance(error, WrongHashError):
            hint = f"{address.sha256} is from the file's name; if it is no hash, give one: URL#sha256=HEX. {hint}"
        raise BackboneError(expected=error.expected, found=error.found, where=error.where, hint=hint) from error


def _on_disk(address: _Address) -> Path | None:
    folders = (weights_folder(), Path(torch.hub.get_dir()) / "checkpoints")
    for path in (folder / address.name for folder in folders):
        if path.is_file() and file_matches(path, address.sha256):
            return path
        if path.is_file() and path.parent == weights_folder():
            raise BackboneError(
                expected=f"a file whose SHA-256 begins with {address.sha256[:16]}",
                found="another one",
                where=path,
                hint="Delete it; it is damaged or of another version.",
            )
    return None


def _is_url(weights: str) -> bool:
    return weights.lower().startswith(("http://", "https://"))


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    name = Path(unquote(parts.path)).name
    plain = parts._replace(fragment="").geturl()
    given = _HASH_IN_URL.fullmatch(parts.fragment)
    if parts.fragment and not given:
        raise BackboneError(expected="#sha256= and 64 hex digits", found=f"#{parts.fragment}", where="--weights")
    if not name.endswith(SUFFIXES):
        raise BackboneError(expected=f"a file named {' or '.join(SUFFIXES)}", found=repr(name), where=plain)
    in_name = _HASH_IN_NAME.search(name)
    sha256 = given.group(1).lower() if given else in_name.group(1) if in_name else ""
    if not sha256 and parts.scheme.lower() == "http":
        raise BackboneError(
            expected="https, or http with #sha256=", found="http without a hash", where=plain, hint="Add #sha256=HEX."
        )
    if not in_name:  # two addresses may end in model.safetensors
        name = f"{hashlib.sha256(plain.encode()).hexdigest()[:12]}-{name}"
    return _Address(plain, name, sha256, is_hash_of_name=given is None and in_name is not None)
