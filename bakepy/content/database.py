"""The facts of a state root: one SQLite file that the rooms share, each with tables of its own.

It knows no table. Several threads and several processes use one file at a time: WAL lets readers go on while one
writes, writers wait for each other. With `synchronous=NORMAL` a killed process loses nothing that was committed; a
power cut may lose the last transactions, but never leaves half of one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

from bakepy.errors import EngineError

_BUSY_SECONDS = 60.0
_FORMAT = 1
"""Goes up when the files of a state root can no longer be read by an older bakepy."""


class DamagedDatabase(EngineError):
    """The file is not a database, or its pages make no sense. A mark beside it tells the next run."""


def damage_mark(path: Path) -> Path:
    """A file that is there when the database `path` was found damaged."""
    return path.with_name(f"{path.name}-damaged")


class Database:
    """One open state database.

    Every method may be called from any thread; calls wait for each other. A thread that is inside `transaction`
    keeps all others out, so nothing slow belongs there, and no `await`. Raises EngineError when the file can not be
    opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path`, or makes it. Its folder must exist."""
        self.path = path
        self._lock = RLock()
        self._depth = 0
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise _explained(error, path) from error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Ends all use; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def create(self, *statements: str) -> None:
        """Makes the tables and indexes of one room: `CREATE … IF NOT EXISTS …`, harmless when repeated."""
        for statement in statements:
            self.execute(statement)

    def query(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """All rows of a SELECT, or of a statement with RETURNING."""
        with self._lock:
            try:
                return self._connection.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                raise _explained(error, self.path) from error

    def execute(self, sql: str, *params: object) -> None:
        """One statement; a transaction of its own outside `transaction`."""
        with self._lock:
            try:
                self._connection.execute(sql, params)
            except sqlite3.Error as error:
                raise _explained(error, self.path) from error

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """One statement for each row, all in one transaction."""
        with self.transaction():
            try:
                self._connection.executemany(sql, rows)
            except sqlite3.Error as error:
                raise _explained(error, self.path) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is executed inside takes effect together, or not at all if the block raises.

        Takes the write lock at once, so that what is read inside can not change before it is written. A transaction
        inside a transaction is part of the outer one.
        """
        with self._lock:
            if self._depth == 0:
                self.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0 and self._connection.in_transaction:
                    self.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise _explained(error, self.path) from error

    def _prepare(self) -> None:
        """Switches to WAL and checks the format. Two processes that meet here are told `locked` at once, without
        SQLite's usual wait, because switching the journal needs the file alone."""
        give_up = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                (found,) = self._connection.execute("PRAGMA user_version").fetchone()
                if found == 0:
                    self._connection.execute(f"PRAGMA user_version={_FORMAT}")
                break
            except sqlite3.Error as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise _explained(error, self.path) from error
                time.sleep(0.01)
        if found > _FORMAT:
            raise EngineError(
                f"state database {self.path} has format {found}, this bakepy reads up to {_FORMAT}",
                hint="use a newer bakepy, or another state root (--root)",
            )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 when the error is not from SQLite itself (a closed connection)."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explained(error: sqlite3.Error, path: Path) -> EngineError:
    hints = {
        sqlite3.SQLITE_BUSY: "another bakepy has held it for too long; is one stopped or being debugged?",
        sqlite3.SQLITE_READONLY: "the state root must be writable; choose another with --root or BAKEPY_ROOT",
        sqlite3.SQLITE_CANTOPEN: "the state root must be a writable folder; choose another with --root or BAKEPY_ROOT",
        sqlite3.SQLITE_PERM: "the state root must be writable; choose another with --root or BAKEPY_ROOT",
        sqlite3.SQLITE_FULL: "free some space on the disk of the state root",
        sqlite3.SQLITE_IOERR: "check the disk of the state root",
    }
    is_folder = _code(error) == sqlite3.SQLITE_CANTOPEN and path.is_dir()
    if is_folder or _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        with suppress(OSError):
            damage_mark(path).touch()
        return DamagedDatabase(
            f"state database {path}: {error}", hint="run again: it is put aside then, and a new one is begun"
        )
    return EngineError(f"state database {path}: {error}", hint=hints.get(_code(error), ""))
