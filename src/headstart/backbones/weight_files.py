"""Weight files → named tensors, without running any code a file contains; and the hash of such tensors."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headstart.errors import BackboneError

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".bin", ".tar")
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_LONGEST_LICENCE = 200
_HINT = "Give a .safetensors file, or a .pth that torch.save wrote from a state_dict()."


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file: tensors by name, and its licence where it states one."""

    state: dict[str, Tensor]
    licence: str


def read_weights(path: Path) -> WeightFile:
    """Read a `.safetensors` file or a torch checkpoint; floating-point tensors come as float32, on the CPU.

    A checkpoint's `state_dict` or `model` entry is unwrapped, and a `module.` prefix common to all names is removed.

    Raises:
        BackboneError: there is no such file, or it does not hold named tensors alone.
    """
    if not path.is_file():
        raise BackboneError(expected="a file with weights", found="none", where=path, hint=_HINT)
    found, licence = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_checkpoint(path), "")
    state = {name: _plain(tensor) for name, tensor in _unwrap(found).items() if isinstance(tensor, Tensor)}
    if not state:
        raise _not_weights(path, "no tensors in it")
    if all(name.startswith("module.") for name in state):  # left by nn.DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return WeightFile(state, licence)


def tensor_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of tensors: names, dtypes, shapes and bytes, independent of their order and of the file.

    `num_batches_tracked` counts training steps, changes no output and is missing in old files, so it is left out.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, object], str]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            notes = file.metadata() or {}
            # cloned: the file may be replaced while its memory is still in use
            tensors: dict[str, object] = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _not_weights(path, str(error)) from error
    licence = notes.get("licence") or notes.get("license") or ""
    return tensors, " ".join(licence.split())[:_LONGEST_LICENCE]


def _read_checkpoint(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message begins with advice to load it unsafely
        raise _not_weights(path, "a pickle that holds more than tensors, or none at all") from error
    except OSError as error:
        raise _not_weights(path, str(error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        # the reader's own errors on a text or an image say nothing to a user
        raise _not_weights(path, f"{_size(path)} that are neither safetensors nor a torch file") from error


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes"


def _unwrap(found: object) -> Mapping[str, object]:
    while isinstance(found, Mapping):
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            return {str(name): value for name, value in found.items()}
        found = inner
    return {}


def _plain(tensor: Tensor) -> Tensor:
    # an nn.Parameter, a half-precision or a sparse tensor becomes a plain one
    dense = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    return dense.float() if dense.is_floating_point() else dense


def _not_weights(path: Path, reason: str) -> BackboneError:
    first = reason.strip().splitlines()[0] if reason.strip() else "unreadable"
    return BackboneError(expected="a file with weights", found=first, where=path, hint=_HINT)
