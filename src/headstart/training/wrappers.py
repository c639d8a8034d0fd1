"""Wrapped networks: names of tensors and modules with and without what `torch.compile` and DataParallel put in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import nn

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of dotted names that stand for the network inside a wrapper: of (Distributed)DataParallel, `torch.compile`,
FSDP, and activation checkpointing. Networks inside networks may be wrapped too."""

Value = TypeVar("Value")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile` and DataParallel; one that is not wrapped is returned unchanged."""
    while type(model).__module__.startswith("torch."):
        inner = next((getattr(model, name) for name in ("_orig_mod", "module") if hasattr(model, name)), None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def renamed(values: Mapping[str, Value], own: Iterable[str]) -> dict[str, Value]:
    """The values under a model's own names, where names differ only by wrappers; the rest under the names they have.

    Args:
        values: by the names of another model. own: the model's names.
    """
    names = list(own)
    if set(names) == set(values):
        return dict(values)
    by_plain = {plain(name): name for name in names}
    given = {plain(name) for name in values}
    if len(by_plain) < len(names) or len(given) < len(values):  # two names that differ in nothing else
        return dict(values)
    return {by_plain.get(plain(name), name): value for name, value in values.items()}


def own_names(names: Iterable[str], own: Iterable[str]) -> tuple[str, ...]:
    """Names of modules or tensors as this model calls them: of a wrapper and the network inside the latter's."""
    given, known = tuple(names), list(own)
    if set(given) <= set(known):
        return given
    innermost = {plain(name): name for name in known}  # named_modules names a wrapper before what is inside
    return tuple(innermost.get(plain(name), name) for name in given)


def plain(name: str) -> str:
    """A dotted name without the parts that stand for wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
