"""The predictions of a run as arrays and as a frame, against its own evaluation and classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import RunError
from headstart.untrusted import Untrusted
from headstart.workbench.run import Run, write_predictions_table
from headstart.workbench.run_predictions import RunPredictions


def test_arrays_say_what_the_evaluation_counted(run: Run) -> None:
    test = run.predictions("test")

    assert test.classes == run.classifier.classes
    assert (test.labels == test.predicted).mean() == run.evaluation.accuracy.value
    counts = np.zeros((3, 3), dtype=int)
    np.add.at(counts, (test.labels, test.predicted), 1)
    np.testing.assert_array_equal(counts, run.confusion_matrix())


@pytest.mark.slow
def test_probabilities_are_those_of_the_classifier(run: Run, photos: Path) -> None:
    rows = run.predictions()[:3]
    predictions = RunPredictions(rows, run.predictions().classes)
    again = run.classifier.predict([photos / name for name in predictions.names])
    expected = [[one.probabilities[name] for name in predictions.classes] for one in again]
    np.testing.assert_allclose(predictions.probabilities, expected, atol=2e-4)
    np.testing.assert_array_equal(predictions.probabilities.argmax(1), predictions.predicted)


def test_splits_together_are_all_images(run: Run) -> None:
    parts = [run.predictions(split) for split in ("train", "validation", "test", "unknown")]
    assert sorted(map(len, parts)) == [0, 0, 9, 39]
    assert sum(map(len, parts)) == len(run.predictions())
    assert parts[1].probabilities.shape == (0, 3)
    assert parts[1].to_dict() == {}
    with pytest.raises(RunError, match="Did you mean test"):
        run.predictions("tset")


def test_a_label_that_training_does_not_have_is_minus_one() -> None:
    row = {"path": "a", "label": "zebra", "predicted": "cat", "p(cat)": "1"}
    one = RunPredictions([row], ["cat"])
    assert (one.labels.tolist(), one.predicted.tolist(), one.probabilities.tolist()) == ([-1], [0], [[1.0]])


def test_columns_are_those_of_the_table_with_numbers(run: Run) -> None:
    columns = run.predictions("test").to_dict()
    header = (run.folder / "predictions.csv").read_text("utf-8").splitlines()[0]
    assert ",".join(columns) == header
    assert columns["probability"] == run.predictions("test").probabilities.max(1).tolist()


def test_frames_have_the_names_of_the_classes(run: Run) -> None:
    pytest.importorskip("pandas")
    frame = run.predictions().to_frame()
    table = run.confusion_frame()
    assert len(frame) == 48
    for true in run.classifier.classes:
        found = frame[(frame["split"] == "test") & (frame["label"] == true)]["predicted"].value_counts()
        assert {name: count for name, count in table.loc[true].items() if count} == found.to_dict()
    assert (table.index.name, table.columns.name) == ("true", "predicted")


def test_many_classes_are_written_by_rank(run: Run, tmp_path: Path) -> None:
    classes = [f"c{i:02d}" for i in range(300)]
    scores = np.random.default_rng(0).dirichlet(np.full(300, 0.1), size=5)
    scores[0] = 0.0
    scores[0, 20:40] = 0.05  # equal ones: the first of them
    folder = tmp_path / "many"
    folder.mkdir()
    about = [(f"{i}.jpg", "0", "0", "test", str(i), classes[7]) for i in range(5)]
    write_predictions_table(folder / "predictions.csv", about, classes, scores=lambda block: scores[block])

    evaluation = replace(run.evaluation, classes=tuple(classes))
    many = replace(run, folder=folder, evaluation=evaluation, record={}).predictions()
    assert list(many[0])[6:] == ["predicted", "probability", *(f"{a}_{i}" for i in range(2, 11) for a in ("top", "p"))]
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(many.predicted, scores.argmax(1))
    np.testing.assert_array_equal(many.labels, 7)
    for row, number, best in zip(many, scores, order, strict=True):
        assert [row[f"top_{i}"] for i in range(2, 11)] == [classes[c] for c in best[1:10]]
        assert [float(row[f"p_{i}"]) for i in range(2, 11)] == [round(float(number[c]), 6) for c in best[1:10]]
    assert many.to_dict()["p_2"] == [float(row["p_2"]) for row in many]


def test_probabilities_of_many_classes_are_those_of_the_classifier(run: Run) -> None:
    rows = run.predictions("test")
    written = np.array([float(row["probability"]) for row in rows])
    np.testing.assert_allclose(run._scores(rows.names).max(1), written, atol=1e-6)
    asked: list[list[str]] = []
    many = RunPredictions(rows, [f"c{i}" for i in range(11)], lambda names: asked.append(names) or np.ones((9, 11)))
    assert many.of_split("test").probabilities.shape == (9, 11)
    assert asked == [rows.names]


ROW = {
    "path": "a.jpg",
    "split": "test",
    "label": "x",
    "predicted": "y",
    "probability": "0.8",
    "p(x)": "0.2",
    "p(y)": "0.8",
}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW, ROW], "the image 'a.jpg' stands there twice"),
        ([], "no row"),
        ([{**ROW, "split": "holdout"}], "'holdout' as split"),
        ([{**ROW, "predicted": "z"}], "'z' as predicted"),
        ([{**ROW, "p(x)": "nan"}], "a probability of 'a.jpg' is not between 0 and 1"),
        ([{**ROW, "p(x)": "5"}], "a probability of 'a.jpg' is not between 0 and 1"),
        ([{**ROW, "p(x)": "0"}], "the probabilities of 'a.jpg' make 0.8, not 1"),
        ([{**ROW, "predicted": "x", "probability": "0.2"}], "'x' is not the most probable class of 'a.jpg'"),
        ([{**ROW, "probability": "0.7"}], "'y' is not the most probable class of 'a.jpg'"),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows: list[dict[str, str]], said: str) -> None:
    with pytest.raises(Untrusted, match=said):
        RunPredictions(rows, ("x", "y")).check(list(ROW), ("x", "y"))


def test_columns_are_there_once_and_are_those_of_the_classes() -> None:
    rows = RunPredictions([ROW], ("x", "y"))
    rows.check(list(ROW), ("y", "x"))
    with pytest.raises(Untrusted, match="the column 'path' stands there twice"):
        rows.check([*ROW, "path"], ("x", "y"))
    with pytest.raises(Untrusted, match="probabilities of x, y, and classes x, z"):
        rows.check(list(ROW), ("x", "z"))
