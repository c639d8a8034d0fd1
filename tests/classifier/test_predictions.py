"""Predictions as rows, columns and a frame, and every way to ask for them."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import TRUST, Prediction, Predictions
from headstart.data.images import open_image
from headstart.errors import DataError, DownloadError, RunError
from local_server import Server


def _two() -> Predictions:
    return Predictions(
        [
            Prediction("a.png", "x", 0.75, {"x": 0.75, "y": 0.25}),
            Prediction("b.png", None, 0.0, {}, error="the file is empty"),
        ]
    )


def test_columns_are_flat_and_empty_where_there_is_no_answer() -> None:
    assert _two().to_dict() == {
        "path": ["a.png", "b.png"],
        "label": ["x", None],
        "probability": [0.75, None],
        "p(x)": [0.75, None],
        "p(y)": [0.25, None],
        "error": [None, "the file is empty"],
        "damaged": [None, None],
        **{name: [None, None] for name in TRUST},
    }


DOUBTED = Prediction(
    "c.png", "x", 0.5, {"x": 0.5, "y": 0.4, "z": 0.1}, familiar=False, familiarity_percentile=1.5,
    nearest_image="x/1.png", prediction_set=("x", "y"), atypical=False,
)  # fmt: skip


def test_a_prediction_says_what_to_mind_about_it() -> None:
    assert str(DOUBTED) == "c.png: x (50.0\u00a0%); unlike the training images; unsure between x and y"
    assert (
        str(Prediction("d.png", "x", 1.0, {"x": 1.0}, atypical=True))
        == "d.png: x (100.0\u00a0%); atypical for its class"
    )
    rejected = replace(DOUBTED, label=None, rejected="unlike the training images")
    assert str(rejected).startswith("c.png: no class (50.0\u00a0%); rejected; unlike")
    assert rejected.to_dict()["probability"] is None  # that of no class
    many = replace(DOUBTED, familiar=None, prediction_set=("a", "b", "c", "d", "e"))
    assert many.doubt == "unsure between a and b and c and 2 more"


def test_predictions_are_printed_one_a_line() -> None:
    assert str(_two()) == "a.png: x (75.0\u00a0%)\nb.png: the file is empty"
    assert repr(_two()) == "Predictions(2 images: 1 x, 1 unreadable)"  # as a notebook shows them


def test_trust_is_plain_values_in_records_and_columns() -> None:
    record = DOUBTED.to_dict()

    assert {name: record[name] for name in TRUST} == {
        "familiar": False, "familiarity_percentile": 1.5, "nearest_image": "x/1.png",
        "prediction_set": ["x", "y"], "atypical": False, "rejected": None,
    }  # fmt: skip
    assert Predictions([DOUBTED, _two()[1]]).to_dict()["prediction_set"] == [["x", "y"], None]


def test_a_frame_has_these_columns() -> None:
    pandas = pytest.importorskip("pandas")

    frame = _two().to_frame()

    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(_two().to_dict())
    assert frame["probability"].isna().tolist() == [False, True]


def test_without_pandas_the_error_names_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RunError, match="to_dict"):
        _two().to_frame()


def test_arrays_files_and_tensors_get_the_answer_of_their_file(classifier: Classifier, photos: Path) -> None:
    file = sorted(photos.rglob("*.png"))[0]
    rgb = open_image(file).rgb.copy()
    expected = classifier.predict(file).probabilities  # type: ignore[union-attr]

    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    sources = [rgb, tensor, io.BytesIO(file.read_bytes()), file.read_bytes(), Image.fromarray(rgb)]
    for source in sources:
        assert classifier.predict(source).probabilities == expected  # type: ignore[union-attr]
    assert classifier.predict(rgb[..., ::-1], bgr=True).probabilities == expected  # type: ignore[union-attr]
    assert classifier.predict(rgb[..., ::-1]).probabilities != expected  # type: ignore[union-attr]


def test_any_iterable_of_images_gives_a_list_in_its_order(classifier: Classifier, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:3]

    found = classifier.predict(np.asarray(open_image(file).rgb) for file in files)

    assert isinstance(found, Predictions)
    assert [p.label for p in found] == [p.label for p in classifier.predict(files)]
    assert [p.name for p in found] == ["<array>"] * 3


def test_one_missing_file_raises_and_among_several_it_is_a_prediction(classifier: Classifier, photos: Path) -> None:
    file = next(photos.rglob("*.png"))
    with pytest.raises(DataError, match="no such file"):
        classifier.predict(photos / "nothing.png")

    found = classifier.predict([file, photos / "nothing.png"])

    assert [bool(p.error) for p in found] == [False, True]  # type: ignore[union-attr]


def test_of_several_addresses_one_that_cannot_be_fetched_is_a_prediction_with_its_error(
    classifier: Classifier, photos: Path
) -> None:
    file = next(photos.rglob("*.png"))
    with contextlib.closing(Server({"a.png": file.read_bytes()})) as server:
        here, missing = server.url("a.png"), server.url("b.png")
        found = classifier.predict([here, missing, file], network=True)
        with pytest.raises(DownloadError, match="HTTP 404"):
            classifier.predict(missing, network=True)

    assert isinstance(found, Predictions)
    assert [one.name for one in found] == [here, missing, str(file)]
    assert found[0].label == found[2].label
    assert "cannot be fetched: HTTP 404" in (found[1].error or "")
    with pytest.raises(DataError, match="Allow the network"):  # which is no fault of one of them
        classifier.predict([file, here])


def test_a_folder_is_sent_to_the_function_for_folders_and_what_is_no_image_is_named(
    classifier: Classifier, photos: Path
) -> None:
    with pytest.raises(DataError, match=r"a folder.*headstart\.predict"):
        classifier.predict(photos)
    with pytest.raises(DataError, match="an H×W×3 uint8 array or a 3×H×W uint8 tensor, found NoneType"):
        classifier.predict([next(photos.rglob("*.png")), None])


def test_every_field_of_a_prediction_is_in_json_and_tables() -> None:
    one = Prediction("a.png", "cat", 0.9, {"cat": 0.9}, time=1.0)
    names = {field.name for field in dataclasses.fields(Prediction)} - {"name", "probabilities"}
    assert names <= set(one.to_dict())
    assert names <= set(Predictions([one]).to_dict())
