"""Words for a split: what people write, and nothing that only may be one."""

from __future__ import annotations

import pytest

from headstart.data.table_splits import parse_values


@pytest.mark.parametrize(
    ("header", "values", "splits"),
    [
        ("split", ["TRAIN", "Test"], ["train", "test"]),
        ("split", ["training", "validation", "testing"], ["train", "validation", "test"]),
        ("split", ["train_set", "val-set", "Test Set"], ["train", "validation", "test"]),
        ("phase", ["trn", "dev", "tst"], ["train", "validation", "test"]),
        ("Usage", ["Training", "PublicTest"], ["train", "test"]),
        ("Usage", ["Training", "PublicTest", "PrivateTest"], ["train", "validation", "test"]),
        ("split", ["train", "eval"], ["train", "test"]),
        ("split", ["train", "eval", "test"], ["train", "validation", "test"]),
        ("is_valid", ["True", "False"], ["validation", "train"]),
        ("isValid", ["1", "0"], ["validation", "train"]),
        ("is_valid", ["1.0", "0.0"], ["validation", "train"]),
        ("Is Test", ["yes", "no"], ["test", "train"]),
        ("is_train", ["TRUE", "FALSE"], ["train", "test"]),
        ("is_training_image", ["1", "0"], ["train", "test"]),
        ("test_set", ["1", "0"], ["test", "train"]),
        ("in_test", ["1", "0"], ["test", "train"]),
        ("held_out", ["yes", "no"], ["test", "train"]),
        ("Used for training", ["y", "n"], ["train", "test"]),
        ("split", ["tr", "te"], ["train", "test"]),
        ("split", ["trainval", "test"], ["train", "test"]),
        ("Aufteilung", ["Training", "Validierung", "Testdaten"], ["train", "validation", "test"]),
        ("jeu", ["entraînement", "validation", "test"], ["train", "validation", "test"]),
        ("conjunto", ["entrenamiento", "validación", "prueba"], ["train", "validation", "test"]),
    ],
)
def test_cells_say_a_split(header: str, values: list[str], splits: list[str]) -> None:
    assert parse_values(header, values) == dict(zip(values, splits, strict=True))


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("fold", ["0", "1"]),
        ("split", ["a", "b"]),
        ("valid", ["True", "False"]),
        ("is_valid", ["2", "3"]),
        ("x", []),
        ("invalid", ["1", "0"]),
        ("contest", ["1", "0"]),
        ("test_score", ["0.5", "1"]),
    ],
)
def test_other_cells_say_none(header: str, values: list[str]) -> None:
    assert parse_values(header, values) == {}
