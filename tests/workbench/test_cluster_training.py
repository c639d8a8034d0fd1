"""train --on: the classifier of one machine, also when a worker is killed in the middle, or a whole node of Ray."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import headstart as hs
from headstart.distributed.run_shards import BAD
from headstart.errors import RecipeError
from laid_shards import rows_of, write_parquet

# batches of one image: in batches of other images a convolution may round otherwise, and the head differ by 1e-6
OPTIONS: dict[str, Any] = {
    "backbone": "embedded",
    "engine": "eager",
    "batch_size": 1,
    "inside": False,
    "on_event": None,
}


def check_same_classifier(mine: hs.Run, reference: hs.Run) -> None:
    """Heads, temperatures, and the predictions of every image; from the same features heads are equal to 1e-9.

    Here are fewer images than features, so one machine decomposes N×N and the statistics D×D: at this small a lambda
    their roundings differ by some 1e-9.
    """
    for part in ("weight", "bias"):
        one, other = (getattr(run.classifier.head, part) for run in (mine, reference))
        np.testing.assert_allclose(one, other, atol=1e-7)
    assert mine.classifier.head.temperature == pytest.approx(reference.classifier.head.temperature, rel=1e-6)
    rows = {row["path"]: row for row in mine.predictions()}
    for row in reference.predictions():
        assert rows[row["path"]]["split"] == row["split"]
        assert rows[row["path"]]["predicted"] == row["predicted"]
        assert float(rows[row["path"]]["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)
    assert mine.evaluation.accuracy == reference.evaluation.accuracy


@pytest.mark.slow  # worker processes import torch; one of them is killed
def test_a_worker_killed_in_the_middle_leaves_the_same_file(photos: Path, tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "photos.parquet", rows_of(photos), per_group=4)
    whole = hs.train(table, on=hs.Cluster(processes=2, shards=tmp_path / "a"), out=tmp_path / "whole", **OPTIONS)
    killer = threading.Thread(target=_kill_a_worker_at, args=(tmp_path / "b", 2))
    killer.start()

    killed = hs.train(table, on=hs.Cluster(processes=2, shards=tmp_path / "b"), out=tmp_path / "killed", **OPTIONS)

    killer.join()
    assert killer.killed  # type: ignore[attr-defined]
    files = [run.folder / "features.safetensors" for run in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    np.testing.assert_array_equal(whole.classifier.head.weight, killed.classifier.head.weight)
    one_machine = hs.train(photos, out=tmp_path / "one", **OPTIONS)
    check_same_classifier(whole, one_machine)


@pytest.mark.slow  # three nodes of Ray on this machine take a minute
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_node_of_ray_killed_in_the_middle_leaves_the_same_file(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.cluster_utils import Cluster as Nodes

    source = str(Path(hs.__file__).parents[1])  # workers of nodes start in folders of their own
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))
    table = write_parquet(tmp_path / "photos.parquet", rows_of(photos), per_group=2)
    whole = hs.train(table, on=hs.Cluster(processes=1, shards=tmp_path / "a"), out=tmp_path / "whole", **OPTIONS)
    some = {"include_dashboard": False, "object_store_memory": 100_000_000}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **some})
    try:
        lost, _ = nodes.add_node(num_cpus=1, **some), nodes.add_node(num_cpus=1, **some)
        nodes.wait_for_nodes()
        left: list[int] = []

        def kill() -> None:
            while len(found := list((tmp_path / "b").glob("*/*.arrow"))) < 2:
                time.sleep(0.02)
            nodes.remove_node(lost, allow_graceful=False)
            left.append(24 - len(found))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        where = hs.Cluster(engine="ray", address=nodes.address, shards=tmp_path / "b")
        killed = hs.train(table, on=where, out=tmp_path / "killed", **OPTIONS)
        killer.join(60)
    finally:
        ray.shutdown()
        nodes.shutdown()

    assert left
    assert left[0] > 0  # shards that nobody had done when the node died
    files = [run.folder / "features.safetensors" for run in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    np.testing.assert_array_equal(whole.classifier.head.weight, killed.classifier.head.weight)
    assert whole.classifier.head.temperature == killed.classifier.head.temperature


def _kill_a_worker_at(folder: Path, results: int) -> None:
    """SIGKILL to a worker process of this test once so many results of shards are there."""
    me = threading.current_thread()
    me.killed = False  # type: ignore[attr-defined]
    for _ in range(1200):
        time.sleep(0.05)
        workers = _workers()
        if workers and len(list(folder.glob("*/*.arrow"))) >= results:
            os.kill(workers[0], signal.SIGKILL)
            me.killed = True  # type: ignore[attr-defined]
            return


def _workers() -> list[int]:
    """Processes that multiprocessing has spawned for this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == os.getpid() and b"spawn_main" in line:
            found.append(int(entry.name))
    return sorted(found)


@pytest.mark.slow  # a worker process imports torch
def test_a_second_training_resumes_and_lists_what_could_not_be_read(photos: Path, tmp_path: Path) -> None:
    rows = [*rows_of(photos), {"name": "broken.png", "bytes": b"no image", "label": "disc"}]
    table = write_parquet(tmp_path / "photos.parquet", [{**row, "id": row["name"]} for row in rows])
    where = hs.Cluster(processes=1, shards=tmp_path / "shards", held_out="folds")
    events: list[Any] = []

    first = hs.train(table, on=where, out=tmp_path / "run", **OPTIONS)
    second = hs.train(table, on=where, out=tmp_path / "run", **OPTIONS | {"on_event": events.append})

    assert pq.read_table(first.folder / BAD).column("name").to_pylist() == ["broken.png"]
    assert any("Resumed: 49 of 49 images" in getattr(event, "text", "") for event in events)
    np.testing.assert_array_equal(first.classifier.head.weight, second.classifier.head.weight)
    assert second.record["head"]["held_out"] == "in 5 folds of whole groups"
    assert len(second.features.names) == 48
    assert "broken.png" in (second.folder / "report.html").read_text("utf-8")
    commands = [step["command"].split() for step in second.record["next_steps"] if step["command"]]
    assert all(words[1] == "review" or words[-2:] == ["--on", "local"] or "--on" in words for words in commands)
    noted = hs.review(second, on_event=None).notes
    assert any("which workers read" in note for note in noted)
    predicted = second.classifier.predict([row["bytes"] for row in rows[:5]])
    kept = {row["path"]: row["predicted"] for row in second.predictions()}
    assert [one.label for one in predicted] == [kept[row["name"]] for row in rows[:5]]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"strategy": "full"}, "--strategy probe"), ({"head": "logistic"}, "--head ridge or kernel"),
     ({"precision": "int8"}, "--precision float32"), ({"backbone": "random"}, "pretrained weights")],
)  # fmt: skip
def test_what_workers_do_not_do_is_refused_first(
    photos: Path, tmp_path: Path, options: dict[str, str], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        hs.train(photos, on="local", out=tmp_path / "run", **{**OPTIONS, **options})
    assert not (tmp_path / "run").exists()
