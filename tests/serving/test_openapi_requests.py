"""Requests that schemathesis makes up from the OpenAPI document: valid and broken ones, to every operation."""

from __future__ import annotations

from typing import Any

import pytest

import headstart as hs

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("python_multipart")

from headstart.serving.app import make_app
from headstart.serving.guard import Access
from headstart.serving.limits import ServerLimits
from headstart.serving.served_classifier import ServedClassifier

EXAMPLES = 20  # of each operation and kind: seconds. 500 were run once, without a failure
EXPLAINED = 6  # a heat map takes a third of a second


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_no_request_is_a_server_error_or_gets_an_answer_that_is_not_documented(run: hs.Run, kind: str) -> None:
    schemathesis = pytest.importorskip("schemathesis")  # here: a second of imports
    limits = ServerLimits(pixels=1_000_000)
    served = ServedClassifier(run.classifier, pixels=limits.pixels)
    app: Any = make_app(served, Access(8017, hosts=("testserver",)), limits=limits)
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    seen = {one.label: _statuses(one, kind) for one in operations if kind == "positive" or one.method == "post"}

    assert kind == "negative" or all(seen[f"GET /v1/{name}"] == {200} for name in ("card", "health", "metrics"))
    for name in ("predict", "embed", "explain"):
        found = seen[f"POST /v1/{name}"]
        assert any(400 <= status < 500 for status in found)
        assert max(found) < 500


def _statuses(operation: Any, kind: str) -> set[int]:
    """Statuses of the answers to requests of one operation, each checked against the document."""
    schemathesis, hypothesis = pytest.importorskip("schemathesis"), pytest.importorskip("hypothesis")
    # bytes are a valid body and yet no image (422); a form with fields is 413, which is not in schemathesis' list
    not_said = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.negative_data_rejection]
    seen = set[int]()
    every = list(hypothesis.HealthCheck)
    examples = EXPLAINED if operation.path.endswith("explain") else EXAMPLES
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=every
    )

    @settings
    @hypothesis.given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(kind)))
    def ask(case: Any) -> None:
        answer = case.call()
        seen.add(answer.status_code)
        case.validate_response(answer, excluded_checks=not_said)

    ask()
    return seen
