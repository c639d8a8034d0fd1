"""The BackboneSpec of a user's own module: stages, widths and head, measured by one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from headstart.backbones.feature_extractor import eval_view
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import BackboneSpec, Stage
from headstart.errors import BackboneError, kind_and_line, near
from headstart.hooks import watch_inputs, watch_outputs

Stages = Mapping[str, str] | Sequence[Stage]
"""Name of a stage → path of its module, in forward order; or complete Stages."""

_CHANNELS = 3  # of the image; fewer are weights over places, not features
_MOST_MAPS = 4
_SHAPES = {2: "vector", 3: "tokens-mean", 4: "map"}  # number of axes → pool
_IMAGES = 2  # of the pass that measures; a stage has a row for each
_REPEATED = 0.01  # of the largest feature; other batches are summed in other orders, which half precision shows
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Torch's own modules that are no layers: what is in them runs on its own."""
_CLASS_TOKENS = ("cls_token", "class_token")


@dataclass(frozen=True)
class _Call:
    """One run of a module: the shapes of its first input and of its output; () for what is not a tensor."""

    path: str
    input: tuple[int, ...]
    output: tuple[int, ...]


def spec_of_module(
    module: nn.Module, *, preprocess: Preprocess, stages: Stages | None = None, name: str = ""
) -> BackboneSpec:
    """The spec of a module; without `stages` the last map of each size and the input of the last linear layer.

    Raises:
        BackboneError: it does not run on its images on the CPU, a stage never runs, or no features are found.
    """
    calls, output, gmac = _run(module, preprocess.crop)
    head = _head_of(module, calls, output)
    found = _default_stages(module, calls, head) if stages is None else _named_stages(module, calls, stages)
    return BackboneSpec(
        name=name or type(module).__name__,
        title=f"{type(module).__name__}, your own module",
        head=() if head is None else (head.path,),
        stages=found,
        resize=preprocess.resize,
        crop=preprocess.crop,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        fit=preprocess.fit,
        licence="not stated",
        code_licence="not stated",
        origin=f"{type(module).__module__}.{type(module).__qualname__}",
        paper="",
        parameters=sum(parameter.numel() for parameter in module.parameters()) / 1e6,
        gmac=gmac,
        pretrained_classes="",
    )


