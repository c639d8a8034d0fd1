"""Run: the folder of a finished training, those of headstart 0.1 included, and the names it may have."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.errors import BackboneError, DataError, RunError
from headstart.features.features_file import create_file, seal_file
from headstart.recipe import Recipe
from headstart.workbench.run import (
    PREDICTIONS,
    RECORD,
    Run,
    classifier_of,
    find_run,
    out_folder,
    run_name,
)

OLD = Path(__file__).parent / "run_of_0_1"
"""run.json and predictions.csv as headstart 0.1 wrote them, with `--strategy last-stage --epochs 1 --mirror`."""


def test_predictions_that_changed_after_they_were_written_are_refused(run: hs.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    whole = (folder / "predictions.csv").read_bytes()
    assert len(Run.load(folder).predictions()) == 48
    for at in np.random.default_rng(0).choice(len(whole), 40, replace=False):
        (folder / "predictions.csv").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(RunError, match="predictions of a run"):
            Run.load(folder).predictions()


def test_a_run_written_by_0_1_still_opens() -> None:
    run = Run.load(OLD)

    assert run.evaluation.accuracy.n == 9
    assert run.evaluation.classes == ("disc", "square", "stripes")
    assert sum(row["split"] == "test" for row in run.predictions()) == 9
    recipe = Recipe.from_dict(run.record["recipe"])
    assert recipe == Recipe(backbone="embedded", strategy="last-stage", epochs=1, flip_tta=True)


def test_a_run_written_by_0_1_can_be_compared_with_one_of_today(run: Run) -> None:
    comparison = hs.compare(OLD, run)
    assert comparison.n == 9  # the same drawn photos, and the same split


def test_a_run_of_a_newer_headstart_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(OLD, tmp_path / "run")
    text = (folder / "run.json").read_text("utf-8")
    (folder / "run.json").write_text(text.replace('"version": 1', '"version": 99', 1), "utf-8")
    with pytest.raises(RunError, match="Upgrade headstart"):
        Run.load(folder)


def test_a_classifier_is_found_however_it_is_named(run: Run) -> None:
    assert classifier_of(run) is run.classifier
    assert classifier_of(run.classifier) is run.classifier
    assert classifier_of(run.folder).classes == run.classifier.classes


def test_a_run_lies_beside_its_file_only(run: Run, tmp_path: Path) -> None:
    found, reason = find_run(run.folder / "classifier.safetensors", run.classifier)
    assert found is not None
    assert found.folder == run.folder
    assert reason == ""
    lone = shutil.copy(run.folder / "classifier.safetensors", tmp_path)
    assert find_run(lone, run.classifier)[0] is None
    assert find_run(run.classifier, run.classifier) == (None, "a loaded classifier has no run folder")


def test_the_classifier_and_the_features_of_another_run_are_not_taken_for_its_own(run: Run, tmp_path: Path) -> None:
    own = run.classifier
    head = replace(own.head, weight=-own.head.weight)
    for name in ("classifier.safetensors", "features.safetensors"):
        copied = Path(shutil.copytree(run.folder, tmp_path / name.partition(".")[0]))
        if name.startswith("classifier"):
            other = Run.load(copied).classifier
            other.head = head
            other.save(copied / name)
        else:
            others = run.features
            matrix = create_file(copied / name, others.names, others.contents, slices=others.slices)
            matrix[:] = others.matrix + 1
            seal_file(copied / name, matrix)
        mixed = Run.load(copied)
        with pytest.raises(RunError, match=f"(?s)the {name} that this run wrote.*checksum"):
            _ = getattr(mixed, name.partition(".")[0])
        found, reason = find_run(copied, own)
        assert found is None
        assert "checksum" in reason
        older = {
            key: value for key, value in mixed.record.items() if key not in ("classifier_sha256", "features_crc32")
        }
        assert getattr(replace(mixed, record=older), name.partition(".")[0]) is not None


def test_a_folder_that_is_no_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"no readable run\.json.*headstart train {re.escape(str(tmp_path))}"):
        Run.load(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match=r"the folder of a run, found a file .*notes\.txt.*folder that run\.json is in"):
        Run.load(tmp_path / "notes.txt")


def test_run_names_are_safe_everywhere(tmp_path: Path) -> None:
    (tmp_path / "a b.tar.gz").touch()
    assert run_name(tmp_path / "a b.tar.gz") == "a-b"
    assert run_name(tmp_path / "müll & co") == "müll-co"
    assert run_name(Path("/")) == "run"


def test_a_folder_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert out_folder(".") == tmp_path
    for folder, found in (("/", "a folder with a name"), ("~nobody-of-this-name/run", "~nobody-of-this-name")):
        with pytest.raises(RunError, match=found):
            out_folder(folder)


def test_the_plain_values_of_a_run_begin_with_the_evaluation_and_the_baselines(run: Run) -> None:
    values = run.to_dict()

    assert list(values)[:3] == ["evaluation", "baselines", "run"]
    assert list(values["evaluation"]["accuracy"])[:4] == ["value", "low", "high", "n"]
    assert {"majority", "kNN"} <= set(values["baselines"])
    assert values["run"] == str(run.folder)


def test_features_are_had_by_the_name_of_a_stage_or_the_path_of_its_module(run: Run) -> None:
    spec = run.classifier.backbone.spec
    last = run.features_of("pooled")
    assert last.shape == (48, spec.stages[-1].width)
    assert np.array_equal(last, run.features_of(spec.stages[-1].module))
    assert np.array_equal(last, run.features[run.features.stages[-1]])
    widths = [run.features[stage].shape[1] for stage in run.features.stages]
    assert sum(widths) == run.features.matrix.shape[1]
    with pytest.raises(BackboneError, match="a stage of embedded"):
        run.features_of("layer9")
    with pytest.raises(DataError, match="Expected a stage"):
        run.features["pool"]


def test_a_classifier_without_the_record_of_its_run_is_not_a_folder_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "classifier.safetensors").write_bytes(b"x")

    with pytest.raises(RunError, match="which predict, evaluate and export take"):
        Run.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("head", "ridge", "head is 'ridge'"),
        ("versions", None, "versions is None"),
        ("findings", [1, 2], "findings are no list of objects"),
        ("created", 3, "created is 3"),
        ("evaluation", {"accuracy": 1}, "no "),
        ("data", {"fingerprint": "x", "counts": {"train": {"ants": -5}}}, "count is -5"),
        ("head", {"temperature": -1.5}, "temperature is -1.5"),
        ("trust", {"rate": 5}, "rate is 5, not a share"),
    ],
)
def test_a_record_whose_values_are_of_other_kinds_is_refused_with_its_place(
    run: Run, tmp_path: Path, key: str, value: object, said: str
) -> None:
    record = json.loads((run.folder / RECORD).read_text("utf-8"))
    del record["checksum"]  # as a hand that knows of it would
    (tmp_path / RECORD).write_text(json.dumps({**record, key: value}), "utf-8")
    with pytest.raises(RunError, match=said) as refused:
        Run.load(tmp_path)
    assert str(tmp_path) in str(refused.value.where)
    assert refused.value.hint


def test_a_table_without_training_images_is_an_error_of_ours(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "run")
    record = json.loads((copy / RECORD).read_text("utf-8"))
    table = (copy / PREDICTIONS).read_text("utf-8").replace(",train,", ",test,")
    (copy / PREDICTIONS).write_text(table, "utf-8", newline="")
    del record["checksum"], record["predictions_sha256"]
    (copy / RECORD).write_text(json.dumps(record), "utf-8")
    with pytest.raises(DataError, match=r"training images with a label.*none"):
        hs.advise_more(copy, on_event=None)
