"""The application: predict's answers, and the right refusal for whatever else arrives."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("python_multipart")

from headstart.classifier.predictions import TRUST, Prediction
from headstart.classifier.rejection import Rejection
from headstart.serving.app import make_app
from headstart.serving.guard import Access
from headstart.serving.limits import ServerLimits
from headstart.serving.served_classifier import ServedClassifier
from serving.asking import ask, ask_all

FIELD = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\ntext\r\n--x--\r\n'
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def app(run: hs.Run) -> Any:
    limits = ServerLimits(body_bytes=1_000_000, images=5, pixels=1_000_000, discard_bytes=2_000_000)
    return make_app(ServedClassifier(run.classifier, pixels=limits.pixels), Access(8017), limits=limits)


def contents(photos: Path, count: int = 3) -> list[bytes]:
    return [path.read_bytes() for path in sorted(photos.rglob("*.png"))[:: 48 // count]][:count]


@pytest.mark.slow
def test_an_image_gets_predicts_answer_bit_for_bit(app: Any, run: hs.Run, photos: Path) -> None:
    for content in contents(photos):
        answer = ask(app, "POST", "/v1/predict", content=content, headers=BYTES)

        (found,) = answer.json()["predictions"]
        expected = run.classifier.predict(content)
        assert answer.status_code == 200
        assert found["label"] == expected.label
        assert found["probabilities"] == expected.probabilities  # JSON keeps every bit of a float
        assert {name: found[name] for name in TRUST} == expected.trust()
        assert found["nearest_image"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.slow
def test_a_form_of_several_is_answered_in_order_with_the_bad_ones_named(app: Any, run: hs.Run, photos: Path) -> None:
    first, second, _ = contents(photos)
    files = [("images", ("a", one)) for one in (first, b"no image", second)]

    rows = ask(app, "POST", "/v1/predict", files=files).json()["predictions"]

    expected = [run.classifier.predict(one) for one in (first, second)]
    assert [row["label"] for row in rows] == [expected[0].label, None, expected[1].label]
    assert "not an image" in rows[1]["error"]


def test_features_card_health_and_metrics(app: Any, run: hs.Run, photos: Path) -> None:
    (content,) = contents(photos, 1)

    features = ask(app, "POST", "/v1/embed", content=content, headers=BYTES).json()["features"]
    assert len(features[0]) == len(run.classifier.head.weight)
    assert ask(app, "GET", "/v1/card").json()["classes"] == list(run.classifier.classes)
    assert ask(app, "GET", "/v1/health").json() == {"status": "ok"}
    ask(app, "POST", "/v1/predict", content=b"no image", headers=BYTES)
    text = ask(app, "GET", "/v1/metrics").text
    assert 'headstart_requests_total{path="/v1/embed",status="200"} 1' in text
    assert 'headstart_images_total{outcome="unreadable"} 1' in text
    assert "headstart_image_seconds_count 2" in text


@pytest.mark.slow
def test_an_explanation_is_a_png(app: Any, photos: Path) -> None:
    (content,) = contents(photos, 1)

    answer = ask(app, "POST", "/v1/explain?class_name=disc", content=content, headers=BYTES)
    unknown = ask(app, "POST", "/v1/explain?class_name=cat", content=content, headers=BYTES)

    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).width > 100
    assert unknown.status_code == 422


def bomb() -> bytes:
    """A PNG of 20,000 × 20,000 pixels in 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (20_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(2501 * 20_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def parts(count: int) -> tuple[bytes, str]:
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nabc\r\n'
    return part * count + b"--x--\r\n", "multipart/form-data; boundary=x"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "image/png", 400),
        (b"no image", "image/png", 422),
        (bomb(), "image/png", 422),
        (bytes(1_000_001), "image/png", 413),
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (*parts(6), 413),
        (*parts(10_000), 413),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
        (b"abc", "multipart/form-data", 400),
        (FIELD, "multipart/form-data; boundary=x", 413),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_and_the_next_is_answered(
    app: Any, photos: Path, content: bytes, kind: str, status: int
) -> None:
    (good,) = contents(photos, 1)

    refused = ask(app, "POST", "/v1/predict", content=content, headers={"content-type": kind})

    assert refused.status_code == status
    assert refused.json()["error"]
    assert ask(app, "POST", "/v1/predict", content=good, headers=BYTES).status_code == 200


def test_bytes_are_counted_while_they_arrive(app: Any) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100_000
            yield bytes(100_000)

    assert ask(app, "POST", "/v1/predict", content=endless(), headers=BYTES).status_code == 413
    assert sent <= 3_200_000  # 1 MB until it is refused, 2 MB that are thrown away


class Slow:
    """A model that waits until it is let go."""

    explains = False
    training = None

    def __init__(self) -> None:
        self.card: dict[str, Any] = {}
        self.free = threading.Event()

    def measured(self, content: bytes) -> tuple[Prediction, None]:
        self.free.wait(20)
        return Prediction("<bytes>", "a", 1.0, {"a": 1.0}), None


@pytest.mark.slow
def test_a_full_queue_turns_away_and_what_waits_is_answered() -> None:
    model, limits = Slow(), ServerLimits(waiting=3)
    app: Any = make_app(model, Access(8017), limits=limits)  # type: ignore[arg-type]
    threading.Timer(1.0, model.free.set).start()

    answers = ask_all(app, [("POST", "/v1/predict", {"content": b"x", "headers": BYTES})] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}
    assert ask(app, "POST", "/v1/predict", content=b"x", headers=BYTES).status_code == 200


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_given_up() -> None:
    model = Slow()
    app: Any = make_app(model, Access(8017), limits=ServerLimits(seconds=0.2))  # type: ignore[arg-type]

    answer = ask(app, "POST", "/v1/predict", content=b"x", headers=BYTES)
    model.free.set()

    assert answer.status_code == 422
    assert "longer than 0.2 seconds" in answer.json()["error"]


@pytest.mark.slow
def test_no_page_of_another_site_gets_an_answer(app: Any, photos: Path) -> None:
    (content,) = contents(photos, 1)
    cases = [
        ({"host": "evil.example"}, 400),
        ({"host": "127.0.0.1.evil.example:8017"}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://127.0.0.1:8017"}, 200),
        ({"host": "localhost:8017"}, 200),
        ({"host": "[::1]:8017"}, 200),
    ]
    for headers, status in cases:
        answer = ask(app, "POST", "/v1/predict", content=content, headers={**BYTES, **headers})
        assert answer.status_code == status, headers
        assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert ask(app, "OPTIONS", "/v1/predict", headers=preflight).status_code == 403


def test_paths_in_a_request_are_only_names(app: Any) -> None:
    for path in ("/v1/../../etc/passwd", "/etc/passwd", "/v1/predict/../card/x", "/file=/etc/passwd"):
        assert ask(app, "GET", path).status_code in (404, 405)
    answer = ask(app, "POST", "/v1/predict", content=b"/etc/passwd", headers=BYTES)
    assert answer.status_code == 422


def test_a_query_parameter_that_nobody_reads_is_refused_before_the_image_is(app: Any) -> None:
    for path in ("/v1/predict?rejct=unfamiliar", "/v1/embed?class_name=disc", "/v1/explain?class_nam=disc"):
        answer = ask(app, "POST", path, content=b"no image", headers=BYTES)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("unknown query parameter '")
    assert "Did you mean class_name?" in answer.json()["error"]
    assert ask(app, "GET", "/v1/health?t=17").status_code == 200  # what watches a server may add one


def test_other_addresses_and_methods_are_told_what_is_answered(app: Any) -> None:
    nowhere, wrong = ask(app, "GET", "/predict"), ask(app, "GET", "/v1/predict")
    assert (nowhere.status_code, wrong.status_code, wrong.headers["allow"]) == (404, 405, "POST")
    assert nowhere.json()["error"].startswith("nothing at /predict; this server answers POST /v1/predict")
    assert wrong.json()["error"].startswith("GET is not answered at /v1/predict; this server answers POST")
    for path in ("/v1/health", "/v1/card", "/v1/metrics"):
        assert ask(app, "HEAD", path).status_code == 200  # curl -I, wget --spider


@pytest.mark.slow
def test_200_fuzzed_bodies_are_no_server_error(app: Any, photos: Path) -> None:
    rng = np.random.default_rng(0)
    (good,) = contents(photos, 1)
    form, form_kind = parts(2)
    requests = []
    for number in range(200):
        base, kind = ((good, "image/png"), (form, form_kind))[number % 2]
        broken = np.frombuffer(base, np.uint8).copy()
        places = rng.integers(0, len(broken), rng.integers(1, 20))
        broken[places] = rng.integers(0, 256, len(places))
        body = broken.tobytes()[: rng.integers(0, len(broken) + 1)]
        path = ("/v1/predict", "/v1/embed")[number // 2 % 2]
        requests.append(("POST", path, {"content": body, "headers": {"content-type": kind}}))
    for start in range(0, 200, 20):
        assert max(answer.status_code for answer in ask_all(app, requests[start : start + 20])) < 500


def test_the_openapi_document_names_every_path_and_an_example(app: Any) -> None:
    document = ask(app, "GET", "/v1/openapi.json").json()

    assert set(document["paths"]) == {f"/v1/{n}" for n in ("predict", "embed", "explain", "card", "health", "metrics")}
    predict = document["paths"]["/v1/predict"]["post"]
    assert predict["responses"]["200"]["content"]["application/json"]["example"]["predictions"][0]["label"] == "cat"
    assert "multipart/form-data" in predict["requestBody"]["content"]


@pytest.mark.slow
def test_rejected_answers_have_no_class_and_are_counted(run: hs.Run, photos: Path) -> None:
    model = ServedClassifier(run.classifier, pixels=1_000_000)
    (content,) = contents(photos, 1)
    foreign = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(foreign, "png")
    images = [content, foreign.getvalue()]
    expected = [Rejection(("unsure", "atypical")).apply(run.classifier.predict(one)) for one in images]
    app: Any = make_app(model, Access(8017), rejection=Rejection(("unsure", "atypical")))

    found = [ask(app, "POST", "/v1/predict", content=one, headers=BYTES).json()["predictions"][0] for one in images]

    assert [(one["label"], one["rejected"]) for one in found] == [(one.label, one.rejected) for one in expected]
    text = ask(app, "GET", "/v1/metrics").text
    rejected = sum(one.rejected is not None for one in expected)
    assert f'headstart_answers_total{{kind="rejected"}} {rejected}\n' in text


@pytest.mark.slow
def test_metrics_follow_the_mean_feature(app: Any, run: hs.Run, photos: Path) -> None:
    familiarity = run.classifier.familiarity
    assert familiarity is not None
    images = contents(photos, 4)
    for content in images:
        ask(app, "POST", "/v1/predict", content=content, headers=BYTES)

    lines = dict(line.rsplit(" ", 1) for line in ask(app, "GET", "/v1/metrics").text.splitlines() if line[0] != "#")

    backbone = run.classifier.backbone
    prepared = [backbone.preprocess.prepare(np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))) for one in images]
    raw = run.classifier.backbone.features(backbone.preprocess.normalise(torch.stack(prepared)))
    part = raw[:, backbone.slices[familiarity.stage]].detach().double().numpy()
    mean = (part / np.linalg.norm(part, axis=1, keepdims=True)).mean(axis=0)
    training = familiarity.rows.mean(axis=0, dtype=np.float64)
    distance = np.linalg.norm(mean - training) / np.sqrt(1 - training @ training)
    assert float(lines["headstart_feature_drift"]) == pytest.approx(distance, rel=1e-3)
    assert float(lines["headstart_feature_drift_noise"]) == pytest.approx(
        np.sqrt(1 / 4 + 1 / len(familiarity.rows)), rel=1e-4
    )
