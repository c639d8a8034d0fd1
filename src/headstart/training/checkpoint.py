"""A checkpoint on disk: written whole or not at all, read without running code from it.

Five keys are those of the book's files, so that its own loader reads ours: `epoch`, `model_state_dict`,
`optimizer_state_dict`, `loss`, `val_loss`. All else stands under `headstart`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones.file_kind import refuse_kind, zip_damage
from headstart.errors import TrainingError, first_line
from headstart.files import atomic_write, make_folder
from headstart.wording import listed

BOOK_KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
EXTRA = "headstart"
VERSION = 1

File = Path | IO[bytes]
_UNTOUCHED = "Check the folder, its permissions and the free space; an older checkpoint there is untouched."
_NAMED = 6  # tensors listed in an error


def write_checkpoint(path: File, values: Mapping[str, Any]) -> None:
    """Save a checkpoint, flushed to the disk; a reader never sees half a file, and an older one stays until then.

    Args:
        path: where; or a file that is open for writing, which its owner flushes and closes.

    Raises:
        TrainingError: the folder cannot be written.
    """
    if not isinstance(path, Path):
        _write_open(path, values)
        return
    expected = "a folder to write a checkpoint to"
    make_folder(path.parent, hint=_UNTOUCHED, kind=TrainingError)
    with atomic_write(path, expected=expected, hint=_UNTOUCHED, kind=TrainingError) as part:
        try:
            torch.save(dict(values), part)
        except RuntimeError as error:  # torch turns a full disk into one
            raise TrainingError(expected=expected, found=first_line(error), where=path, hint=_UNTOUCHED) from error


def _write_open(file: IO[bytes], values: Mapping[str, Any]) -> None:
    try:
        torch.save(dict(values), file)
    except (OSError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise TrainingError(
            expected="a path, or a file that is open for writing bytes",
            found=first_line(error),
            where=place_of(file),
            hint="open(path, 'wb') and io.BytesIO() are such files.",
        ) from error


def read_checkpoint(path: File) -> dict[str, Any]:
    """The values of a checkpoint, all tensors on the CPU; numpy's floats in the book's own files are allowed.

    Raises:
        TrainingError: there is no such file, it is damaged, it holds more than plain values, or a key is missing.
    """
    try:
        if isinstance(path, Path):
            kind, damage = refuse_kind(path), zip_damage(path)
            if damage or kind not in ("torch checkpoint", "a pickle", "a tar archive", ""):
                raise _unfit("a whole checkpoint", damage or kind, path)
        with torch.serialization.safe_globals(_numpy_scalars()):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise _unfit("a checkpoint", "no such file", path) from error
    except pickle.UnpicklingError as error:
        raise _unfit("a checkpoint of plain values and tensors", first_line(error), path) from error
    except Exception as error:  # bytes that are no checkpoint may run torch's unpickler into any error
        raise _unfit("a whole checkpoint", first_line(error), path) from error
    missing = [key for key in BOOK_KEYS if not isinstance(values, dict) or key not in values]
    if missing:
        raise _unfit(f"a checkpoint with {', '.join(BOOK_KEYS)}", f"no {', '.join(missing)}", path)
    if values.get(EXTRA, {}).get("version", VERSION) > VERSION:
        raise _unfit(f"a checkpoint of version {VERSION}", f"version {values[EXTRA]['version']}", path)
    return dict(values)


def check_fits(model: nn.Module, state: Mapping[str, Tensor], path: File) -> None:
    """Check that a state dict has the names and shapes of a model.

    Raises:
        TrainingError: it has not; the first names that differ are listed.
    """
    own = model.state_dict()
    differences = [f"no {name}" for name in own if name not in state]
    differences += [f"{name} is not in the model" for name in state if name not in own]
    differences += [
        f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if differences:
        raise _unfit(f"the tensors of this {type(model).__name__}", listed(differences, _NAMED), path)


def _numpy_scalars() -> list[Any]:
    """What a pickled np.float64 is made of, under its names in numpy 1 and 2: a number, no code."""
    scalar = (np._core if hasattr(np, "_core") else np.core).multiarray.scalar
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32)),
    ]


def _unfit(expected: str, found: str, path: File) -> TrainingError:
    hint = "Only files written by this loop, or by the book's, can be loaded."
    if not isinstance(path, Path):
        hint += " An open file is read from where it stands: seek(0) goes to its beginning."
    return TrainingError(expected=expected, found=found, where=place_of(path), hint=hint)


def place_of(path: File) -> object:
    """A path, or what an open file is called, for an error."""
    return path if isinstance(path, Path) else getattr(path, "name", type(path).__name__)
