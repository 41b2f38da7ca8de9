"""The journal of a run: a file that only grows, one JSON object a line, by which a run that broke off is gone on with.

ROOT/runs/ID.jsonl; the ids sort by time. Each line is written by one system call, so a kill cuts at most the last one,
which a reader then passes over. While its run lasts the file is locked (flock(2)). The lines: docs/journal.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import Any

from bakepy.model.value import dataclass

VERSION = 1
KEPT = 100
"""So many journals stay; older ones are removed when a run begins."""
SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class Past:
    """What a journal tells of its run. `request` are the options of the command as it was given, `began` is when the
    work began that it goes on with (seconds since the epoch), `targets` what was asked for, `ended` the last record of
    each target that came to an end. `status` None: it was killed, or is `alive`."""

    id: str
    directory: str
    request: Mapping[str, Any]
    withheld: tuple[str, ...]
    began: float
    targets: tuple[str, ...]
    ended: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    status: int | None = None
    alive: bool = False

    @property
    def succeeded(self) -> frozenset[str]:
        return frozenset(name for name, record in self.ended.items() if record.get("outcome") == SUCCEEDED)


class Journal:
    """The journal of this run; a context manager. Writing raises OSError."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        """Begins a file, and removes the oldest of those that are there."""
        self._clock = clock
        folder = root / "runs"
        folder.mkdir(exist_ok=True)
        now = clock()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{int(now % 1 * 1000):03}"
        self.id = f"{stamp}-{os.urandom(3).hex()}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(folder / f"{self.id}.jsonl", flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _prune(folder)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)

    def begin(
        self,
        *,
        directory: Path,
        request: Mapping[str, Any],
        withheld: Sequence[str] = (),
        targets: Sequence[str] = (),
        began: float | None = None,
    ) -> None:
        now = self._clock()
        self._write(
            "run",
            now,
            version=VERSION,
            id=self.id,
            directory=str(directory),
            request=dict(request),
            withheld=list(withheld),
            targets=list(targets),
            began=now if began is None else began,
        )

    def target(self, name: str, outcome: str, **facts: Any) -> None:
        """A target came to an end; the last such line of a target counts."""
        self._write("target", self._clock(), target=name, outcome=outcome, **facts)

    def carry(self, record: Mapping[str, Any]) -> None:
        """What an earlier journal says of a target holds in this one, too."""
        self._write("target", self._clock(), **{key: value for key, value in record.items() if key not in _HEAD})

    def published(self, names: Sequence[str]) -> None:
        """These tags point to new images now."""
        self._write("published", self._clock(), names=list(names))

    def end(self, status: int) -> None:
        self._write("end", self._clock(), status=status)

    def _write(self, kind: str, now: float, **facts: Any) -> None:
        line = json.dumps({"kind": kind, "time": round(now, 3), **facts}, ensure_ascii=False, separators=(",", ":"))
        data = line.encode("utf-8", "surrogateescape") + b"\n"
        while data:  # where there is no room for all of it the first write tells no error
            data = data[os.write(self._file, data) :]


_HEAD = frozenset({"kind", "time"})


def last(root: Path, directory: Path) -> Past | None:
    """The run that began last in `directory`; None if none is known."""
    for path in sorted((root / "runs").glob("*.jsonl"), reverse=True):
        past = read(path)
        if past is not None and past.directory == str(directory):
            return past
    return None


def read(path: Path) -> Past | None:
    """What a journal tells; None if it does not even tell what was asked for, or is of another version."""
    head: Mapping[str, Any] | None = None
    ended: dict[str, Mapping[str, Any]] = {}
    status: int | None = None
    try:
        with path.open("rb") as file:
            alive = _is_locked(file.fileno())
            for record in _records(file.read()):
                kind = record.get("kind")
                if kind == "run" and record.get("version") == VERSION:
                    head = record
                elif kind == "target":
                    ended[str(record.get("target"))] = record
                elif kind == "end":
                    status = int(record["status"])
    except FileNotFoundError:
        return None  # it was too old
    if head is None:
        return None
    return Past(
        id=str(head["id"]),
        directory=str(head["directory"]),
        request=head["request"],
        withheld=tuple(head["withheld"]),
        began=float(head["began"]),
        targets=tuple(head["targets"]),
        ended=ended,
        status=status,
        alive=alive,
    )


def _records(data: bytes) -> Iterator[dict[str, Any]]:
    """The lines that are whole."""
    *lines, _cut = data.split(b"\n")
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _prune(folder: Path) -> None:
    """Removes the oldest journals, but none whose run is still going on."""
    for path in sorted(folder.glob("*.jsonl"), reverse=True)[KEPT:]:
        with contextlib.suppress(OSError), path.open("rb") as file:
            if not _is_locked(file.fileno()):
                path.unlink()