def check_state(module: nn.Module) -> None:
    """Check that a module has weights of a kind that features can be computed with and that a file can hold.

    Raises:
        BackboneError: they have no shape or no numbers yet, or are packed, as quantised ones are.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise BackboneError(
            expected="a network of Python modules",
            found="TorchScript, whose parts cannot be watched",
            where=type(module).__name__,
            hint="Give the network before torch.jit.script or torch.jit.trace; its weights fit: state_dict().",
        )
    state = module.state_dict()
    lazy = [name for name, one in state.items() if is_lazy(one)]
    meta = [name for name, one in state.items() if isinstance(one, Tensor) and name not in lazy and one.is_meta]
    inferred = [
        name for name, one in state.items() if isinstance(one, Tensor) and name not in lazy and one.is_inference()
    ]
    packed = [name for name, one in state.items() if not isinstance(one, Tensor) or one.is_quantized]
    for names, found, hint in (
        (lazy, "that of a lazy layer, without a shape", "Run the network once on an image first."),
        (meta, "one on the device meta, without numbers", "Load its weights, or use module.to_empty(device='cpu')."),
        (
            inferred,
            "one made under torch.inference_mode, which can never be changed",
            "Build the network outside of it, or copy it: copy.deepcopy there keeps that, state_dict and "
            "load_state_dict into a new one do not.",
        ),
        (packed, "packed or quantised weights", "Give the network before it was quantised; see `--precision int8`."),
    ):
        if names:
            raise BackboneError(
                expected="a module whose weights are plain tensors",
                found=f"{found}: {names[0]}",
                where=type(module).__name__,
                hint=hint,
            )


def pool_of(shape: Sequence[int], network: nn.Module) -> str:
    """How an output of this shape becomes one vector for each image.

    Raises:
        BackboneError: the shape is not that of vectors, tokens or maps.
    """
    if len(shape) == 4 and shape[1] == shape[2] != shape[3]:
        return "map-last"
    if len(shape) == 3 and any(path.rpartition(".")[2] in _CLASS_TOKENS for path, _ in network.named_parameters()):
        return "tokens-class"
    if len(shape) not in _SHAPES:
        raise BackboneError(
            expected="a stage that gives vectors N×C, tokens N×L×C or maps N×C×H×W",
            found=f"an output of shape {tuple(shape)}",
            where="stages",
            hint="Choose another module of the network.",
        )
    return _SHAPES[len(shape)]


def flop_counter() -> Any:  # a FlopCounterMode
    """Counts the operations of what runs inside it; imported here, since it takes half a second."""
    from torch.utils.flop_counter import FlopCounterMode

    counter: Any = FlopCounterMode(display=False)
    # torch's own tracker hooks gradients of what modules are given, and fails where that is a parameter: a learnt token
    # or query, or the weight of a weight norm
    counter.mod_tracker = _NoModules()
    return counter


class _NoModules:
    """Stands for the module tracker of torch's counter: everything is counted together."""

    parents = frozenset({"Global"})

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _run(module: nn.Module, size: int) -> tuple[list[_Call], tuple[int, ...], float]:
    """The last call of each module in the order of their ends, the shape of the output, 10⁹ multiply-adds an image."""
    modules = {path: inner for path, inner in module.named_modules() if path and not _is_inside_leaf(module, path)}
    calls, inputs = list[_Call](), dict[str, tuple[int, ...]]()

    def note(path: str, value: object) -> None:
        calls.append(_Call(path, inputs.get(path, ()), _shape(value)))

    try:
        with (
            watch_inputs(modules, lambda path, value: inputs.update({path: _shape(value)})),
            watch_outputs(modules, note),
            flop_counter() as counter,
            torch.inference_mode(),
        ):
            output = eval_view(module)(torch.zeros(_IMAGES, 3, size, size))
    except Exception as error:  # a user's code may fail in any way
        raise BackboneError(
            expected=f"a module that takes pixels {_IMAGES}×3×{size}×{size}, float32, on the CPU",
            found=kind_and_line(error),
            where=type(module).__name__,
            hint="Check the size in preprocess; module.float().cpu() brings it to the CPU.",
        ) from error
    # features are taken from the last run of a module, and one that runs twice may give another width in each
    last = {call.path: index for index, call in enumerate(calls)}
    calls = [call for index, call in enumerate(calls) if last[call.path] == index]
    return calls, _shape(output), counter.get_total_flops() / 4e9


def _is_inside_leaf(module: nn.Module, path: str) -> bool:
    """Whether a module lies inside one of torch's own layers, which tracing does not enter."""
    parents = path.split(".")[:-1]
    around = [module.get_submodule(".".join(parents[: i + 1])) for i in range(len(parents))]
    return any(type(one).__module__.startswith("torch.nn") and not isinstance(one, _CONTAINERS) for one in around)


def _head_of(module: nn.Module, calls: Sequence[_Call], output: tuple[int, ...]) -> _Call | None:
    """The linear layer that gives the whole output; None for a network without a classification head."""
    linear = [call for call in calls if isinstance(module.get_submodule(call.path), nn.Linear)]
    whole = [call for call in linear if len(call.input) == 2 and call.input[0] == _IMAGES]
    found = [call for call in whole if not output or call.output == output]
    return found[-1] if found and found[-1] is linear[-1] else None


def _default_stages(module: nn.Module, calls: Sequence[_Call], head: _Call | None) -> tuple[Stage, ...]:
    # those with another number of rows see parts of images, such as windows, or one image after another
    before = [call for call in calls if len(call.output) in _SHAPES and call.output[0] == _IMAGES]
    if head is not None:
        before = before[: before.index(head)]
    if head is None and not before:
        raise BackboneError(
            expected="a module whose parts give vectors, tokens or maps, one for each image",
            found="none",
            where=type(module).__name__,
            hint="Name the stages: stages={'final': 'path.of.a.module'}.",
        )
    last = _stage("final", before[-1], module) if head is None else _vector_before(head)
    maps: dict[int, _Call] = {}
    for call in _maps(before, module):
        maps.pop(call.output[2], None)
        maps[call.output[2]] = call  # the last, and so the outermost, of each size
    inner = [_stage(f"stage{i}", call, module) for i, call in enumerate(list(maps.values())[-_MOST_MAPS:], 1)]
    if inner and inner[-1].width == last.width:
        inner.pop()  # the same numbers before pooling
    return (*inner, last)


