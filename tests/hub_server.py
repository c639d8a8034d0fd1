"""A hub on this machine: repositories of commits, by the few routes that push and pull use, and ways to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

NAME = "anna/leaf-diseases"


class Hub:
    """Repositories by name; each is a list of commits, each of them path → bytes.

    Attributes:
        asked: method and path of every request.
        tokens: the Authorization headers that came.
        refuses: the beginning of "METHOD /path" → the status that it is answered with.
        sends: path of a file → the bytes sent in place of those that are listed.
        cuts: path of a file → bytes after which each connection that sends it breaks.
        drops: beginnings of "METHOD /path" whose connections are closed without an answer.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.objects: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.refuses: dict[str, int] = {}
        self.sends: dict[str, bytes] = {}
        self.cuts: dict[str, int] = {}
        self.drops: tuple[str, ...] = ()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, files: dict[str, bytes]) -> str:
        """A commit with exactly these files; its hash."""
        self.repositories.setdefault(name, [{}]).append(files)
        return commit_hash(name, len(self.repositories[name]) - 1)

    def files(self, name: str) -> dict[str, bytes]:
        """Those of the newest commit."""
        return self.repositories[name][-1]

    def number(self, name: str, revision: str) -> int | None:
        """Which commit a revision names; None: none."""
        count = len(self.repositories[name])
        by_hash = {commit_hash(name, number): number for number in range(count)}
        return {**by_hash, "main": count - 1}.get(revision)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own servers
    yield made
    made.close()


def commit_hash(name: str, number: int) -> str:
    return hashlib.sha1(f"{name} {number}".encode()).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".onnx"))


def _entry(path: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return {"rfilename": path, "size": len(data), "blobId": oid, **({"lfs": lfs} if is_large(path) else {})}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self._arrived()
            words = path.strip("/").split("/")
            if path.startswith("/api/models/"):
                name = "/".join(words[2:4])
                self._model(name, words[5] if len(words) > 5 else "main")
            elif words[2:3] == ["resolve"]:
                self._file("/".join(words[:2]), words[3], "/".join(words[4:]))

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            if path := self._arrived():
                hub.objects[path.rpartition("/")[2]] = self.body
                self._answer(200, {})

        def do_POST(self) -> None:
            path = self._arrived()
            name = "/".join(path.split("/")[3:5])
            if path == "/api/repos/create":
                self._create(json.loads(self.body))
            elif path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in path:
                files = [file["path"] for file in json.loads(self.body)["files"]]
                modes = [{"path": p, "uploadMode": "lfs" if is_large(p) else "regular"} for p in files]
                self._answer(200, {"files": [{**mode, "shouldIgnore": False} for mode in modes]})
            elif path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(self.body)["objects"]
                upload = [{**one, "actions": {"upload": {"href": f"{hub.url}/upload/{one['oid']}"}}} for one in objects]
                self._answer(200, {"transfer": "basic", "objects": upload})
            elif "/commit/" in path:
                self._commit(name, [json.loads(line) for line in self.body.splitlines()])

        def _arrived(self) -> str:
            """Read the request; the path, or, for one that is refused, nothing more to do."""
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            hub.tokens.add(self.headers.get("Authorization") or "")
            if hub.asked[-1].startswith(hub.drops or ("-",)):
                self.close_connection = True
                return ""
            refused = [code for start, code in hub.refuses.items() if hub.asked[-1].startswith(start)]
            if refused:
                self._answer(refused[0], {"error": f"no, {self.headers.get('Authorization')}"})
                return ""
            return path

        def _create(self, wanted: dict[str, Any]) -> None:
            name = f"{wanted['organization']}/{wanted['name']}"
            if name in hub.repositories:
                self._answer(409, {"error": "exists", "url": f"{hub.url}/{name}"})
                return
            hub.repositories[name], hub.private[name] = (
                [{}],
                wanted.get("private") or wanted.get("visibility") == "private",
            )
            self._answer(200, {"url": f"{hub.url}/{name}"})

        def _model(self, name: str, revision: str) -> None:
            if name not in hub.repositories:
                self._answer(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
            elif (number := hub.number(name, revision)) is None:
                self._answer(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
            else:
                siblings = [_entry(path, data) for path, data in hub.repositories[name][number].items()]
                self._answer(200, {"id": name, "sha": commit_hash(name, number), "siblings": siblings})

        def _file(self, name: str, revision: str, path: str) -> None:
            number = hub.number(name, revision)
            assert number is not None
            data = hub.repositories[name][number].get(path)
            if data is None:
                self._answer(404, {"error": "no file"}, {"X-Error-Code": "EntryNotFound"})
                return
            tag = hashlib.sha256(data).hexdigest() if is_large(path) else _entry(path, data)["blobId"]
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit_hash(name, number)}
            self._send(200, hub.sends.get(path, data), headers, cut=hub.cuts.get(path))

        def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
            files = dict(hub.repositories[name][-1])
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    assert value["parentCommit"] == commit_hash(name, len(hub.repositories[name]) - 1)
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
                else:
                    assert line["key"] == "deletedFile"
                    del files[value["path"]]
            sha = hub.add(name, files)
            self._answer(200, {"commitUrl": f"{hub.url}/{name}/commit/{sha}", "commitOid": sha})

        def _answer(self, code: int, values: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            self._send(code, json.dumps(values).encode(), {"Content-Type": "application/json", **(headers or {})})

        def _send(self, code: int, data: bytes, headers: dict[str, str], *, cut: int | None = None) -> None:
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[:cut])
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler
