"""register_backbone: a function that makes a network becomes a backbone with a name, like those of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar, get_type_hints

from torch import nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import REGISTERED, SPECS, RegisteredBackbone
from headstart.backbones.module_spec import Stages
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError, HeadstartError, kind_and_line, near
from headstart.preserve import torch_settings_kept
from headstart.public_api import fits, in_words, public_api
from headstart.registry import foreign_code

_Function = TypeVar("_Function", bound=Callable[[], "nn.Module | Backbone"])


@public_api
def register_backbone(
    name: str,
    *,
    preprocess: Preprocess | Mapping[str, object] | None = None,
    stages: Stages | None = None,
    **facts: object,
) -> Callable[[_Function], _Function]:
    """Register a function without arguments that returns a network with its weights, or a Backbone.

        @headstart.register_backbone("my_net", preprocess={"size": 64}, licence="MIT")
        def my_net(): ...

    It is then found by `load_backbone("my_net")` and `--backbone my_net`. A package offers it to the command line by an
    entry point of the group `headstart.backbones` with the same name. A classifier saved with it loads wherever the
    name is registered.

    Args:
        name: new; letters, digits, `_`, `-` and `.`.
        preprocess, stages: as for `Backbone.from_module`; not needed where the function returns a Backbone.
        facts: fields of the BackboneSpec, such as `licence`, `origin` and `paper`.

    Raises:
        BackboneError: the name is one of the catalogue or not of such characters, or there is no such field.
        RecipeError: the name is registered already.
    """
    if name in SPECS or not name or not all(c.isalnum() or c in "_-." for c in name):
        raise BackboneError(
            expected="a new name of letters, digits, _, - and .",
            found=repr(name),
            where="register_backbone",
            hint="Choose another name.",
        )
    _check_facts(name, facts)

    def register(function: _Function) -> _Function:
        def make() -> Backbone:
            made = _made(name, function)
            backbone = (
                made
                if isinstance(made, Backbone)
                else _from_module(made, name=name, preprocess=preprocess, stages=stages)
            )
            backbone.spec = replace(backbone.spec, name=name, **facts)  # type: ignore[arg-type]
            backbone.weights = replace(backbone.weights, licence=backbone.spec.licence)
            return backbone

        REGISTERED.add(name, RegisteredBackbone(make, function))
        return function

    return register


def _check_facts(name: str, facts: Mapping[str, object]) -> None:
    """Refuse words that are no fields of a spec, and values that no field of that name takes."""
    known, hints = BackboneSpec.__dataclass_fields__, get_type_hints(BackboneSpec)
    for fact, value in facts.items():
        if fact not in known:
            raise BackboneError(
                expected="a field of BackboneSpec",
                found=repr(fact),
                where=f"register_backbone({name!r})",
                hint=near(fact, known),
            )
        if not fits(value, hints[fact]):
            raise BackboneError(
                expected=f"{in_words(hints[fact])} as {fact}",
                found=f"{value!r} ({type(value).__name__})",
                where=f"register_backbone({name!r})",
                hint="help(headstart.backbones.spec.BackboneSpec) says what each field means.",
            )


def _made(name: str, function: Callable[[], object]) -> nn.Module | Backbone:
    """What the registered function makes; its errors carry the name of the backbone and of whoever offers it."""
    try:
        with torch_settings_kept(), foreign_code():
            made = function()
            if not isinstance(made, (nn.Module, Backbone)):
                raise TypeError(f"{type(made).__name__} in the place of a network")
    except HeadstartError:
        raise
    except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
        raise BackboneError(
            expected=f"a network from the function of the backbone {name!r} of {REGISTERED.owner(name)}",
            found=kind_and_line(error),
            where="register_backbone",
            hint="It takes no arguments and returns an nn.Module with its weights, or a headstart.Backbone.",
        ) from error
    return made


def _from_module(
    module: nn.Module, *, name: str, preprocess: Preprocess | Mapping[str, object] | None, stages: Stages | None
) -> Backbone:
    if preprocess is None:
        raise BackboneError(
            expected=f"preprocess, the input of {name}",
            found="none",
            where="register_backbone",
            hint='Say how images become its input, for instance preprocess={"size": 224}.',
        )
    return Backbone.from_module(module, preprocess=preprocess, stages=stages)
