"""audit: planted problems are found, and too many of them stop training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from drawn_photos import draw_folder
from headstart.curation.decisions import Decision, DecisionFile
from headstart.errors import DataError
from headstart.untrusted import sha256_of


@pytest.mark.slow
def test_audit_names_every_planted_fault(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for part in ("train", "test"):
        draw_folder(folder / part, per_class=12, seed=len(part))
    (folder / "train" / "disc" / "empty.png").write_bytes(b"")
    (folder / "train" / "disc" / ".hidden.png").write_bytes(b"")
    (folder / "train" / "__MACOSX").mkdir()
    one = max((folder / "train" / "disc").glob("[0-9]*.png"))
    shutil.copy(one, folder / "train" / "square" / "relabelled.png")
    shutil.copy(one, folder / "test" / "disc" / "leaked.png")
    shutil.copytree(folder / "test" / "disc", folder / "test" / "unheard")

    audit = hs.audit(folder)

    by_kind = {finding.kind: finding for finding in audit.findings}
    assert "train/disc/empty.png" in by_kind["unreadable"].names
    assert {"two-labels", "leak", "unknown-class", "skipped"} <= set(by_kind)
    assert "relabelled" in str(by_kind["two-labels"].to_dict())
    assert "leaked" in str(by_kind["leak"].to_dict())


def test_more_bad_images_than_a_twentieth_stop_the_job(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos")
    for i in range(6):
        (folder / "disc" / f"bad{i}.png").write_bytes(b"GIF89a")

    with pytest.raises(DataError, match="6 of 54"):
        hs.train(folder, out=tmp_path / "run", backbone="embedded", inside=False)


def test_images_in_memory_are_audited_by_their_index() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "ab"[i % 2]) for i in range(6)]
    found = hs.audit([*pairs, (pairs[0][0], "b"), (b"no image", "a")], on_event=None, max_bad_share=0.2)
    assert found.exact_duplicate_groups == ((0, 6),)
    assert found.unreadable == (7,)


def test_a_review_that_leaves_all_images_out_is_a_problem(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=3)
    images, file = sorted(folder.rglob("*.png")), DecisionFile(tmp_path / "review.jsonl")
    dropped = [
        Decision(sha256=sha256_of(path), image=path.name, action="drop", old=path.parent.name) for path in images
    ]
    for decision in dropped[:-1]:
        file.append(decision)
    assert "no-images" not in {one.kind for one in hs.audit(folder, review=str(tmp_path)).findings}

    file.append(dropped[-1])
    audit = hs.audit(folder, review=str(tmp_path), shortcuts=True)
    assert (audit.images, audit.findings[-1].kind, audit.findings[-1].severity) == (0, "no-images", "problem")
