"""Facts of files: read again only when the files changed, never wrong, whatever happened to the store."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_scenes import sample, save, scene
from headstart.data import image_index as content
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts, ImageIndex, signature_of
from headstart.data.images import ImageRules, open_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        save(tmp_path / "set" / f"{seed}.png", scene(seed, (48, 40)))
    return tmp_path / "set"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read, and `decode` for each decoding."""
    log: list[str] = []
    read, decode = content.read_bytes, content.open_image
    monkeypatch.setattr(content, "read_bytes", lambda path: log.append(path.name) or read(path))
    monkeypatch.setattr(content, "open_image", lambda *a: log.append("decode") or decode(*a))
    return log


def facts_in(where: Path, folder: Path, **options: object) -> tuple[ImageFacts, ...]:
    index = ImageIndex(where)
    try:
        return index.facts([sample(path) for path in sorted(folder.iterdir())], **options)
    finally:
        index.close()


def test_facts_say_what_is_in_each_file(folder: Path, tmp_path: Path) -> None:
    facts = facts_in(tmp_path / "index", folder)

    for path, fact in zip(sorted(folder.iterdir()), facts, strict=True):
        assert fact.content == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (fact.width, fact.height, fact.format, fact.mode) == (48, 40, "PNG", "RGB")
        assert (fact.error, fact.notes, len(fact.signature)) == (None, (), SIGNATURE_SIDE**2)
    assert len({fact.pixels for fact in facts}) == 3


def test_a_second_call_reads_no_byte_and_finds_the_same(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    first = facts_in(tmp_path / "index", folder)
    assert sorted(opened) == ["0.png", "1.png", "2.png", "decode", "decode", "decode"]
    opened.clear()

    assert facts_in(tmp_path / "index", folder) == first
    assert opened == []


@pytest.mark.parametrize("what", ["time", "size"])
def test_a_file_that_changed_is_read_again_and_the_others_are_not(
    what: str, folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    before = facts_in(tmp_path / "index", folder)
    opened.clear()
    changed, status = folder / "1.png", (folder / "1.png").stat()
    if what == "time":
        save(changed, scene(7, (48, 40)))
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    else:
        save(changed, scene(7, (80, 40)))
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))

    after = facts_in(tmp_path / "index", folder)

    assert opened == ["1.png", "decode"]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].pixels != before[1].pixels


