"""The store under the image index: shared by processes and threads, and larger than one query."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headstart.data.fact_store import FactStore, FileKey


def test_two_stores_in_one_folder_see_each_others_rows_from_many_threads(tmp_path: Path) -> None:
    stores = FactStore(tmp_path), FactStore(tmp_path)

    def write(number: int) -> None:
        for k in range(10):
            key = FileKey(b"%d-%d" % (number, k), number, k, 7)
            stores[number % 2].add([(key, f"c{number}")], [(f"c{number}", str(k), bytes([k]))])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    keys = [FileKey(b"%d-%d" % (number, k), number, k, 7) for number in range(6) for k in range(10)]
    assert stores[0].contents(keys) == stores[1].contents(keys) == [f"c{n}" for n in range(6) for _ in range(10)]
    assert stores[0].facts(["c3", "c9"], "7") == {"c3": b"\x07"}
    assert stores[0].contents([None, FileKey(b"0-0", 1, 0, 7)]) == [None, None]
    for store in stores:
        assert store.findings == ()
        store.close()


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1200])
def test_any_number_of_files_and_facts_is_found_in_order(tmp_path: Path, count: int) -> None:
    store = FactStore(tmp_path)
    keys = [FileKey(b"%d" % i, i, -i, i) for i in range(count)]
    store.add([(key, f"c{key.size}") for key in keys], [(f"c{i}", "reader", b"%d" % i) for i in range(count)])

    assert store.contents([*keys, FileKey(b"new", 0, 0, 0)]) == [*(f"c{i}" for i in range(count)), None]
    assert store.facts([f"c{i}" for i in range(count)] * 2, "reader") == {f"c{i}": b"%d" % i for i in range(count)}
    assert store.facts(["c0"], "another reader") == {}
    store.close()


def test_a_file_of_another_size_or_time_is_not_the_stored_one(tmp_path: Path) -> None:
    store = FactStore(tmp_path)
    store.add([(FileKey(b"a", 1, 2, 3), "content")], [])

    others = [FileKey(b"b", 1, 2, 3), FileKey(b"a", 2, 2, 3), FileKey(b"a", 1, 3, 3), FileKey(b"a", 1, 2, 4)]
    assert store.contents([FileKey(b"a", 1, 2, 3), *others]) == ["content", None, None, None, None]
    store.close()


def test_what_is_known_of_discarded_contents_is_gone(tmp_path: Path) -> None:
    store = FactStore(tmp_path)
    keys = [FileKey(b"a", 1, 1, 1), FileKey(b"b", 2, 2, 2)]
    store.add([(keys[0], "one"), (keys[1], "two")], [("one", "r", b"1"), ("two", "r", b"2")])
    store.discard(["one"])
    assert store.contents(keys) == [None, "two"]
    assert store.facts(["one", "two"], "r") == {"two": b"2"}
    store.close()
