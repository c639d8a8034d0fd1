"""Query parameters that nobody reads are refused, and named."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from headstart.serving.body import Refusal
from headstart.serving.query import check_query


class Route:
    """What FastAPI knows of a route that reads these query parameters."""

    def __init__(self, *names: str) -> None:
        self.dependant = SimpleNamespace(query_params=[SimpleNamespace(alias=name) for name in names])


def check(query: bytes, *known: str) -> None:
    scope = {
        "type": "http",
        "query_string": query,
        "headers": [],
        "path": "/",
        "method": "POST",
        "route": Route(*known),
    }
    asyncio.run(check_query(Request(scope)))


@pytest.mark.parametrize("query", [b"", b"&", b"class_name=ants", b"class_name="])
def test_known_parameters_and_none_pass(query: bytes) -> None:
    check(query, "class_name")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (b"class_nam=ants", "unknown query parameter 'class_nam'. Did you mean class_name?"),
        (b"CLASS_NAME=ants&class_name=bees", "unknown query parameter 'CLASS_NAME'. Known: class_name."),
        (b"class_name=ants&class_name=bees", "the query parameter 'class_name' is there 2 times: send it once"),
        (b"x%0a%1b=1", "unknown query parameter 'x\\n\\x1b'. Known: class_name."),
        (b"=", "unknown query parameter ''. Known: class_name."),
    ],
)
def test_others_are_named(query: bytes, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(query, "class_name")
    assert (refused.value.status, refused.value.reason) == (422, said)


def test_where_there_are_none_the_option_of_serve_is_named() -> None:
    with pytest.raises(Refusal) as refused:
        check(b"reject=unfamiliar")
    assert refused.value.reason.endswith(
        "There are none at this address: what is rejected is an option of headstart serve."
    )
