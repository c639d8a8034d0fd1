"""Client of `headstart serve`: predictions over HTTP, with Python's own library alone; needs no torch."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from headstart.classifier.predictions import TRUST, Prediction
from headstart.errors import DataError, RecipeError, RunError
from headstart.public_api import public_methods
from headstart.untrusted import Untrusted, parse_object

Image = str | os.PathLike[str] | bytes


@public_methods("predict", "embed", "explain", "card")
class Client:
    """Asks a server for the answers of its classifier.

    Args:
        url: of the server, such as `http://127.0.0.1:8017`. token: as it was started with. timeout: of one answer, s.

    Raises:
        RecipeError: the address is none.
    """

    def __init__(self, url: str = "http://127.0.0.1:8017", *, token: str = "", timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RecipeError(
                expected="an address such as http://127.0.0.1:8017",
                found=repr(url),
                where="url",
                hint="headstart serve prints its address when it starts.",
            )
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)
        self._url, self._prefix = url, parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def predict(self, image: Image) -> Prediction:
        """Class and probabilities of an image file, or of the bytes of one; an unreadable one has its `error`.

        Raises:
            RunError: the server cannot be reached, or refuses.
        """
        name = "<bytes>" if isinstance(image, bytes) else os.fspath(image)
        status, content = self._send("POST", "/v1/predict", _content(image))
        if status == 422:
            return Prediction(name, None, 0.0, {}, error=str(self._object(content).get("error", "")))
        answer = self._checked(status, content)["predictions"][0]
        trust = {key: answer.get(key) for key in TRUST}  # an older server does not send them
        if trust["prediction_set"] is not None:
            trust["prediction_set"] = tuple(trust["prediction_set"])
        return Prediction(
            name, answer["label"], answer["probability"], answer["probabilities"], damaged=answer["damaged"], **trust
        )

    def embed(self, image: Image) -> list[float]:
        """Features of an image.

        Raises:
            RunError: the server cannot be reached, or refuses.
        """
        features: list[float] = self._checked(*self._send("POST", "/v1/embed", _content(image)))["features"][0]
        return features

    def explain(self, image: Image, *, class_name: str | None = None) -> bytes:
        """A PNG of the evidence for a class.

        Raises:
            RunError: the server cannot be reached, or refuses.
        """
        query = "" if class_name is None else f"?class_name={quote(class_name, safe='')}"
        status, content = self._send("POST", f"/v1/explain{query}", _content(image))
        if status != 200:
            self._checked(status, content)
        return content

    def card(self) -> dict[str, Any]:
        """What the classifier says about itself.

        Raises:
            RunError: the server cannot be reached, or refuses.
        """
        return self._checked(*self._send("GET", "/v1/card"))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {**self._headers, **({} if body is None else {"Content-Type": "application/octet-stream"})}
        for attempt in (0, 1):
            try:
                self._connection.request(method, f"{self._prefix}{path}", body, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if attempt or not isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError)):
                    raise RunError(
                        expected="a server that answers",
                        found=str(error) or type(error).__name__,
                        where=self._url,
                        hint="Start one: headstart serve CLASSIFIER",
                    ) from error
        raise AssertionError("unreachable")

    def _checked(self, status: int, content: bytes) -> dict[str, Any]:
        values = self._object(content) if content else {}
        if status != 200:
            raise RunError(
                expected="an answer",
                found=f"{status} {values.get('error', '')}".strip(),
                where=self._url,
                hint="The log of the server says more.",
            )
        return values

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            return parse_object(content)
        except Untrusted as error:
            raise RunError(
                expected="an answer of headstart's server",
                found=str(error),
                where=self._url,
                hint="Check the address, and that headstart serve runs there.",
            ) from error


def _content(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise DataError(
            expected="an image file", found=error.strerror or str(error), where=os.fspath(image), hint="Check the path."
        ) from error
