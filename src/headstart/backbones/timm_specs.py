"""Specs made from timm's own registry: preprocessing, licence and source from its configs, stages from its networks."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.backbones.module_spec import flop_counter
from headstart.backbones.spec import BackboneSpec, Stage
from headstart.errors import BackboneError, kind_and_line, near
from headstart.hooks import capture, capture_inputs

_INSTALL = 'pip install "headstart[timm]"'
_FILES = ("model.safetensors", "pytorch_model.bin")  # what timm's repositories hold
_SECOND_HEAD, _NORM = "head_dist", "norm"  # of the distillation token, and what both heads' tokens come out of
_MOST_STAGES = 6  # a network with more, mostly transformers, gets stages at the quarter points


@cache
def timm_spec(name: str) -> BackboneSpec:
    """The spec of a network of timm; the network is built without weights to find its stages.

    Raises:
        BackboneError: timm is missing, has no such network, or the network needs inputs that are not square images.
    """
    timm = require_timm()
    if ":" in name or "/" in name:
        hint = "Names with a hub or a folder in them are refused: they could run code from there."
        raise BackboneError(expected="a plain name of timm's registry", found=repr(name), where="--backbone", hint=hint)
    if not timm.is_model(name):
        hint = near(name, timm.list_models()) if _is_near(name, timm.list_models()) else "See timm.list_models()."
        raise BackboneError(expected="a network of timm", found=repr(name), where="--backbone", hint=hint)
    try:
        network = _on_meta(name)
    except Exception as error:  # an unknown tag after the point, or a network that cannot be built here
        hint = f"Try {name.partition('.')[0]} alone." if "." in name else "Choose another network."
        found = str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        raise BackboneError(expected="a network of timm", found=found, where="--backbone", hint=hint) from error
    return _spec(network, network.pretrained_cfg)  # type: ignore[arg-type]


def _is_near(name: str, known: Sequence[str]) -> bool:
    # no hint that lists all thousand names
    return near(name, known).startswith("Did you mean")


def timm_file(spec: BackboneSpec) -> Path | None:
    """The file of a timm network's weights, if it is on this disk already."""
    from huggingface_hub import try_to_load_from_cache

    card = require_timm().get_pretrained_cfg(spec.name.removeprefix("timm:"))
    for file in (card.hf_hub_filename,) if card.hf_hub_filename else _FILES:
        found = try_to_load_from_cache(card.hf_hub_id, file) if card.hf_hub_id else None
        if isinstance(found, str):
            return Path(found)
    old = Path(torch.hub.get_dir()) / "checkpoints" / Path(card.url).name if card.url else None
    return old if old is not None and old.is_file() else None


def timm_state(spec: BackboneSpec, *, offline: bool) -> tuple[dict[str, Tensor], Path | None]:
    """The weights of one of timm's networks as timm itself reads them, and their file where it is known.

    Raises:
        BackboneError: they are not on disk and must not or cannot be downloaded.
    """
    name = spec.name.removeprefix("timm:")
    path = timm_file(spec)
    if path is None and offline:
        raise BackboneError(
            expected=f"the weights of {spec.name} on disk",
            found="none, and the network is not to be used",
            where=spec.url,
            hint="Download model.safetensors from there on another machine and give it with --weights FILE.",
        )
    overlay = {"file": str(path)} if path else None
    try:
        network = require_timm().create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm, its hub and requests raise families of their own
        found = kind_and_line(error)
        hint = "Check the network, or download the file in another way and give it with --weights FILE."
        raise BackboneError(expected=f"the weights of {spec.name}", found=found, where=spec.url, hint=hint) from error
    return dict(network.state_dict()), path or timm_file(spec)


