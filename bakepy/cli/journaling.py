"""Keeps the journal of a run, and leaves out what the run that it goes on with has exported already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from bakepy.cli import kept, terminal
from bakepy.engine.protocol import SUCCEEDED, Export
from bakepy.events import Event, TargetDone
from bakepy.exporter.result import Exported, TargetResult
from bakepy.progress.journal import Journal

if TYPE_CHECKING:
    from bakepy.cli.resume import Request


class Journaling:
    """For one run; a context manager. A journal that can not be written costs a warning, not the run."""

    def __init__(self, root: Path, directory: Path, request: Request | None, targets: Iterable[str]) -> None:
        """Begins nothing if there is no `request`."""
        self._directory = directory
        self._earlier: Mapping[str, Mapping[str, Any]] = {}
        self._journal: Journal | None = None
        if request is None:
            return
        earlier = request.earlier
        names = list(targets)
        if earlier is not None:
            self._earlier = earlier.ended
            names = [*dict.fromkeys([*earlier.targets, *names])]
        try:
            self._journal = Journal(root)
            self._journal.begin(
                directory=directory,
                request=request.options,
                withheld=request.withheld,
                targets=names,
                began=earlier.began if earlier is not None else None,
            )
            for record in self._earlier.values():
                if record.get("outcome") == SUCCEEDED:
                    self._journal.carry(record)
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Journaling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.__exit__(kind, error, traceback)

    def __call__(self, event: Event) -> None:
        """Listens: how targets end that do not succeed."""
        if isinstance(event, TargetDone) and event.outcome != SUCCEEDED:
            self._note(event.target, event.outcome, error=event.message)

    def around(self, export: Export) -> Export:
        """Exports a target, unless that was done by the earlier run and is still as it left it."""

        async def exported(result: TargetResult) -> Exported:
            earlier = self._earlier.get(result.name)
            if earlier is not None and earlier.get("outcome") == SUCCEEDED:
                found = await anyio.to_thread.run_sync(kept.still_there, earlier, result, self._directory)
                if found is not None:
                    return found
            done = await export(result)
            if self._journal is not None:
                facts = await anyio.to_thread.run_sync(kept.record_of, result, done, self._directory)
                self._note(result.name, SUCCEEDED, **facts)
            return done

        return exported

    def published(self, names: Sequence[str]) -> None:
        if self._journal is not None and names:
            try:
                self._journal.published(names)
            except OSError as error:
                self._give_up(error)

    def end(self, status: int) -> None:
        if self._journal is not None:
            try:
                self._journal.end(status)
            except OSError as error:
                self._give_up(error)

    def _note(self, target: str, outcome: str, **facts: Any) -> None:
        if self._journal is not None:
            try:
                self._journal.target(target, outcome, **facts)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self._journal is not None:
            self._journal.__exit__(None, None, None)
            self._journal = None
        terminal.warn(f"the journal can not be written ({error.strerror}): this run can not be gone on with")
