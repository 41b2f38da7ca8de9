"""The state database: transactions, several users at once, and what it says when it can not work."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from bakepy.content.database import DamagedDatabase, Database, damage_mark
from bakepy.errors import EngineError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def _sums(database: Database) -> None:
    database.create("CREATE TABLE IF NOT EXISTS sums (name TEXT PRIMARY KEY, value INTEGER)")


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    with Database(path) as database:
        _sums(database)
        database.execute("INSERT INTO sums VALUES (?, ?)", "a", 1)
        database.execute_many("INSERT INTO sums VALUES (?, ?)", [("b", 2), ("c", 3)])
    with Database(path) as database:
        _sums(database)
        assert database.query("SELECT * FROM sums ORDER BY name") == [("a", 1), ("b", 2), ("c", 3)]


def test_a_transaction_that_raises_leaves_nothing(path: Path) -> None:
    with Database(path) as database:
        _sums(database)
        with pytest.raises(KeyError), database.transaction():
            database.execute("INSERT INTO sums VALUES ('a', 1)")
            with database.transaction():
                database.execute("INSERT INTO sums VALUES ('b', 1)")
            raise KeyError
        assert database.query("SELECT * FROM sums") == []


def test_threads_and_processes_add_up_without_losing_a_write(path: Path) -> None:
    with Database(path) as database:
        _sums(database)
        database.execute("INSERT INTO sums VALUES ('n', 0)")
        spawn = multiprocessing.get_context("spawn")
        processes = [spawn.Process(target=_add, args=(path, 50)) for _ in range(2)]
        threads = [threading.Thread(target=_add_to, args=(database, 50)) for _ in range(2)]
        workers: list[threading.Thread | BaseProcess] = [*processes, *threads]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert database.query("SELECT value FROM sums") == [(200,)]


def _add(path: Path, times: int) -> None:
    with Database(path) as database:
        _add_to(database, times)


def _add_to(database: Database, times: int) -> None:
    for _ in range(times):
        with database.transaction():
            ((value,),) = database.query("SELECT value FROM sums WHERE name = 'n'")
            database.execute("UPDATE sums SET value = ?", value + 1)


def test_a_damaged_file_is_told(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(DamagedDatabase) as caught:
        Database(path)
    assert caught.value.render() == (
        f"state database {path}: file is not a database\nhint: run again: it is put aside then, and a new one is begun"
    )
    assert damage_mark(path).exists()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="unable to open database file") as caught:
        Database(tmp_path / "absent" / "state.db")
    assert caught.value.hint.startswith("the state root must be a writable folder")


def test_a_newer_format_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(EngineError) as caught:
        Database(path)
    assert caught.value.what == f"state database {path} has format 99, this bakepy reads up to 1"
