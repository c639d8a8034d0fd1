"""The query of an address: a name that nobody reads is a mistake that the answer would hide."""

from __future__ import annotations

from starlette.requests import Request

from headstart.errors import near, shown
from headstart.serving.body import Refusal

_SHOWN = 60  # characters of a name
_NONE = "There are none at this address: what is rejected is an option of headstart serve."


async def check_query(request: Request) -> None:
    """Check that an address carries only the query parameters that its route reads, each at most once.

    A dependency of a route of FastAPI.

    Raises:
        Refusal: 422, naming the parameter and those that are known.
    """
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise Refusal(
                422, f"unknown query parameter '{shown(name[:_SHOWN])}'. {near(name, known) if known else _NONE}"
            )
        if names.count(name) > 1:
            raise Refusal(422, f"the query parameter {name!r} is there {names.count(name)} times: send it once")
