"""Weight files → named tensors of sensible numbers, without running any code in them; and the hash of such tensors."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headstart.backbones.file_kind import refuse_kind, zip_damage
from headstart.errors import BackboneError, HeadstartError
from headstart.files import expanded, os_error
from headstart.freezing import tensor_bytes
from headstart.refusals import refusal

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")
_WRAPPERS = (  # entries of a checkpoint that hold the weights, the usual ones first
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights", "params", "module"),
    *("backbone", "encoder", "student", "generator"),
)
USUAL = _WRAPPERS[:3]
"""Entries that need no mention: what nearly every training script writes."""

_NO_WEIGHTS = re.compile(r"optim|sched|scaler|rng|random|hyper|loss|metric|history|args|config", re.IGNORECASE)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow|momentum)([._]|$)", re.IGNORECASE)
_WRAPPED = re.compile(r"\.(?:(?:_checkpoint_wrapped_module|_fsdp_wrapped_module|_orig_mod)\.)+")
"""Wrappers inside a name: of activation checkpointing, FSDP and torch.compile. At its beginning they are prefixes."""
_FOREIGN = re.compile(r"[Uu]nsupported (?:global: )?GLOBAL ([\w.]+)")  # in a message of torch
_DEEPEST = 4  # entries inside each other: {"checkpoint": {"model": {"state_dict": ...}}}
_DEEPEST_SHOWN = 20
_SMALL = 0.5  # an entry with a smaller share of the largest one's numbers is a part beside the network
_NAMED = 8
_LONGEST_LICENCE = 200
_HINT = "Give a .safetensors file, or a .pth that torch.save wrote from a state_dict()."


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file.

    Args:
        state: tensors by name. licence: where the file states one.
        entry: of a checkpoint, which of its entries they are; empty: the file holds nothing else.
        others: entries that could have been meant too, such as an average of the weights; `FILE#ENTRY` takes one.
    """

    state: dict[str, Tensor]
    licence: str
    entry: str = ""
    others: tuple[str, ...] = ()


def split_entry(weights: str) -> tuple[Path, str]:
    """The file and the entry of `FILE#ENTRY`; a file whose own name has a `#` is that file."""
    path = expanded(weights, kind=BackboneError)
    if path.exists() or "#" not in path.name:
        return path, ""
    file, _, entry = weights.rpartition("#")
    return expanded(file, kind=BackboneError), entry


def read_weights(path: Path, entry: str = "") -> WeightFile:
    """Read a `.safetensors` file or a torch checkpoint; floating-point tensors come as float32, on the CPU.

    What the file is, is seen from its content. A checkpoint's one entry of named tensors is unwrapped: `state_dict`,
    `model`, `net` or another; of raw and averaged (EMA) weights the raw ones. A `module.` prefix common to all names is
    removed.

    Args:
        entry: of a checkpoint, the entry to take, or the beginning of the names to take.

    Raises:
        BackboneError: there is no such file, it does not hold named tensors alone, it is damaged, a number in it is not
            finite, or it is not clear which entry is meant.
    """
    if not path.exists():
        raise BackboneError(expected="a file with weights", found="none", where=path, hint=_HINT)
    kind = _kind(path)
    found: object
    if kind == "safetensors":
        found, licence = _read_safetensors(path)
    elif kind in ("torch checkpoint", "a pickle", "a tar archive", ""):
        found, licence = _read_checkpoint(path, kind), ""
    else:
        raise _not_weights(path, kind)
    entries = _entries(found)
    if not entries:
        raise _not_weights(path, _without_names(found))
    taken, tensors, others = _choose(entries, entry, path)
    empty = [name for name, tensor in tensors.items() if tensor.is_meta]
    if empty:
        raise _not_weights(path, f"tensors without numbers, of the device meta: {_listed(empty)}")
    state = {name: _plain(tensor) for name, tensor in tensors.items()}
    if all(name.startswith("module.") for name in state):  # left by nn.DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    check_finite(state, path)
    return WeightFile(state, licence, taken, others)


