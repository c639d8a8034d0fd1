"""What is remembered about files: read again only when they changed, never wrong, whatever happened to the store."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_scenes import sample, save, scene
from headstart.data import image_index as content
from headstart.data.fact_store import FactStore, FileKey
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts, ImageIndex, signature_of
from headstart.data.images import ImageRules


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


def look(index: Path, folder: Path, **options: object) -> tuple[ImageFacts, ...]:
    memory = ImageIndex(index)
    try:
        return memory.facts([sample(path) for path in sorted(folder.iterdir())], **options)
    finally:
        memory.close()


def test_facts_say_what_is_in_each_file(folder: Path, tmp_path: Path) -> None:
    facts = look(tmp_path / "index", folder)

    for path, fact in zip(sorted(folder.iterdir()), facts, strict=True):
        assert fact.content == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (fact.width, fact.height, fact.format, fact.mode) == (48, 40, "PNG", "RGB")
        assert (fact.error, fact.notes, len(fact.signature)) == (None, (), SIGNATURE_SIDE**2)
    assert len({fact.pixels for fact in facts}) == 3


def test_a_second_look_reads_no_byte_and_says_the_same(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    first = look(tmp_path / "index", folder)
    assert sorted(opened) == ["0.png", "1.png", "2.png", "decode", "decode", "decode"]
    opened.clear()

    assert look(tmp_path / "index", folder) == first
    assert opened == []


@pytest.mark.parametrize("what", ["time", "size"])
def test_a_file_that_changed_is_read_again_and_the_others_are_not(
    what: str, folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    before = look(tmp_path / "index", folder)
    opened.clear()
    changed, status = folder / "1.png", (folder / "1.png").stat()
    if what == "time":
        save(changed, scene(7, (48, 40)))
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    else:
        save(changed, scene(7, (80, 40)))
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))

    after = look(tmp_path / "index", folder)

    assert opened == ["1.png", "decode"]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].pixels != before[1].pixels


def test_a_touched_or_moved_file_is_hashed_and_not_decoded(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    before = look(tmp_path / "index", folder)
    opened.clear()
    os.utime(folder / "0.png", ns=(0, 0))
    (folder / "1.png").rename(folder / "1b.png")

    assert look(tmp_path / "index", folder) == before
    assert sorted(opened) == ["0.png", "1b.png"]


def test_verify_hashes_every_file_and_notices_what_time_and_size_hide(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    path = save(folder / "3.bmp", scene(3, (48, 40)))
    look(tmp_path / "index", folder)
    status = path.stat()
    save(path, scene(4, (48, 40)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    stale = look(tmp_path / "index", folder)
    opened.clear()

    fresh = look(tmp_path / "index", folder, verify=True)

    assert sorted(name for name in opened if name != "decode") == ["0.png", "1.png", "2.png", "3.bmp"]
    assert fresh[:3] == stale[:3]
    assert fresh[3].pixels != stale[3].pixels
    assert opened.count("decode") == 1


def test_other_rules_decode_again_and_both_are_remembered(tmp_path: Path, opened: list[str]) -> None:
    see_through = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    folder = save(tmp_path / "set" / "a.png", see_through).parent
    white = look(tmp_path / "index", folder)
    black = look(tmp_path / "index", folder, rules=ImageRules(background=(0, 0, 0)))
    opened.clear()

    assert white[0].pixels != black[0].pixels
    assert look(tmp_path / "index", folder) == white
    assert look(tmp_path / "index", folder, rules=ImageRules(background=(0, 0, 0))) == black
    assert opened == []


def test_bad_files_have_a_reason_and_no_decoded_fields(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "half.png").write_bytes((folder / "0.png").read_bytes()[:900])
    (folder / "text.png").write_text("not an image")

    facts = look(tmp_path / "index", folder)[3:]

    assert all(fact.error and not fact.pixels and not fact.signature for fact in facts)
    assert "empty" in str(facts[0].error)
    assert "truncated" in str(facts[1].error)
    assert "known format" in str(facts[2].error)
    opened.clear()
    assert look(tmp_path / "index", folder)[3:] == facts
    assert opened == ["empty.png"]  # has no content to be remembered by


def test_what_depends_on_the_name_is_not_remembered_with_the_content(folder: Path, tmp_path: Path) -> None:
    (folder / "9.jpg").write_bytes((folder / "0.png").read_bytes())

    facts = look(tmp_path / "index", folder)

    assert facts[0].notes == ()
    assert "content is PNG" in facts[3].notes[0]
    assert facts[0].content == facts[3].content


def test_a_missing_file_is_a_fact_with_a_reason(tmp_path: Path) -> None:
    memory = ImageIndex(tmp_path / "index")
    (fact,) = memory.facts([sample(tmp_path / "nowhere.png")])
    memory.close()
    assert "cannot be read" in str(fact.error)


def test_one_worker_and_many_find_the_same_and_progress_reaches_the_end(folder: Path, tmp_path: Path) -> None:
    for seed in range(3, 30):
        save(folder / f"{seed}.png", scene(seed, (24, 20)))
    told: list[tuple[int, int]] = []

    one = look(tmp_path / "one", folder, workers=1)
    many = look(tmp_path / "many", folder, workers=5, progress=lambda done, total: told.append((done, total)))

    assert one == many
    assert told[0] == (0, 30)
    assert [done for done, _ in told] == list(range(31))


def test_an_interruption_keeps_what_was_done(folder: Path, tmp_path: Path, opened: list[str]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(tmp_path / "index", folder, workers=1, progress=stop)
    opened.clear()

    look(tmp_path / "index", folder)

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
def test_a_damaged_store_is_put_aside_said_and_built_anew(
    damage: Callable[[Path], object], folder: Path, tmp_path: Path
) -> None:
    before = look(tmp_path / "index", folder)
    (store,) = (tmp_path / "index").iterdir()
    damage(store)

    memory = ImageIndex(tmp_path / "index")
    samples = [sample(path) for path in sorted(folder.iterdir())]
    after = memory.facts(samples)
    findings = memory.findings
    memory.close()

    assert after == before
    assert [finding.kind for finding in findings] == ["index-rebuilt"]
    assert "damaged-0" in findings[0].message
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [store.name, f"{store.name}.damaged-0"]
    again = ImageIndex(tmp_path / "index")
    assert again.facts(samples) == before
    assert again.findings == ()
    again.close()


def test_a_row_that_was_changed_behind_our_back_is_not_believed(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    before = look(tmp_path / "index", folder)
    (store,) = (tmp_path / "index").iterdir()
    base = sqlite3.connect(store)
    base.execute("UPDATE facts SET packed = replace(packed, 'PNG', 'BMP')")
    base.execute("UPDATE files SET content = 'f00'")
    base.commit()
    base.close()
    opened.clear()

    assert look(tmp_path / "index", folder) == before
    assert opened.count("decode") == 3


def test_a_folder_that_cannot_be_written_is_said_and_facts_are_found_all_the_same(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file where a folder should be")

    memory = ImageIndex(tmp_path / "index")
    facts = memory.facts([sample(path) for path in sorted(folder.iterdir())])

    assert [fact.error for fact in facts] == [None] * 3
    assert [finding.kind for finding in memory.findings] == ["index-not-saved"]
    memory.close()


def test_two_stores_in_one_folder_see_each_others_rows_from_many_threads(tmp_path: Path) -> None:
    stores = FactStore(tmp_path), FactStore(tmp_path)

    def write(number: int) -> None:
        for k in range(10):
            key = FileKey(b"%d-%d" % (number, k), number, k)
            stores[number % 2].add([(key, f"c{number}")], [(f"c{number}", str(k), bytes([k]))])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    keys = [FileKey(b"%d-%d" % (number, k), number, k) for number in range(6) for k in range(10)]
    assert stores[0].contents(keys) == stores[1].contents(keys) == [f"c{n}" for n in range(6) for _ in range(10)]
    assert stores[0].facts(["c3", "c9"], "7") == {"c3": b"\x07"}
    assert stores[0].contents([None, FileKey(b"0-0", 1, 0)]) == [None, None]
    for store in stores:
        assert store.findings == ()
        store.close()


def test_a_path_that_is_no_text_is_remembered_too(tmp_path: Path, opened: list[str]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    try:
        save(tmp_path / "a.png", scene(0, (20, 20))).rename(path)
    except OSError:
        pytest.skip("this file system takes text names only")
    memory = ImageIndex(tmp_path / "index")
    first = memory.facts([sample(path)])
    opened.clear()
    assert memory.facts([sample(path)]) == first
    assert opened == []
    memory.close()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (31, 33), (640, 480)])
def test_a_signature_is_the_small_grey_picture(size: Sequence[int]) -> None:
    rgb = np.asarray(scene(0, (640, 480)).resize(tuple(size)))

    signature = np.frombuffer(signature_of(rgb), np.uint8).reshape(SIGNATURE_SIDE, SIGNATURE_SIDE)

    expected = rgb.reshape(-1, 3).mean(axis=0) @ [0.299, 0.587, 0.114]
    assert signature.mean() == pytest.approx(expected, abs=2)
