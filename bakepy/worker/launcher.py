"""Runtime processes that are there before there is work for them.

Half of the time that a short step takes would be spent on starting the runtime program and on moving it into a cgroup,
where the kernel waits for all processors to pass by. A thread moves itself once instead, and what it starts is there
already; while one step runs, it starts the program for the next one. Measured in docs/decisions/launcher.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bakepy.errors import EngineError
from bakepy.snapshot.tree import remove_tree
from bakepy.worker.cgroups import SharedCgroup
from bakepy.worker.runtime import ContainerProcess, Runtime


class Launcher:
    """Starts the containers of one run. Methods block and may be called from any thread; close it when no step runs."""

    def __init__(
        self,
        runtime: Runtime,
        volatile: Path,
        new_id: Callable[[], str],
        shared: SharedCgroup | None,
        besides: Callable[[], None] = lambda: None,
    ) -> None:
        """Bundles are folders of `volatile`, named by `new_id`. Containers that need none of their own are in the
        cgroup `shared`. `besides` is what else can be made for a step before it is known."""
        self.shared = shared
        self._besides = besides
        self._runtime = runtime
        self._volatile = volatile
        self._new_id = new_id
        self._lock = threading.Lock()
        self._next: Future[ContainerProcess] | None = None
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="launcher")
        self._inside = False
        """Whether that one thread is in the shared cgroup."""

    def claim(self, *, own_cgroup: bool) -> Future[ContainerProcess]:
        """A process that waits for its configuration, or soon will: one that is being started is not waited for here.
        The caller `end`s it. Raises EngineError, here or as the result, if the runtime can not be started."""
        if not own_cgroup or self.shared is None:
            with self._lock:
                prepared, self._next = self._next, None
            if prepared is not None:
                return prepared
            if self.shared is not None:
                return self._ahead.submit(self._make, own_cgroup=False)
        made: Future[ContainerProcess] = Future()
        made.set_result(self._make(own_cgroup=own_cgroup))
        return made

    def prepare(self) -> None:
        """Begins to start the process of the step after this one; waits for nothing."""
        if not self._runtime.waits:
            return
        with self._lock:
            if self._next is None:
                self._next = self._ahead.submit(self._make_ahead)

    def drop(self) -> None:
        """Ends the process that waits, if there is one."""
        with self._lock:
            prepared, self._next = self._next, None
        if prepared is not None:
            end(prepared)

    def close(self) -> None:
        self.drop()
        self._ahead.shutdown()
        if self.shared is not None:
            self.shared.remove()

    def _make_ahead(self) -> ContainerProcess:
        self._besides()
        return self._make(own_cgroup=False)

    def _make(self, *, own_cgroup: bool) -> ContainerProcess:
        inherits = self.shared is not None and not own_cgroup
        if inherits and not self._inside:
            self._enter()
        id = self._new_id()
        bundle = self._volatile / id
        bundle.mkdir(mode=0o700)
        return ContainerProcess(self._runtime, self._volatile / "state", bundle, id, inherits_cgroup=inherits)

    def _enter(self) -> None:
        """Brings the thread of `_ahead`, which calls this, into the shared cgroup."""
        assert self.shared is not None
        try:
            self.shared.enter()
        except OSError as error:
            raise EngineError(f"a container can not enter the cgroup {self.shared.folder}: {error}") from error
        self._inside = True


def end(claimed: Future[ContainerProcess]) -> None:
    """Ends a process, if it has not ended, and removes its bundle. Blocks."""
    try:
        process = claimed.result()
    except (EngineError, OSError):
        return  # it could not be started: who waits for it is told
    process.abandon()
    remove_tree(process.bundle)