def require_timm() -> Any:
    """The package timm.

    Raises:
        BackboneError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # its hub's progress bars tell notebooks without ipywidgets so
            warnings.simplefilter("ignore")
            import timm
    except ImportError as error:
        raise BackboneError(expected="the package timm", found="none", where="--backbone", hint=_INSTALL) from error
    return timm


def _on_meta(name: str) -> nn.Module:
    """The network without memory for its weights; a few compute while they are built and need the real thing."""
    try:
        with torch.device("meta"):
            network: nn.Module = require_timm().create_model(name, pretrained=False)
    except Exception:  # an unknown tag is refused again
        network = require_timm().create_model(name, pretrained=False).to("meta")
    return network.eval().requires_grad_(False)  # torch's counter of operations fails on some weights with gradients


def _spec(network: nn.Module, card: Mapping[str, Any]) -> BackboneSpec:
    config = importlib.import_module("timm.data").resolve_data_config(pretrained_cfg=card)
    _, height, width = config["input_size"]
    if height != width or config["crop_mode"] not in ("center", "squash"):
        found = f"{height}×{width} px, crop mode {config['crop_mode']}"
        raise BackboneError(expected="square images cut from the centre", found=found, where=card["architecture"])
    head = card["classifier"] if isinstance(card["classifier"], (tuple, list)) else (card["classifier"],)
    stages, gmac = _stages_of(network, head[0] or "", height, name=card["architecture"])
    full = ".".join(part for part in (card["architecture"], card.get("tag")) if part)
    hub = f"https://huggingface.co/{card['hf_hub_id']}" if card.get("hf_hub_id") else ""
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    return BackboneSpec(
        name=f"timm:{full}",
        title=f"{full} (timm)",
        builder="timm:create_model",
        options=(("model_name", full), ("pretrained", False)),
        head=tuple(head),
        stages=stages,
        # the class token alone is a stage for classifiers that were made with it
        auto_stages=tuple(s.name for s in stages if s.name != "final")[-3:] if stages[-1].name != "final" else (),
        resize=math.floor(height / config["crop_pct"]),
        crop=height,
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fit="stretch" if config["crop_mode"] == "squash" else "keep",
        url=hub or card.get("url") or "",
        megabytes=4 * parameters,
        licence=card.get("license") or "unknown (timm states none)",
        code_licence="Apache-2.0",
        origin=card.get("origin_url") or hub or "timm",
        paper=_paper(card),
        parameters=parameters,
        gmac=gmac,
        pretrained_classes="imagenet" if card.get("num_classes") == 1000 else "",
    )


def _paper(card: Mapping[str, Any]) -> str:
    ids = card.get("paper_ids") or ()
    named = [card.get("paper_name") or "", ids if isinstance(ids, str) else ", ".join(ids)]
    return ", ".join(part for part in named if part) or "see timm's page of the network"


def _stages_of(network: nn.Module, head: str, size: int, *, name: str) -> tuple[tuple[Stage, ...], float]:
    """Stages in forward order, the classifier's input last, and 10⁹ multiply-adds for one image."""
    modules = dict(network.named_modules())
    infos = [info for info in getattr(network, "feature_info", ()) if info.get("module") in modules]
    if len(infos) > _MOST_STAGES:
        infos = [infos[len(infos) * quarter // 4 - 1] for quarter in (1, 2, 3, 4)]
    paths = [str(info["module"]) for info in infos]
    pixels = torch.zeros(1, 3, size, size, device="meta")
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        capture({path: modules[path] for path in paths}) as outputs,
        capture_inputs({path: modules[path] for path in (head, _SECOND_HEAD) if path in modules}) as inputs,
        capture({_NORM: modules[_NORM]} if _SECOND_HEAD in modules and _NORM in modules else {}) as tokens,
        flop_counter() as counter,
    ):
        warnings.simplefilter("ignore")
        try:
            network(pixels)
        except Exception as error:  # the code of a thousand networks may fail in any way
            expected = f"a network that takes pixels 1×3×{size}×{size}"
            raise BackboneError(expected=expected, found=kind_and_line(error), where=name) from error
    if not isinstance(inputs.get(head), Tensor):
        raise BackboneError(
            expected="a network with one classifier, which takes the features",
            found=f"{head or 'none'}, which takes none in a forward pass",
            where=name,
        )
    widths = {path: int(info["num_chs"]) for path, info in zip(paths, infos, strict=True)}
    last = Stage(name="final", module=head, width=inputs[head].flatten(1).shape[1], pool="vector", side="input")
    usable = [path for path in paths if _is_stage(outputs.get(path), widths[path])]  # not lists, as of parallel paths
    inner = [
        Stage(f"stage{i}", path, widths[path], _pool(outputs[path], widths[path], network))
        for i, path in enumerate(usable, 1)
    ]
    if inner and inner[-1].width == last.width:
        inner.pop()  # the same numbers before pooling or the last norm
    both = Stage("pre_logits", _NORM, last.width, "tokens-first-two")
    pooled = (last, both) if _has_two_tokens(inputs, tokens, head) else (last,)
    return (*inner, *pooled), counter.get_total_flops() / 2e9


def _has_two_tokens(inputs: Mapping[str, object], tokens: Mapping[str, object], head: str) -> bool:
    """Whether two heads see two tokens, as in distilled DeiT; in other distilled networks both see the same numbers."""
    first, second, normed = inputs.get(head), inputs.get(_SECOND_HEAD), tokens.get(_NORM)
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first is second:
        return False
    return isinstance(normed, Tensor) and normed.ndim == 3 and normed.shape[2] == first.shape[-1]


def _is_stage(output: object, width: int) -> bool:
    """Whether it is one tensor of tokens or maps with so many channels."""
    if not isinstance(output, Tensor) or output.ndim not in (3, 4) or output.shape[0] != 1:  # windows of one image
        return False
    return width in ((output.shape[2],) if output.ndim == 3 else (output.shape[1], output.shape[3]))


def _pool(output: Tensor, width: int, network: nn.Module) -> str:
    if output.ndim == 3:
        return "tokens-class" if getattr(network, "global_pool", "") == "token" else "tokens-mean"
    return "map" if output.shape[1] == width else "map-last"
