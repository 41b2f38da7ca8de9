"""Cache records on disk: found again, replaced, forgotten, explained; and locks on keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.cache.locks import KeyLocks
from bakepy.cache.records import CacheRecords
from bakepy.content.database import Database
from bakepy.errors import EngineError
from bakepy.solver.keys import exact_key
from bakepy.solver.vertex import Miss, Record, Step

pytestmark = pytest.mark.anyio

STEP = Step(op="make", name="RUN make", parts=("result:a", "content:b"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[KeyLocks]:
    with KeyLocks(tmp_path / "keys.lock") as locks:
        yield locks


@pytest.fixture
def records(database: Database, locks: KeyLocks) -> CacheRecords:
    return CacheRecords(database, locks, clock=lambda: 1000.0)


async def test_a_record_is_found_by_all_its_keys(records: CacheRecords) -> None:
    saved = await records.save(("k", "d"), ["one", "two"], 1.5, STEP)
    assert saved == Record(1, ("one", "two"), 1.5, 1000.0)
    assert records.find(["d", "k", "other"]) == {"k": saved, "d": saved}


async def test_a_later_record_takes_the_keys_over(records: CacheRecords) -> None:
    await records.save(("k", "d"), ["old"], 1.0, STEP)
    new = await records.save(("k", "e"), ["new"], 1.0, STEP)
    assert records.find(["k", "d", "e"])["k"] == new
    assert records.find(["d"])["d"].results == ("old",)


async def test_a_linked_key_finds_the_record_in_later_runs(
    records: CacheRecords, database: Database, locks: KeyLocks
) -> None:
    record = await records.save(("k",), ["one"], 1.0, STEP)
    records.link("d", record)
    records.flush()
    assert CacheRecords(database, locks).find(["d"]) == {"d": record}


async def test_a_forgotten_record_is_found_by_no_key(records: CacheRecords) -> None:
    record = await records.save(("k", "d"), ["one"], 1.0, STEP)
    records.forget(record)
    records.link("e", record)
    records.flush()
    assert records.find(["k", "d", "e"]) == {}


async def test_the_last_use_is_written_once_in_an_hour(database: Database, locks: KeyLocks) -> None:
    await CacheRecords(database, locks, clock=lambda: 1000.0).save(("k",), ["one"], 1.0, STEP)
    uses = []
    for now in (2000.0, 9000.0, 9500.0):
        run = CacheRecords(database, locks, clock=lambda now=now: now)  # type: ignore[misc]
        run.find(["k"])
        run.flush()
        uses += database.query("SELECT used FROM records")
    assert uses == [(1000.0,), (9000.0,), (9000.0,)]


async def test_durations_are_those_of_the_last_time(records: CacheRecords) -> None:
    await records.save(("k",), ["one"], 1.5, STEP)
    await records.save(("l",), ["two"], 2.5, STEP)
    assert records.durations(["make", "other"]) == {"make": 2.5}


async def test_a_miss_tells_which_input_changed(records: CacheRecords) -> None:
    await records.save((exact_key("make", STEP.parts),), ["one"], 1.0, STEP)
    changed = Step("make", "RUN make", ("result:a", "content:c"))
    assert records.explain(exact_key("make", changed.parts), changed) == Miss("input", (1,))


async def test_a_miss_compares_with_the_most_similar_outcome(records: CacheRecords) -> None:
    for number, parts in enumerate([("a", "b", "c"), ("a", "x", "y")]):
        await records.save((str(number),), ["one"], 1.0, Step("make", "RUN make", parts))
    assert records.explain("new", Step("make", "RUN make", ("a", "b", "z"))) == Miss("input", (2,))


async def test_a_miss_of_an_unknown_step_and_of_a_removed_record(records: CacheRecords) -> None:
    assert records.explain("k", STEP) == Miss("definition")
    records.forget(await records.save(("k",), ["one"], 1.0, STEP))
    assert records.explain("k", STEP) == Miss("gone")


def test_a_key_is_locked_against_others_and_itself(tmp_path: Path, locks: KeyLocks) -> None:
    key, other = exact_key("a", []), exact_key("b", [])
    with KeyLocks(tmp_path / "keys.lock") as elsewhere:
        held = locks.try_lock(key)
        assert held is not None
        assert locks.try_lock(key) is None
        assert elsewhere.try_lock(key) is None
        assert elsewhere.try_lock(other) is not None
        held.release()
        held.release()
        assert elsewhere.try_lock(key) is not None


def test_closing_gives_the_locks_back(tmp_path: Path, locks: KeyLocks) -> None:
    key = exact_key("a", [])
    with KeyLocks(tmp_path / "keys.lock") as elsewhere:
        assert elsewhere.try_lock(key) is not None
    assert locks.try_lock(key) is not None


def test_a_lock_file_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        KeyLocks(tmp_path / "absent" / "keys.lock")
    assert caught.value.render() == (
        f"lock file {tmp_path}/absent/keys.lock: No such file or directory\n"
        "hint: the state root must be a writable folder; choose another with --root or BAKEPY_ROOT"
    )
