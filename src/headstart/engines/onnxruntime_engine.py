"""The network run by onnxruntime, from an export kept on disk: made once for each set of weights, then read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.feature_extractor import FeatureExtractor, eval_view
from headstart.engines.fold import fold
from headstart.errors import BackboneError, RunError, kind_and_line
from headstart.files import atomic_write, clear_place, make_folder
from headstart.untrusted import read_bytes

Forward = Callable[[Tensor], Tensor]

INSTALL = "pip install 'headstart[onnx]'"
_PACKAGES = ("onnxruntime", "onnx", "onnxscript")
_LAYOUT = "1"  # raised when the exported graph changes for the same weights
_FOLDER = "onnx"
_MOST_BYTES = 4_000_000_000  # an ONNX file has at most 2 GiB; the bound holds where a device lies in its place


def missing_packages() -> tuple[str, ...]:
    """The packages that this engine needs and that are not installed."""
    return tuple(name for name in _PACKAGES if importlib.util.find_spec(name) is None)


def is_exported(backbone: Backbone, cache_folder: Path) -> bool:
    """Whether the export is on disk already, so that the start takes one second and not ten."""
    return export_path(backbone, cache_folder).is_file()


def require_packages() -> None:
    """Check that what this engine needs is installed.

    Raises:
        BackboneError: a package is missing.
    """
    missing = missing_packages()
    if missing:
        raise BackboneError(
            expected="the packages of the onnxruntime engine", found=f"no {', '.join(missing)}", hint=f"{INSTALL}."
        )


def onnx_forward(backbone: Backbone, cache_folder: Path) -> Forward:
    """The features of all stages by onnxruntime on the CPU, on as many threads as torch uses; safe in many threads.

    The export is read from `cache_folder` when it is there and intact, else made (3 to 20 s) and kept there.

    Raises:
        BackboneError: a package is missing, or the network cannot be exported.
    """
    require_packages()
    return SessionForward(exported(backbone, cache_folder))


def exported(
    backbone: Backbone, cache_folder: Path, *, stages: tuple[str, ...] | None = None, opset: int | None = None
) -> bytes:
    """The float32 network as the bytes of an ONNX file, kept in the cache.

    Args:
        stages: it gives the features of these; None: those of the backbone.
        opset: version of ONNX's operations; None: the exporter's choice.

    Raises:
        BackboneError: it cannot be exported.
    """
    wanted = {"stages": stages, "opset": opset}
    path = cache_file(backbone, cache_folder, {key: value for key, value in wanted.items() if value is not None})
    model = read_export(path)
    if model is None:
        network = backbone.inference if stages is None else eval_view(backbone.feature_extractor(stages))
        model = export_network(network, backbone.preprocess.crop, name=backbone.spec.name, opset=opset)
        write_export(path, model)
    return model


class SessionForward:
    """Pixels → features by onnxruntime on the CPU, on as many threads as torch uses when it is called.

    Args:
        model: the bytes of an ONNX file, which are all that goes along into another process.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._sessions: dict[int, Any] = {}  # by number of threads, which a session cannot change
        self._pixels = self._session().get_inputs()[0].name

    def __call__(self, pixels: Tensor) -> Tensor:
        """Features n×D of pixels n×3×S×S."""
        (features,) = self._session().run(None, {self._pixels: pixels.contiguous().numpy()})
        return torch.from_numpy(features)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_sessions": {}}

    def _session(self) -> Any:
        threads = torch.get_num_threads()
        if threads not in self._sessions:
            self._sessions[threads] = new_session(self._model)
        return self._sessions[threads]


def new_session(model: bytes | str) -> Any:
    """onnxruntime's session for an ONNX model or the path of one, on the CPU, on as many threads as torch uses now."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not runtime.has_vnni():  # the quick int8 kernels overflow: those that do not give the same answers
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def export_path(backbone: Backbone, cache_folder: Path) -> Path:
    """The file of these weights' export; the versions that make it are part of its name."""
    return cache_file(backbone, cache_folder, {})


def cache_file(backbone: Backbone, cache_folder: Path, more: Mapping[str, object]) -> Path:
    """The file of a network made from these weights, by everything that it depends on: the versions, and `more`."""
    facts = {
        "layout": _LAYOUT,
        "backbone": backbone.spec.name,
        "weights": backbone.fingerprint,
        "stages": backbone.stages,
        "size": backbone.preprocess.crop,
        "torch": torch.__version__,
        "onnx": importlib.metadata.version("onnx"),
        **more,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    name = "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in backbone.spec.name)
    return cache_folder / _FOLDER / f"{name}-{digest[:32]}.onnx"


def read_export(path: Path) -> bytes | None:
    """The export, or None if there is none or its bytes are not those that were written under this name."""
    try:
        stored = read_bytes(path, _MOST_BYTES)
    except (OSError, ValueError):
        return None
    digest, model = stored[:32], stored[32:]
    return model if _seal(path, model) == digest else None


def write_export(path: Path, model: bytes) -> None:
    """Keep the export, with a hash before it; on a full disk it is not kept, and that is all."""
    with contextlib.suppress(RunError):
        make_folder(path.parent)
        clear_place(path)
        with atomic_write(path) as part:
            part.write_bytes(_seal(path, model) + model)


def _seal(path: Path, model: bytes) -> bytes:
    """Of the name too, which stands for the weights: the export of another network, copied here, is not whole."""
    return hashlib.sha256(path.name.encode() + b"\0" + model).digest()


def export_network(network: FeatureExtractor, side: int, *, name: str, opset: int | None = None) -> bytes:
    """A network as an ONNX model: normalised pixels N×3×S×S float32 → features N×D float32, batch norm folded.

    Args:
        side: of its square input, px. name: of the network, for errors.
        opset: version of ONNX's operations; None: the exporter's choice.

    Raises:
        BackboneError: it cannot be exported.
    """
    body = fold(network)
    pixels = torch.zeros(2, 3, side, side)  # one image would make the batch a constant
    try:
        with _quiet(), torch.inference_mode(False), torch.no_grad():
            program = torch.onnx.export(
                body,
                (pixels,),
                dynamo=True,
                dynamic_shapes=_shapes(body),
                opset_version=opset,
                verbose=False,
                optimize=True,
            )
    except Exception as error:  # the exporter fails in many ways of its own
        raise BackboneError(
            expected="a network that can be exported to ONNX",
            found=kind_and_line(error),
            where=name,
            hint="Use another engine: --engine folded.",
        ) from error
    if program is None:
        raise BackboneError(expected="an ONNX program", found="none", where=name)
    model: bytes = program.model_proto.SerializeToString()
    return model


def _shapes(body: fx.GraphModule) -> dict[str, dict[int, object]]:
    pixels = next(node.name for node in body.graph.nodes if node.op == "placeholder")
    return {pixels: {0: torch.export.Dim("batch", min=1)}}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings and log lines are about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
