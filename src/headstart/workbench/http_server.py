"""HttpServer: a model behind HTTP in one process or several; who may ask, and how it ends. Needs no torch."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from headstart import runtime
from headstart.classifier.rejection import Rejection
from headstart.errors import RecipeError
from headstart.files import os_errors
from headstart.progress import Notice, OnEvent
from headstart.workbench.serve_processes import run_processes

PORT = 8017
_LOCAL = ("127.0.0.1", "localhost", "::1")
_INSTALL = "pip install 'headstart[serve]'"
_DRAIN = 30  # seconds that a server that is asked to stop gives to what it has accepted
_BACKLOG = 128  # connections that wait while a process is busy or still opens the classifier
_LEAST_TOKEN = 16  # characters

OpenModel = Callable[[int, bool], Any]
"""A ServedModel, from the threads of one prediction and whether there are several processes. It is pickled."""


@dataclass(frozen=True)
class HttpServer:
    """Answers predictions until it is stopped.

    Args:
        open_model: is called in each process. name: of what is served.
        port: 0: any that is free. listen: address; another than this machine's own needs a token.
        token: that every request must carry; None: the environment's HEADSTART_TOKEN, where there is one.
        workers: processes. rejection: which answers get no class.
    """

    open_model: OpenModel
    name: str
    port: int
    listen: str
    token: str | None
    workers: int
    rejection: Rejection

    def serve(self, report: OnEvent) -> None:
        """Answer until the process is stopped; what was accepted by then is still answered.

        Raises:
            RecipeError: a package or the token is missing. RunError: the port is taken, or one of several processes
                ended. ClassifierError: the model cannot be opened, or cannot tell what is to be rejected.
        """
        process = self._process()
        model = process.model()  # also for several: what cannot be opened or rejected is said here
        host = self.listen
        with os_errors(f"{host}:{self.port}", expected="an address that is free", hint="Choose another with --port."):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = socket.create_server((host, self.port), family=family, backlog=_BACKLOG)
        with bound:
            # asyncio does not set it on what this socket accepts: answers would wait 40 ms for a delayed
            # acknowledgement
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}/v1/predict"
            report(Notice(f"Serving {self.name} on {address}; stop with Ctrl-C."))
            if self.workers == 1:
                process.run(model, bound)
            else:
                del model
                run_processes(process, bound, count=self.workers, drain=_DRAIN)

    def _process(self) -> _Process:
        packages = ("fastapi", "uvicorn", "python_multipart")
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            raise RecipeError(
                expected="the packages of the server",
                found=f"no {', '.join(missing)}",
                where="serve",
                hint=f"{_INSTALL}.",
            )
        token = os.environ.get("HEADSTART_TOKEN", "") if self.token is None else self.token
        _check_access(self.listen, token)
        if self.workers < 1:
            raise RecipeError(
                expected="at least 1 worker",
                found=f"{self.workers}",
                where="--workers",
                hint="Leave the option out for one.",
            )
        threads, several = max(1, runtime.cores() // self.workers), self.workers > 1
        return _Process(self.open_model, self.listen, token, rejection=self.rejection, threads=threads, several=several)


@dataclass(frozen=True)
class _Process:
    """What one process needs to answer; called in a process of its own where there are several.

    Args:
        threads: images computed at once.
    """

    open_model: OpenModel
    listen: str
    token: str
    rejection: Rejection
    threads: int
    several: bool

    def __call__(self, bound: socket.socket, folder: Path, number: int) -> None:
        from headstart.serving.shared_counts import SharedCounts

        self.run(self.model(), bound, SharedCounts(folder, number))

    def model(self) -> Any:
        """What is served, opened."""
        model = self.open_model(self.threads, self.several)
        self.rejection.check(model.card)
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
            http="h11",  # bounds the head of a request; httptools, taken where it is installed, does not
            ws="none",
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
                expected="an IP address of this machine, such as 0.0.0.0",
                found=repr(listen),
                where="--listen",
                hint="127.0.0.1 is this machine alone.",
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