def test_other_bytes_of_the_same_size_and_time_are_noticed(folder: Path, tmp_path: Path) -> None:
    """As they come out of an archive whose times are all alike; the system's own time of change tells."""
    path = save(folder / "3.bmp", scene(3, (48, 40)))
    before, status = facts_in(tmp_path / "index", folder), path.stat()
    while path.stat().st_ctime_ns == status.st_ctime_ns:  # clocks of file systems tick a few hundred times a second
        save(path, scene(4, (48, 40)))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    after = facts_in(tmp_path / "index", folder)

    assert after[:3] == before[:3]
    assert (after[3].content, after[3].pixels) != (before[3].content, before[3].pixels)
    assert after[3].content == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_touched_or_moved_file_is_hashed_and_not_decoded(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    before = facts_in(tmp_path / "index", folder)
    opened.clear()
    os.utime(folder / "0.png", ns=(0, 0))
    (folder / "1.png").rename(folder / "1b.png")

    assert facts_in(tmp_path / "index", folder) == before
    assert sorted(opened) == ["0.png", "1b.png"]


def test_verify_hashes_every_file_and_notices_what_times_and_size_hide(
    folder: Path, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a system whose time of change is that of creation."""
    key = content._file_key
    monkeypatch.setattr(content, "_file_key", lambda path: key(path)._replace(ctime_ns=0))  # type: ignore[union-attr]
    path = save(folder / "3.bmp", scene(3, (48, 40)))
    facts_in(tmp_path / "index", folder)
    status = path.stat()
    save(path, scene(4, (48, 40)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    stale = facts_in(tmp_path / "index", folder)
    opened.clear()

    fresh = facts_in(tmp_path / "index", folder, verify=True)

    assert sorted(name for name in opened if name != "decode") == ["0.png", "1.png", "2.png", "3.bmp"]
    assert fresh[:3] == stale[:3]
    assert fresh[3].pixels != stale[3].pixels
    assert opened.count("decode") == 1


def test_facts_that_were_added_are_those_of_decoding_and_the_file_is_only_hashed(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    usual = facts_in(tmp_path / "other", folder)
    index = ImageIndex(tmp_path / "index")
    for path in folder.iterdir():
        data = path.read_bytes()
        index.add([content.facts_of(hashlib.sha256(data).hexdigest(), open_image(data))])
    index.close()
    opened.clear()

    assert facts_in(tmp_path / "index", folder) == usual
    assert sorted(opened) == ["0.png", "1.png", "2.png"]


def test_other_rules_decode_again_and_both_are_kept(tmp_path: Path, opened: list[str]) -> None:
    see_through = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    folder = save(tmp_path / "set" / "a.png", see_through).parent
    white = facts_in(tmp_path / "index", folder)
    black = facts_in(tmp_path / "index", folder, rules=ImageRules(background=(0, 0, 0)))
    opened.clear()

    assert white[0].pixels != black[0].pixels
    assert facts_in(tmp_path / "index", folder) == white
    assert facts_in(tmp_path / "index", folder, rules=ImageRules(background=(0, 0, 0))) == black
    assert opened == []


def test_bad_files_have_a_reason_and_no_decoded_fields(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "half.png").write_bytes((folder / "0.png").read_bytes()[:900])
    (folder / "text.png").write_text("not an image")

    facts = facts_in(tmp_path / "index", folder)[3:]

    assert all(fact.error and not fact.pixels and not fact.signature for fact in facts)
    assert "empty" in str(facts[0].error)
    assert "truncated" in str(facts[1].error)
    assert "known format" in str(facts[2].error)
    opened.clear()
    assert facts_in(tmp_path / "index", folder)[3:] == facts
    assert opened == ["empty.png"]  # has no content to be kept under


def test_what_depends_on_the_name_is_not_kept_with_the_content(folder: Path, tmp_path: Path) -> None:
    (folder / "9.jpg").write_bytes((folder / "0.png").read_bytes())

    facts = facts_in(tmp_path / "index", folder)

    assert facts[0].notes == ()
    assert "content is PNG" in facts[3].notes[0]
    assert facts[0].content == facts[3].content


def test_a_missing_file_is_a_fact_with_a_reason(tmp_path: Path) -> None:
    index = ImageIndex(tmp_path / "index")
    (fact,) = index.facts([sample(tmp_path / "nowhere.png")])
    index.close()
    assert "cannot be read" in str(fact.error)


@pytest.mark.slow
def test_one_worker_and_many_find_the_same_and_progress_reaches_the_end(folder: Path, tmp_path: Path) -> None:
    for seed in range(3, 30):
        save(folder / f"{seed}.png", scene(seed, (24, 20)))
    calls: list[tuple[int, int]] = []

    one = facts_in(tmp_path / "one", folder, workers=1)
    many = facts_in(tmp_path / "many", folder, workers=5, progress=lambda done, total: calls.append((done, total)))

    assert one == many
    assert calls[0] == (0, 30)
    assert [done for done, _ in calls] == list(range(31))


def test_an_interruption_keeps_what_was_done(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facts_in(tmp_path / "index", folder, workers=1, progress=stop)
    opened.clear()

    facts_in(tmp_path / "index", folder)

    assert opened == ["2.png", "decode"]


def damage_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:64] = b"\xff" * 64
    path.write_bytes(data)


def damage_rows(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000:] = bytes(reversed(data[1000:]))
    path.write_bytes(data)


def drop_tables(path: Path) -> None:
    base = sqlite3.connect(path)
    base.executescript("DROP TABLE files; CREATE TABLE files (other TEXT);")
    base.close()


@pytest.mark.parametrize(
    "damage", [damage_header, damage_rows, drop_tables, lambda path: path.write_text("hello " * 999)]
)
def test_a_damaged_store_is_renamed_reported_and_rebuilt(
    damage: Callable[[Path], object], folder: Path, tmp_path: Path
) -> None:
    before = facts_in(tmp_path / "index", folder)
    (store,) = (tmp_path / "index").iterdir()
    damage(store)

    index = ImageIndex(tmp_path / "index")
    samples = [sample(path) for path in sorted(folder.iterdir())]
    after = index.facts(samples)
    findings = index.findings
    index.close()

    assert after == before
    assert [finding.kind for finding in findings] == ["index-rebuilt"]
    assert "damaged-0" in findings[0].message
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [store.name, f"{store.name}.damaged-0"]
    again = ImageIndex(tmp_path / "index")
    assert again.facts(samples) == before
    assert again.findings == ()
    again.close()


def test_a_row_that_was_changed_by_others_is_not_used(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    before = facts_in(tmp_path / "index", folder)
    (store,) = (tmp_path / "index").iterdir()
    base = sqlite3.connect(store)
    base.execute("UPDATE facts SET packed = replace(packed, 'PNG', 'BMP')")
    base.execute("UPDATE files SET content = 'f00'")
    base.commit()
    base.close()
    opened.clear()

    assert facts_in(tmp_path / "index", folder) == before
    assert opened.count("decode") == 3


def test_a_folder_that_cannot_be_written_is_reported_and_facts_are_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file where a folder should be")

    index = ImageIndex(tmp_path / "index")
    facts = index.facts([sample(path) for path in sorted(folder.iterdir())])

    assert [fact.error for fact in facts] == [None] * 3
    assert [finding.kind for finding in index.findings] == ["index-not-saved"]
    index.close()


def test_a_path_that_is_not_valid_text_is_kept_too(tmp_path: Path, opened: list[str]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    try:
        save(tmp_path / "a.png", scene(0, (20, 20))).rename(path)
    except OSError:
        pytest.skip("this file system takes text names only")
    index = ImageIndex(tmp_path / "index")
    first = index.facts([sample(path)])
    opened.clear()
    assert index.facts([sample(path)]) == first
    assert opened == []
    index.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (31, 33), (640, 480)])
def test_a_signature_is_the_small_grey_picture(size: Sequence[int]) -> None:
    rgb = np.asarray(scene(0, (640, 480)).resize(tuple(size)))

    signature = np.frombuffer(signature_of(rgb), np.uint8).reshape(SIGNATURE_SIDE, SIGNATURE_SIDE)

    expected = rgb.reshape(-1, 3).mean(axis=0) @ [0.299, 0.587, 0.114]
    assert signature.mean() == pytest.approx(expected, abs=2)
