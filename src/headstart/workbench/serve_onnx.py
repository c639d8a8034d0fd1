"""serve with an ONNX file: the same server, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.classifier.rejection import Rejection
from headstart.progress import OnEvent, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.http_server import PORT, HttpServer
from headstart.workbench.predict_onnx import open_onnx, rules_of


def is_onnx(file: str | Path) -> bool:
    """Whether a file is an ONNX file by its name."""
    return str(file).lower().endswith(".onnx")


@public_api
def serve_onnx(
    file: str | Path,
    *,
    port: int = PORT,
    listen: str = "127.0.0.1",
    token: str | None = None,
    workers: int = 1,
    threshold_policy: str | None = None,
    reject: str | Sequence[str] | None = None,
    on_event: OnEvent | None = print_event,
) -> None:  # eight: as for `serve`
    """Answer predictions over HTTP with a file that `headstart export` wrote; arguments and errors as for `serve`."""
    HttpServer(
        OnnxModel(file),
        str(file),
        port=port,
        listen=listen,
        token=token,
        workers=workers,
        rejection=Rejection.of(threshold_policy, reject),
    ).serve(on_event or silent)


@dataclass(frozen=True)
class OnnxModel:
    """Opens an ONNX file for the server; pickled for each of several processes."""

    file: str | Path

    def __call__(self, threads: int, several: bool) -> Any:
        from headstart.serving.limits import ServerLimits
        from headstart.serving.served_onnx import ServedOnnx

        onnx = open_onnx(self.file, threads=threads)
        return ServedOnnx(onnx, pixels=ServerLimits().pixels, rules=rules_of(onnx))
