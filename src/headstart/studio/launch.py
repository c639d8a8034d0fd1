"""launch: the studio on this machine: a port is bound, the page opened, the server runs until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

from headstart.errors import RecipeError
from headstart.files import expanded, os_errors
from headstart.progress import Notice, OnEvent, silent
from headstart.public_api import public_api

PORT = 8018
_INSTALL = "pip install 'headstart[studio]'"
# Read when torch and numpy are loaded. Images arrive, are decoded and learned at the same time: threads that spin while
# they wait take the cores from these (a head of 224 images on a busy machine: 0.07 s, with them 0.3 to 1.5 s).
_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
_DRAIN = 3  # seconds for requests under way when the studio is stopped


@public_api
def launch(
    folder: str | Path = ".",
    *,
    port: int = PORT,
    open_browser: bool = True,
    options: dict[str, Any] | None = None,
    on_event: OnEvent | None = None,
) -> None:
    """Open the studio for a folder of classes, and answer until the process is stopped.

    Args:
        folder: with a folder per class; is made when it is missing.
        port: 0: any that is free.
        options: of the recipe of learning and training, such as the backbone.

    Raises:
        RecipeError: a package is missing. DataError: it is no folder. RunError: the port is taken.
    """
    _check_packages()
    os.environ.update({name: value for name, value in _THREADS.items() if name not in os.environ})
    import uvicorn

    from headstart.studio.app import make_app
    from headstart.studio.door import Keys
    from headstart.studio.workspace import Workspace

    report = on_event or silent
    space = Workspace(expanded(folder), options or {})
    with os_errors(f"127.0.0.1:{port}", expected="a port that is free", hint="Choose another with --port."):
        bound = socket.create_server(("127.0.0.1", port))
    with bound:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else answers wait 40 ms, see workbench/serve.py
        port = bound.getsockname()[1]
        keys = Keys(port)
        config = uvicorn.Config(
            make_app(space, port, keys),
            http="h11",  # bounds the head of a request; httptools, taken where it is installed, does not
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_DRAIN,
        )
        address = f"http://127.0.0.1:{port}/?token={keys.token}"
        report(Notice(f"The studio for {space.project.folder}: open {address}"))
        report(Notice("That address works once, on this machine only; stop with Ctrl-C."))
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        class Server(uvicorn.Server):  # type: ignore[misc, unused-ignore]  # where uvicorn is not installed
            def handle_exit(self, sig: int, frame: Any) -> None:
                space.hub.close()  # streams of events never end by themselves
                super().handle_exit(sig, frame)

        Server(config).run(sockets=[bound])


def _check_packages() -> None:
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            expected="the packages of the studio",
            found=f"no {', '.join(missing)}",
            where="studio",
            hint=f"{_INSTALL}.",
        )
