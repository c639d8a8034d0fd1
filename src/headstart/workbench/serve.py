"""serve: a classifier behind HTTP, on this machine alone unless told otherwise."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from headstart import runtime
from headstart.classifier.classifier import Classifier
from headstart.classifier.rejection import Rejection
from headstart.errors import RecipeError
from headstart.files import os_errors
from headstart.progress import Notice, OnEvent, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.predict_onnx import open_onnx, rules_of
from headstart.workbench.run import Run, Trained, classifier_of
from headstart.workbench.serve_processes import run_processes

PORT = 8017
_LOCAL = ("127.0.0.1", "localhost", "::1")
_INSTALL = "pip install 'headstart[serve]'"
_DRAIN = 30  # seconds that a server that is asked to stop gives to what it has accepted
_BACKLOG = 128  # connections that wait while a process is busy or still opens the classifier
_LEAST_TOKEN = 16  # characters


@public_api
def serve(
    classifier: Trained,
    *,
    port: int = PORT,
    listen: str = "127.0.0.1",
    token: str | None = None,
    workers: int = 1,
    threshold_policy: str | None = None,
    reject: str | Sequence[str] | None = None,
    on_event: OnEvent | None = print_event,
) -> None:  # eight: who may ask, who answers, and which answers are rejected
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
    """
    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            expected="the packages of the server", found=f"no {', '.join(missing)}", where="serve", hint=f"{_INSTALL}."
        )
    token = os.environ.get("HEADSTART_TOKEN", "") if token is None else token
    _check_access(listen, token)
    rejection, report = Rejection.of(threshold_policy, reject), on_event or silent
    if workers < 1:
        raise RecipeError(expected="at least 1 worker", found=f"{workers}", where="--workers")
    server = _Server(_source(classifier, workers), listen, token, rejection, max(1, runtime.cores() // workers))
    model = server.model()  # also for several: what cannot be opened or rejected is said here
    with os_errors(f"{listen}:{port}", expected="an address that is free", hint="Choose another with --port."):
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        bound = socket.create_server((listen, port), family=family, backlog=_BACKLOG)
    with bound:
        # asyncio does not set it on what this socket accepts: answers would wait 40 ms for a delayed acknowledgement
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = f"[{listen}]" if ":" in listen else listen
        address = f"http://{name}:{bound.getsockname()[1]}/v1/predict"
        report(Notice(f"Serving {_named(classifier)} on {address}; stop with Ctrl-C."))
        if workers == 1:
            server.run(model, bound)
        else:
            del model
            run_processes(server, bound, count=workers, drain=_DRAIN)


def _source(classifier: Trained, workers: int) -> Trained:
    """What each worker opens."""
    if workers == 1:
        return classifier
    if isinstance(classifier, Run):
        return classifier.folder
    if isinstance(classifier, Classifier):
        raise RecipeError(
            expected="a file that each worker can open",
            found="a Classifier in memory",
            where="--workers",
            hint="Save it, and serve the file.",
        )
    return classifier


@dataclass(frozen=True)
class _Server:
    """What one process needs to answer; called in a process of its own.

    Args:
        threads: images computed at once.
    """

    classifier: Trained
    listen: str
    token: str
    rejection: Rejection
    threads: int

    def __call__(self, bound: socket.socket, folder: Path, number: int) -> None:
        import torch

        from headstart.serving.shared_counts import SharedCounts

        torch.set_num_threads(self.threads)
        self.run(self.model(), bound, SharedCounts(folder, number))

    def model(self) -> Any:
        """The classifier or ONNX file, opened."""
        from headstart.serving.limits import ServerLimits
        from headstart.serving.served_model import ServedClassifier, ServedOnnx

        classifier, pixels = self.classifier, ServerLimits().pixels
        model: ServedClassifier | ServedOnnx
        if isinstance(classifier, (str, Path)) and str(classifier).lower().endswith(".onnx"):
            onnx = open_onnx(classifier, threads=self.threads)
            model = ServedOnnx(onnx, pixels=pixels, rules=rules_of(onnx))
        else:
            model = ServedClassifier(classifier_of(classifier), pixels=pixels)
        self.rejection.check(**model.tells)
        return model

    def run(self, model: Any, bound: socket.socket, shared: Any = None) -> None:
        """Answer until the process is asked to stop."""
        import uvicorn

        from headstart.serving.app import make_app
        from headstart.serving.guard import Access
        from headstart.serving.limits import ServerLimits

        limits, access = ServerLimits(), Access(bound.getsockname()[1], _hosts(self.listen), self.token)
        app = make_app(model, access, limits=limits, threads=self.threads, rejection=self.rejection, shared=shared)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=_DRAIN,
        )
        _run(uvicorn.Server(config), bound)


def _run(server: Any, bound: socket.socket) -> None:
    """Serve until the process is asked to stop: SIGTERM is how a container ends it, and no failure."""
    if threading.current_thread() is not threading.main_thread():  # only there Python takes a handler
        server.run(sockets=[bound])
        return

    def drain(number: int, frame: FrameType | None) -> None:
        server.should_exit = True  # also before it listens to signals itself, and when it passes them on at its end

    before = signal.signal(signal.SIGTERM, drain)
    try:
        server.run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_access(listen: str, token: str) -> None:
    if listen not in _LOCAL:
        try:
            ipaddress.ip_address(listen)
        except ValueError:
            raise RecipeError(
                expected="an IP address of this machine, such as 0.0.0.0", found=repr(listen), where="--listen"
            ) from None
        if not token:
            raise RecipeError(
                expected="a token for an address that others can reach",
                found="none",
                where=f"--listen {listen}",
                hint="Set one: --token, or HEADSTART_TOKEN in the environment, which no list of processes shows.",
            )
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise RecipeError(
            expected=f"a token of at least {_LEAST_TOKEN} letters, digits and signs",
            found=f"{len(token)} characters",
            where="--token",
            hint="Make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )


def _hosts(listen: str) -> tuple[str, ...]:
    """Names by which the server may be called; none are known where it listens on all addresses."""
    if listen not in _LOCAL and ipaddress.ip_address(listen).is_unspecified:
        return ()
    return tuple(dict.fromkeys((*_LOCAL, listen)))


def _named(classifier: Trained) -> str:
    return str(classifier) if isinstance(classifier, (str, Path)) else "the classifier"
