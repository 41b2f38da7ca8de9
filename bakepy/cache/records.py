"""Cache records in the state database. Results are text that only their `ResultStore` understands.

Two kinds of keys point to a record: the exact key (what it was made of) and any number of definition keys (how it was
asked for). A record is written when its result is there for good, in one transaction with its keys.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio.to_thread

from bakepy.cache.locks import HeldLock, KeyLocks
from bakepy.content.database import Database
from bakepy.solver.vertex import Miss, Record, Step

_TABLES = (
    """CREATE TABLE IF NOT EXISTS records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        results TEXT NOT NULL,
        created REAL NOT NULL,
        used REAL NOT NULL,
        cost REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS keys (
        key TEXT PRIMARY KEY,
        record INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS keys_of_record ON keys (record)",
    """CREATE TABLE IF NOT EXISTS steps (
        key TEXT PRIMARY KEY,
        op TEXT NOT NULL,
        name TEXT NOT NULL,
        parts TEXT NOT NULL,
        made REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS steps_of_op ON steps (op, made)",
    "CREATE TABLE IF NOT EXISTS durations (op TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID",
)
_USE_SECONDS = 3600.0
"""How exact the time of the last use is. A run that uses what was used within this time writes nothing."""
_COMPARED = 50
"""How many earlier outcomes of one op are looked at to explain a miss."""


class CacheRecords:
    """The records of one state root, for one run; other runs and processes have their own on the same database.

    Implements `solver.vertex.CacheStore`. Raises EngineError when the database can not be read or written.
    """

    def __init__(self, database: Database, locks: KeyLocks, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._locks = locks
        self._clock = clock
        self._used: set[int] = set()
        self._links: dict[str, int] = {}
        database.create(*_TABLES)

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The records of those keys that have one; one query, whatever their number."""
        rows = self._database.query(
            "SELECT k.key, r.id, r.results, r.cost, r.used, r.created FROM json_each(?) AS wanted"
            " CROSS JOIN keys AS k ON k.key = wanted.value CROSS JOIN records AS r ON r.id = k.record",
            json.dumps(keys),
        )
        old = self._clock() - _USE_SECONDS
        self._used.update(id for _, id, _, _, used, _ in rows if used < old)
        return {
            key: Record(id, tuple(json.loads(results)), cost, created) for key, id, results, cost, _, created in rows
        }

    async def save(self, keys: Sequence[str], results: Sequence[str], cost: float, step: Step) -> Record:
        """Makes a record; what the keys pointed to before is no longer found by them."""
        now, exact = self._clock(), keys[0]
        text = json.dumps(list(results))

        def write() -> int:
            with self._database.transaction():
                ((id,),) = self._database.query(
                    "INSERT INTO records (results, created, used, cost) VALUES (?, ?, ?, ?) RETURNING id",
                    text, now, now, cost,
                )  # fmt: skip
                self._database.execute_many("INSERT OR REPLACE INTO keys VALUES (?, ?)", [(key, id) for key in keys])
                self._database.execute(
                    "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?)",
                    exact, step.op, step.name, json.dumps(step.parts), now,
                )  # fmt: skip
                self._database.execute("INSERT OR REPLACE INTO durations VALUES (?, ?)", step.op, cost)
                return int(id)

        return Record(await anyio.to_thread.run_sync(write), tuple(results), cost, now)

    def link(self, key: str, record: Record) -> None:
        """Remembered until `flush`."""
        self._links[key] = record.id

    def flush(self) -> None:
        """Writes new links, and when records were used last."""
        links, self._links = self._links, {}
        used, self._used = self._used, set()
        if not links and not used:
            return
        with self._database.transaction():
            self._database.execute_many(
                "INSERT OR REPLACE INTO keys SELECT ?, id FROM records WHERE id = ?", list(links.items())
            )
            now = self._clock()
            self._database.execute_many("UPDATE records SET used = ? WHERE id = ?", [(now, id) for id in sorted(used)])

    def forget(self, record: Record) -> None:
        """Removes a record and all its keys. The step stays: it tells a later miss that this was done once."""
        with self._database.transaction():
            self._database.execute("DELETE FROM keys WHERE record = ?", record.id)
            self._database.execute("DELETE FROM records WHERE id = ?", record.id)

    def durations(self, ops: Iterable[str]) -> Mapping[str, float]:
        return dict(
            self._database.query(
                "SELECT op, seconds FROM json_each(?) AS wanted CROSS JOIN durations ON op = wanted.value",
                json.dumps(list(ops)),
            )
        )

    def explain(self, key: str, step: Step) -> Miss:
        """Compares with the earlier outcome of the same op that has most inputs in common, the latest of them."""
        if self._database.query("SELECT 1 FROM steps WHERE key = ?", key):
            return Miss("gone")
        rows = self._database.query(
            "SELECT parts FROM steps WHERE op = ? ORDER BY made DESC LIMIT ?", step.op, _COMPARED
        )
        best: tuple[int, ...] | None = None
        for (text,) in rows:
            parts = json.loads(text)
            changed = tuple(
                i for i, (mine, theirs) in enumerate(zip(step.parts, parts, strict=False)) if mine != theirs
            )
            if best is None or len(changed) < len(best):
                best = changed
        return Miss("definition") if best is None else Miss("input", best)

    def try_lock(self, key: str) -> HeldLock | None:
        return self._locks.try_lock(key)
