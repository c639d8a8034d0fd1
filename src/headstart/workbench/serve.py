"""serve: a classifier behind HTTP, on this machine alone unless told otherwise."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.data.images import ImageRules
from headstart.errors import RecipeError
from headstart.files import os_errors
from headstart.progress import Notice, OnEvent, print_event, silent
from headstart.public_api import public_api
from headstart.workbench.predict_onnx import open_onnx
from headstart.workbench.run import Trained, classifier_of

PORT = 8017
_LOCAL = ("127.0.0.1", "localhost", "::1")
_INSTALL = "pip install 'headstart[serve]'"
_DRAIN = 30  # seconds that a server that is asked to stop gives to what it has accepted
_LEAST_TOKEN = 16  # characters


@public_api
def serve(
    classifier: Trained,
    *,
    port: int = PORT,
    listen: str = "127.0.0.1",
    token: str | None = None,
    on_event: OnEvent | None = print_event,
) -> None:
    """Answer predictions over HTTP until the process is stopped; what was accepted by then is still answered.

    Args:
        classifier: a file, the folder of a run, a Run, a loaded Classifier, or an ONNX file of `headstart export`.
        port: 0: any that is free. listen: address; another than this machine's own needs a token.
        token: that every request must carry; None: the environment's HEADSTART_TOKEN, where there is one.

    Raises:
        RecipeError: a package or the token is missing. ClassifierError: the classifier cannot be opened.
        RunError: the port is taken.
    """
    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            expected="the packages of the server", found=f"no {', '.join(missing)}", where="serve", hint=f"{_INSTALL}."
        )
    token = os.environ.get("HEADSTART_TOKEN", "") if token is None else token
    _check_access(listen, token)
    import uvicorn

    from headstart.serving.app import make_app
    from headstart.serving.guard import Access
    from headstart.serving.limits import ServerLimits

    limits, report = ServerLimits(), on_event or silent
    model = _model(classifier, limits.pixels)
    with os_errors(f"{listen}:{port}", expected="an address that is free", hint="Choose another with --port."):
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        bound = socket.create_server((listen, port), family=family)
    with bound:
        port = bound.getsockname()[1]
        app = make_app(model, Access(port, _hosts(listen), token), limits=limits, threads=runtime.cores())
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=_DRAIN,
        )
        name = f"[{listen}]" if ":" in listen else listen
        report(Notice(f"Serving {_named(classifier)} on http://{name}:{port}/v1/predict; stop with Ctrl-C."))
        uvicorn.Server(config).run(sockets=[bound])


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


def _model(classifier: Trained, pixels: int) -> Any:
    from headstart.serving.served_model import ServedClassifier, ServedOnnx

    if isinstance(classifier, (str, Path)) and str(classifier).lower().endswith(".onnx"):
        model = open_onnx(classifier)
        rules = ImageRules(background=model.background, bit_depth=model.bit_depth, keep_damaged=True)
        return ServedOnnx(model, pixels=pixels, rules=rules)
    return ServedClassifier(classifier_of(classifier), pixels=pixels)


def _named(classifier: Trained) -> str:
    return str(classifier) if isinstance(classifier, (str, Path)) else "the classifier"