def check_finite(state: Mapping[str, Tensor], where: object) -> None:
    """Check that weights hold finite numbers only, and no negative variance.

    Raises:
        BackboneError: NaN, infinity or a variance below 0; the first tensors are named.
    """
    wrong = not_finite(state)
    negative = [] if wrong else negative_variances(state)
    if negative:
        raise BackboneError(
            expected="variances of 0 or more in all batch norms",
            found=f"negative ones in {_listed(negative)}",
            where=where,
            hint="A network gives NaN with them: the file is damaged, or averaged in a wrong way. Take other weights.",
        )
    if wrong:
        raise BackboneError(
            expected="finite numbers in all weights",
            found=f"NaN or infinity in {', '.join(wrong[:_NAMED])}" + (", …" if wrong[_NAMED:] else ""),
            where=where,
            hint="They come from a training that diverged, or the file is damaged: take other weights.",
        )


_NEVER_INFINITE = ("weight", "bias", "running_mean", "running_var")
_OURS = ("head.", "familiarity.", "int8.")  # tensors of a classifier that are none of its backbone


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity; not those of limits and masks, which are infinite by design.

    A sum is finite only if all its terms are, and costs a twentieth of looking at each; a sum of large numbers that
    overflows is looked at more closely.
    """
    floating = {name: _comparable(one) for name, one in state.items() if one.is_floating_point() or one.is_complex()}
    suspect = {name: one for name, one in floating.items() if not bool(torch.isfinite(one.detach().sum()))}
    wrong = {name: tensor for name, tensor in suspect.items() if not bool(torch.isfinite(tensor).all())}
    return [name for name, tensor in wrong.items() if not _is_limit(name, tensor)]


def _is_limit(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a limit that is not set (-inf, as of gemma's clipping) or a mask of 0 and -inf.

    Weights and statistics are never that, and a network's own output says whether its numbers make sense.
    """
    last = name.rpartition(".")[2]
    if last in _NEVER_INFINITE or (not name.startswith("backbone.") and name.startswith(_OURS)) or tensor.is_complex():
        return False
    return bool((tensor.isinf() | (tensor == 0)).all())


def _comparable(tensor: Tensor) -> Tensor:
    """A float of eight bits or fewer as float32: torch adds up none of them."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def negative_variances(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the running variances, of batch norms, that hold a number below 0: its root is NaN."""
    found = {name: _comparable(one) for name, one in state.items() if name.endswith("running_var")}
    return [name for name, one in found.items() if not one.is_complex() and bool((one < 0).any())]


