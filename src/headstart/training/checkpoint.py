"""A checkpoint on disk: written whole or not at all, read without running code from it.

Five keys are those of the book's files, so that its own loader reads ours: `epoch`, `model_state_dict`,
`optimizer_state_dict`, `loss`, `val_loss`. All else stands under `headstart`.
"""

from __future__ import annotations

import math
import numbers
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.backbones.file_kind import refuse_kind, zip_damage
from headstart.backbones.weight_files import not_finite
from headstart.errors import TrainingError, first_line
from headstart.files import atomic_write, make_folder
from headstart.untrusted import Untrusted, check_kinds
from headstart.wording import listed

BOOK_KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
EXTRA = "headstart"
VERSION = 1
_MOST_EPOCHS = 10**9

File = Path | IO[bytes]
_UNTOUCHED = "Check the folder, its permissions and the free space; an older checkpoint there is untouched."
_NAMED = 6  # tensors listed in an error
_LIKE_PARAMETERS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "sum")
"""What SGD, Adam, RMSprop and Adagrad keep for each number of a parameter."""


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
                raise unfit("a whole checkpoint", damage or kind, path)
        with torch.serialization.safe_globals(_numpy_scalars()):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise unfit("a checkpoint", "no such file", path) from error
    except pickle.UnpicklingError as error:
        # torch's own message begins with advice to load it unsafely
        raise unfit("a checkpoint of plain values and tensors", "a pickle that holds more", path) from error
    except Exception as error:  # bytes that are no checkpoint may run torch's unpickler into any error
        raise unfit("a whole checkpoint", first_line(error), path) from error
    missing = [key for key in BOOK_KEYS if not isinstance(values, dict) or key not in values]
    if missing:
        raise unfit(f"a checkpoint with {', '.join(BOOK_KEYS)}", f"no {', '.join(missing)}", path)
    _check_values(values, path)
    return dict(values)


def _check_values(values: Mapping[str, Any], path: File) -> None:
    """Check kinds and sense of what a checkpoint holds beside its tensors: they go into a loop as they are."""
    own = values.get(EXTRA, {"version": VERSION})
    try:
        check_kinds(values, {"epoch": int, "model_state_dict": Mapping, "optimizer_state_dict": Mapping})
        version = check_kinds(own, {"version": int})["version"] if isinstance(own, Mapping) else None
        _check_losses(values)
    except Untrusted as error:
        raise unfit("a checkpoint whose values make sense", str(error), path) from error
    if version is None:
        raise unfit("a checkpoint whose values make sense", f"{EXTRA} is a {type(own).__name__}", path)
    if version > VERSION:
        raise unfit(f"a checkpoint of version {VERSION}", f"version {version}", path)


def _check_losses(values: Mapping[str, Any]) -> None:
    if not 0 <= values["epoch"] <= _MOST_EPOCHS:
        raise Untrusted(f"epoch is {values['epoch']}")
    for key in ("loss", "val_loss"):
        losses = values[key]
        if not isinstance(losses, (list, tuple)):
            raise Untrusted(f"{key} is a {type(losses).__name__}, not a list")
        allowed = (numbers.Real, type(None)) if key == "val_loss" else (numbers.Real,)
        wrong = [one for one in losses if not isinstance(one, allowed) or isinstance(one, bool)]
        if wrong:
            raise Untrusted(f"{key} holds {wrong[0]!r:.60}, no number")
    groups = values["optimizer_state_dict"].get("param_groups", [])
    rates = [group.get("lr") for group in groups if isinstance(group, Mapping)]
    bad = [rate for rate in rates if isinstance(rate, str) or (isinstance(rate, float) and not math.isfinite(rate))]
    if bad:
        raise Untrusted(f"a learning rate of {bad[0]!r:.60}")


def check_fits(model: nn.Module, state: Mapping[str, Tensor], path: File) -> None:
    """Check that a state dict has the names and shapes of a model.

    Raises:
        TrainingError: it has not; the first names that differ are listed.
    """
    own = model.state_dict()
    odd = [name for name, one in state.items() if not isinstance(one, Tensor) or one.is_meta or one.is_sparse]
    if odd:
        raise unfit("plain tensors as weights", f"another thing as {listed(odd, _NAMED)}", path)
    differences = [f"no {name}" for name in own if name not in state]
    differences += [f"{name} is not in the model" for name in state if name not in own]
    differences += [
        f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if differences:
        raise unfit(f"the tensors of this {type(model).__name__}", listed(differences, _NAMED), path)
    other = [name for name, one in state.items() if one.is_complex() != own[name].is_complex()]
    if other:
        raise unfit("real numbers where the model has some", f"complex ones as {listed(other, _NAMED)}", path)
    wrong = not_finite({name: one for name, one in state.items() if bool(torch.isfinite(own[name]).all())})
    if wrong:
        raise unfit("finite numbers in all weights", f"nan or infinity in {listed(wrong, _NAMED)}", path)


def check_optimizer(optimizer: Optimizer, path: File) -> None:
    """Check that the state that an optimiser has loaded is finite and of its parameters' shapes.

    Raises:
        TrainingError: it is not.
    """
    for parameter, state in optimizer.state.items():
        for name, one in state.items():
            if isinstance(one, Tensor) and one.is_floating_point() and not bool(torch.isfinite(one).all()):
                raise unfit("finite numbers in the state of the optimizer", f"nan or infinity in {name}", path)
            if name in _LIKE_PARAMETERS and isinstance(one, Tensor) and one.shape != parameter.shape:
                found = f"{name} {tuple(one.shape)}, not {tuple(parameter.shape)}"
                raise unfit("a state of the optimizer for these parameters", found, path)


def _numpy_scalars() -> list[Any]:
    """What a pickled np.float64 is made of, under its names in numpy 1 and 2: a number, no code."""
    scalar = (np._core if hasattr(np, "_core") else np.core).multiarray.scalar
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32)),
    ]


def unfit(expected: str, found: str, path: File) -> TrainingError:
    """The error for a file that a loop cannot go on from."""
    hint = "Only files written by this loop, or by the book's, can be loaded."
    if not isinstance(path, Path):
        hint += " An open file is read from where it stands: seek(0) goes to its beginning."
    return TrainingError(expected=expected, found=found, where=place_of(path), hint=hint)


def place_of(path: File) -> object:
    """A path, or what an open file is called, for an error."""
    return path if isinstance(path, Path) else getattr(path, "name", type(path).__name__)
