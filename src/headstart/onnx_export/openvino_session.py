"""An exported file run by OpenVINO in the place of onnxruntime, for its parity report."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ClassifierError

NAME = "openvino"
# the default is less precise, probably bfloat16 where the processor has it: 0.04 off on single images
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


def require_openvino() -> None:
    """Refuse to go on without it.

    Raises:
        ClassifierError: it is not installed.
    """
    if importlib.util.find_spec(NAME) is None:
        raise ClassifierError(
            expected="OpenVINO, to compare its answers", found="no openvino", hint="pip install openvino."
        )


class OpenVinoSession:
    """OpenVINO on the CPU behind the one method of an onnxruntime session that is used.

    Args:
        model: bytes of an ONNX file.
    """

    def __init__(self, model: bytes) -> None:
        import openvino

        core = openvino.Core()
        self._network: Any = core.compile_model(core.read_model(model, b""), "CPU", SETTINGS)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs for named inputs."""
        found = self._network(dict(feeds))
        return [np.array(found[self._network.output(name)]) for name in outputs]