def under_own_names(
    state: Mapping[str, Tensor], wanted: Sequence[str], parts: Sequence[str], *, where: object
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Tensors under the names that a network wants, where all of them are there under others; what was done about the
    names; and prefixes of other whole networks in the file, such as that of averaged weights.

    A prefix that all have is removed, such as `_orig_mod.` of torch.compile, `model.` of Lightning, `backbone.`, `0.`,
    or several inside each other; tensors without it are left out. So are the names of wrappers inside others, such as
    those of activation checkpointing. Parts may be named by their place, as fastai and
    `nn.Sequential(*network.children())` do.

    Args:
        wanted: the network's own names. parts: those of its children, in order.

    Raises:
        BackboneError: the network is there behind several prefixes, and none of them is the usual one.
    """
    bare = {_WRAPPED.sub(".", name): tensor for name, tensor in state.items()}
    place = {part: str(number) for number, part in enumerate(parts)}
    tries: tuple[tuple[Mapping[str, Tensor], Mapping[str, str], str], ...] = (
        (state, {}, ""),
        (bare if len(bare) == len(state) else {}, {}, "names of wrappers removed"),
        (state, place, "parts named by their place"),
    )
    for given, places, said in tries:
        prefix, others = _behind_prefix(given, [_moved(name, places) for name in wanted], where)
        if prefix is not None:
            inside = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
            part_at = {number: part for part, number in places.items()}
            removed = f"prefix {prefix} removed" if prefix else ""
            own = {_moved(name, part_at): tensor for name, tensor in inside.items()}
            return own, tuple(filter(None, (removed, said))), others
    return dict(state), (), ()


def _moved(name: str, parts: Mapping[str, str]) -> str:
    """A dotted name whose first part is replaced."""
    first, dot, rest = name.partition(".")
    return parts.get(first, first) + dot + rest


def _behind_prefix(
    state: Mapping[str, Tensor], wanted: Sequence[str], where: object
) -> tuple[str | None, tuple[str, ...]]:
    """The prefix behind which all wanted tensors are, and other such prefixes; None: they are not all there."""
    if not wanted or all(name in state for name in wanted):
        return "", ()
    ends = [name[: -len(wanted[0])] for name in state if name.endswith(f".{wanted[0]}")]
    fitting = [prefix for prefix in ends if all(prefix + name in state for name in wanted)]
    usual = [prefix for prefix in fitting if not _AVERAGED.search(prefix)] or fitting
    if len(usual) > 1:
        raise BackboneError(
            expected="the weights of one network",
            found=f"those of several: names that begin with {' and '.join(map(repr, usual))}",
            where=where,
            hint=f"Name one: --weights FILE#{usual[0].rstrip('.')}",
        )
    return (usual[0] if usual else None), tuple(one.rstrip(".") for one in fitting if one not in usual)


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
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _kind(path: Path) -> str:
    try:
        return refuse_kind(path)
    except OSError as error:
        raise _unread(path, error) from error


def _read_safetensors(path: Path) -> tuple[dict[str, object], str]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            notes = file.metadata() or {}
            # cloned: the file may be replaced while its memory is still in use
            tensors: dict[str, object] = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _unread(path, error) from error
    licence = notes.get("licence") or notes.get("license") or ""
    return tensors, " ".join(licence.split())[:_LONGEST_LICENCE]


def _read_checkpoint(path: Path, kind: str) -> object:
    try:
        damage = zip_damage(path)
        if damage:
            raise _not_weights(path, damage)
        # by its name torch would take it for another kind; its warnings are about how to write such a file
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _not_tensors(path, kind, str(error)) from error
    except OSError as error:
        raise _unread(path, error) from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        IndexError,
        OverflowError,
    ) as error:
        # the reader's own errors on a text or an image say nothing to a user
        raise _not_weights(path, _unknown(path, kind)) from error


def _not_tensors(path: Path, kind: str, said: str) -> BackboneError:
    """What torch found in a file in the place of tensors; its own message begins with advice to load it unsafely."""
    if kind not in ("torch checkpoint", "a pickle"):  # bytes of any kind may look like a pickle to it
        return _not_weights(path, _unknown(path, kind))
    if found := _FOREIGN.search(said):
        hint = "If you trust the file, load it with weights_only=False and save its state_dict() alone."
        return _not_weights(path, f"a pickle that holds {found[1]}, not tensors alone", hint)
    if "Unsupported operand" in said:
        hint = (
            "If you trust the file, read it with pickle, or with torch.load(…, weights_only=False); torch.save it then."
        )
        return _not_weights(path, "a pickle of another protocol than torch.save writes", hint)
    return _not_weights(path, "a pickle that holds more than tensors, or none at all")


def _unknown(path: Path, kind: str) -> str:
    what = kind if kind == "a tar archive" else f"{path.stat().st_size:,} bytes"
    return f"{what} that {'is' if kind == 'a tar archive' else 'are'} neither safetensors nor a torch file"


def _entries(found: object, at: str = "", depth: int = 0) -> dict[str, dict[str, Tensor]]:
    """Path of each entry → its named tensors; entries of optimisers and the like are left out."""
    if isinstance(found, (list, tuple)):
        found = (
            dict(found)
            if _are_named(found)
            else {str(i): one for i, one in enumerate(found) if not isinstance(one, Tensor)}
        )
    if not isinstance(found, Mapping) or depth > _DEEPEST:
        return {}
    tensors = {name: one for name, one in found.items() if isinstance(name, str) and isinstance(one, Tensor)}
    entries = {at: tensors} if tensors else {}
    for name, one in found.items():
        if not _NO_WEIGHTS.search(str(name)):
            entries |= _entries(one, f"{at}.{name}" if at else str(name), depth + 1)
    return entries


def _are_named(found: Sequence[object]) -> bool:
    """Whether a list holds pairs of a name and a tensor, as `list(network.named_parameters())` does."""
    pairs = [one for one in found if isinstance(one, (list, tuple)) and len(one) == 2]
    return len(pairs) == len(found) and all(isinstance(a, str) and isinstance(b, Tensor) for a, b in pairs)


def _without_names(found: object) -> str:
    """What a file holds that has no entry of named tensors."""
    if isinstance(found, Tensor):
        return "one tensor without a name"
    if isinstance(found, (list, tuple)) and any(isinstance(one, Tensor) for one in found):
        return f"a list of {len(found):,} tensors without names"
    at = _first_tensor(found)
    return f"no tensors by their names in it (the first one is {at})" if at else "no tensors in it"


def _first_tensor(found: object, at: str = "") -> str:
    """Where the first tensor of a checkpoint is that stands under no name, or too deep; empty: there is none."""
    if isinstance(found, Tensor):
        return at
    parts: Iterable[tuple[object, object]] = ()
    if at.count("[") > _DEEPEST_SHOWN:
        return ""
    if isinstance(found, Mapping):
        parts = found.items()
    elif isinstance(found, (list, tuple)):
        parts = enumerate(found)
    return next((place for key, one in parts if (place := _first_tensor(one, f"{at}[{key!r}]"))), "")


def _choose(
    entries: Mapping[str, dict[str, Tensor]], entry: str, path: Path
) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """The entry to take with its tensors, and the others that could be meant."""
    sizes = {at: sum(tensor.numel() for tensor in tensors.values()) for at, tensors in entries.items()}
    large = [at for at in entries if sizes[at] >= _SMALL * max(sizes.values())]
    at = _asked_for(entries, entry, path) if entry else _usual(large)
    if at is None:
        raise BackboneError(
            expected="one entry with weights, or the name of the one to take",
            found=f"several: {', '.join(large[:_NAMED])}",
            where=path,
            hint=f"Name one: --weights {path.name}#{large[0]}",
        )
    tensors = entries.get(at)
    if tensors is None:  # the beginning of names within an entry
        start = f"{at.rstrip('.')}."
        every = next(one for one in entries.values() if any(name.startswith(start) for name in one))
        return at, {name: tensor for name, tensor in every.items() if name.startswith(start)}, ()
    return at, tensors, tuple(other for other in large if other != at)


def _usual(large: Sequence[str]) -> str | None:
    """The entry that is usually meant: of raw and averaged ones the raw one; None: not clear."""
    raw = [at for at in large if not _AVERAGED.search(at)] or list(large)
    if len(raw) == 1:
        return raw[0]
    known = {name: rank for rank, name in enumerate(_WRAPPERS)}
    ranked = [(known[part], at) for at in raw if (part := at.rpartition(".")[2]) in known]
    return min(ranked)[1] if ranked else None


def _asked_for(entries: Mapping[str, dict[str, Tensor]], entry: str, path: Path) -> str:
    exact = [at for at in entries if at == entry]
    ends = [at for at in entries if at.rpartition(".")[2] == entry]
    averaged = [at for at in entries if _AVERAGED.search(at)] if entry.lower() in ("ema", "swa") else []
    for found in (exact, ends, averaged):
        if found:
            return found[0]
    start = f"{entry.rstrip('.')}."
    if any(name.startswith(start) for tensors in entries.values() for name in tensors):
        return entry
    raise BackboneError(
        expected=f"an entry, or names that begin with {entry!r}",
        found=f"entries {_listed(repr(at) for at in entries)}",
        where=path,
        hint="Leave out the # and what follows it to take the usual one.",
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_NAMED]) + (", …" if every[_NAMED:] else "")


def _plain(tensor: Tensor) -> Tensor:
    # an nn.Parameter, a half-precision or a sparse tensor becomes a plain one
    dense = tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()
    return dense.float() if dense.is_floating_point() else dense


def _unread(path: Path, error: Exception) -> HeadstartError:
    """The file is damaged, or the system does not give it."""
    if refused := refusal(error):
        return os_error(refused, path, expected="a file with weights that can be read", kind=BackboneError)
    return _not_weights(path, str(error))


def _not_weights(path: Path, reason: str, hint: str = _HINT) -> BackboneError:
    first = reason.strip().splitlines()[0] if reason.strip() else "unreadable"
    return BackboneError(expected="a file with weights", found=first, where=path, hint=hint)
