"""serve: a classifier behind HTTP, on this machine alone unless told otherwise; an ONNX file without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.classifier.rejection import Rejection
from headstart.errors import RecipeError
from headstart.progress import OnEvent, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.http_server import PORT, HttpServer, OpenModel
from headstart.workbench.predict_onnx import is_onnx, open_onnx, rules_of


@public_api
def serve(
    classifier: Any,
    *,
    port: int = PORT,
    listen: str = "127.0.0.1",
    token: str | None = None,
    workers: int = 1,
    threshold_policy: str | None = None,
    reject: str | Sequence[str] | None = None,
    on_event: OnEvent | None = print_event,
) -> None:  # eight: who may ask, who answers, which answers are rejected; Trained, the type of the first, needs torch
    """Answer predictions over HTTP until the process is stopped; what was accepted by then is still answered.

    Args:
        classifier: a file, the folder of a run, a Run, a loaded Classifier, or an ONNX file of `headstart export`.
        port: 0: any that is free. listen: address; another than this machine's own needs a token.
        token: that every request must carry; None: the environment's HEADSTART_TOKEN, where there is one.
        workers: processes, each with the classifier in its memory; they share the cores. A script that asks for several
            needs `if __name__ == "__main__":`.
        threshold_policy, reject: which answers get no class, as for `predict`.

    Raises:
        RecipeError: a package or the token is missing, or several workers cannot open the classifier. ClassifierError:
            the classifier cannot be opened, or cannot tell what is to be rejected.
        RunError: the port is taken, or one of several workers ended.
        PackageError: torch is not installed, and it is no ONNX file.
    """
    name = str(classifier) if isinstance(classifier, (str, Path)) else "the classifier"
    HttpServer(
        _opened(classifier, workers),
        name,
        port=port,
        listen=listen,
        token=token,
        workers=workers,
        rejection=Rejection.of(threshold_policy, reject),
    ).serve(on_event or silent)


def _opened(classifier: Any, workers: int) -> OpenModel:
    if isinstance(classifier, (str, Path)) and is_onnx(classifier):
        return _OnnxFile(classifier)
    from headstart.classifier.classifier import Classifier
    from headstart.workbench.run import Run

    if workers > 1 and isinstance(classifier, Classifier):
        raise RecipeError(
            expected="a file that each worker can open",
            found="a Classifier in memory",
            where="--workers",
            hint="Save it, and serve the file.",
        )
    return _Trained(classifier.folder if workers > 1 and isinstance(classifier, Run) else classifier)


@dataclass(frozen=True)
class _OnnxFile:
    """Opens an ONNX file for the server; pickled for each of several processes."""

    file: str | Path

    def __call__(self, threads: int, several: bool) -> Any:
        from headstart.serving.limits import ServerLimits
        from headstart.serving.served_onnx import ServedOnnx

        onnx = open_onnx(self.file, threads=threads)
        return ServedOnnx(onnx, pixels=ServerLimits().pixels, rules=rules_of(onnx))


@dataclass(frozen=True)
class _Trained:
    """Opens a classifier for the server; pickled for each of several processes."""

    classifier: Any

    def __call__(self, threads: int, several: bool) -> Any:
        import torch

        from headstart.serving.limits import ServerLimits
        from headstart.serving.served_classifier import ServedClassifier
        from headstart.workbench.run import classifier_of

        if several:  # one alone may use what torch was given
            torch.set_num_threads(threads)
        return ServedClassifier(classifier_of(self.classifier), pixels=ServerLimits().pixels)