def _maps(calls: Sequence[_Call], module: nn.Module) -> list[_Call]:
    """Those that give maps of no fewer channels than the image; square ones, as the image is, where there are any.

    Attention has tensors of four axes as well: heads × tokens × width.
    """
    shaped = [call for call in calls if len(call.output) == 4 and pool_of(call.output, module) == "map"]
    maps = [call for call in shaped if call.output[1] >= _CHANNELS and call.output[2] > 1]
    return [call for call in maps if call.output[2] == call.output[3]] or maps


def _vector_before(head: _Call) -> Stage:
    return Stage(name="final", module=head.path, width=head.input[1], pool="vector", side="input")


def _named_stages(module: nn.Module, calls: Sequence[_Call], stages: Stages) -> tuple[Stage, ...]:
    if not isinstance(stages, Mapping):
        return tuple(_checked(stage, calls) for stage in stages)
    by_path = {call.path: call for call in calls}  # the last run of each
    unknown = [path for path in stages.values() if path not in by_path]
    if unknown or not stages:
        raise BackboneError(
            expected="stages that are modules run by the network",
            found=repr(unknown[0]) if unknown else "none",
            where="stages",
            hint=near(unknown[0], by_path) if unknown else "Give at least one, or leave `stages` out.",
        )
    in_order = sorted(stages.items(), key=lambda item: calls.index(by_path[item[1]]))
    return tuple(_stage(name, by_path[path], module) for name, path in in_order)


def _checked(stage: Stage, calls: Sequence[_Call]) -> Stage:
    """A complete stage, if the network has it."""
    shapes = [getattr(call, stage.side) for call in calls if call.path == stage.module]
    if not shapes or stage.width not in shapes[-1]:
        raise BackboneError(
            expected=f"a module {stage.module!r} whose {stage.side} has {stage.width} channels",
            found=f"shape {shapes[-1]}" if shapes else "no such module",
            where=f"stage {stage.name}",
            hint="This is another network.",
        )
    return stage


def _stage(name: str, call: _Call, module: nn.Module) -> Stage:
    if call.output and call.output[0] != _IMAGES:
        raise BackboneError(
            expected="a stage that gives one row for each image",
            found=f"{call.path}, which gives {call.output[0]} for {_IMAGES} images",
            where="stages",
            hint="It sees windows or other parts of images. Choose another module of the network.",
        )
    pool = pool_of(call.output, module)
    width = call.output[-1] if pool in ("map-last", "tokens-class", "tokens-mean") else call.output[1]
    return Stage(name, call.path, width, pool)


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def check_features(features: Callable[[Tensor], Tensor], side: int, width: int, *, where: str) -> None:
    """Check that a user's network takes any number of images, each on its own, and always gives the same features.

    Args:
        features: from pixels N×3×S×S to features N×D. side: S. width: D, as measured with another number of images.
        where: the name of the network, for errors.

    Raises:
        BackboneError: it does not.
    """
    try:
        shape = tuple(features(torch.zeros(1, 3, side, side)).shape)
    except Exception as error:  # code of others
        shape, found = (), kind_and_line(error)
    else:
        found = f"features of shape {shape}, not {(1, width)}"
    if shape != (1, width):
        raise BackboneError(
            expected="a module that takes any number of images, each on its own",
            found=f"{found}, for one image",
            where=where,
            hint="Write x.shape[0], not a number, where forward() changes shapes; name other stages if one of them "
            "sees parts of images.",
        )
    _check_repeatable(features, side, where)


def _check_repeatable(features: Callable[[Tensor], Tensor], side: int, where: str) -> None:
    """An image has the same features each time, whatever is in its batch: they are computed once."""
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    several, again = features(pixels.clone()), features(pixels.clone())
    alone = torch.cat([features(pixels[:1].clone()), features(pixels[1:].clone())])
    for other, found, hint in (
        (again, "other features for the same image each time", "random numbers only where self.training is true"),
        (alone, "features that change with the other images of a batch", "no mean or softmax over the first axis"),
    ):
        if float((several - other).abs().max()) > _REPEATED * float(several.abs().max()):
            raise BackboneError(
                expected="a module in eval mode whose features of an image depend on that image alone",
                found=found,
                where=where,
                hint=f"Its forward should have {hint}; headstart.doctor(module) says more.",
            )
