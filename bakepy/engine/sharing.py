"""What targets say about their steps, by step: pools, memory, second tries. A step of several targets gets the
strictest of what they say: the pools of all, the most memory, the most attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast

import anyio

from bakepy.errors import ProcessError, RegistryError
from bakepy.llb.graph import Vertex
from bakepy.llb.op import ExecOp
from bakepy.model.digest import Digest
from bakepy.model.target import EXIT, NETWORK, Retry, Target
from bakepy.solver.vertex import Share, SolverVertex, postponed

LONGEST_PAUSE = 60.0
"""Seconds; the pause before another attempt doubles each time up to this."""

T = TypeVar("T")


class Sharing:
    """For the steps of one plan. `users` names the targets that need each step."""

    def __init__(self, targets: Iterable[Target], users: Mapping[Digest, tuple[str, ...]]) -> None:
        self._targets = {target.name: target for target in targets if target.pools or target.memory or target.retry}
        self._users = users
        self._shares: dict[tuple[str, ...], Share] = {}

    def share(self, vertex: SolverVertex) -> Share:
        """What a step takes while it runs: of pools and memory only those of processes do."""
        if not self._targets or not isinstance(cast(Vertex, vertex).op, ExecOp):
            return _NOTHING
        names = self._users.get(vertex.digest, ())
        if names not in self._shares:
            targets = self._those(names)
            pools = dict.fromkeys(pool for target in targets for pool in target.pools)
            memory = max((target.memory or 0 for target in targets), default=0)
            self._shares[names] = Share(tuple(pools), memory)
        return self._shares[names]

    def retry(self, vertex: SolverVertex, error: Exception, failures: int) -> float | None:
        """Seconds after which a step that failed is tried again; None: it is not."""
        targets = self._those(self._users.get(vertex.digest, ()))
        return pause_after((target.retry for target in targets), error, failures)

    def _those(self, names: Iterable[str]) -> list[Target]:
        return [self._targets[name] for name in names if name in self._targets]


_NOTHING = Share()


def pause_after(retries: Iterable[Retry | None], error: Exception, failures: int) -> float | None:
    """Seconds until what has failed so often is tried again, if one of `retries` says so."""
    willing = [retry for retry in retries if retry and failures < retry.attempts and _is_worth_it(retry, error)]
    pauses = (retry.backoff * 2 ** min(failures - 1, 30) for retry in willing)
    return min((float(min(pause, LONGEST_PAUSE)) for pause in pauses), default=None)


def _is_worth_it(retry: Retry, error: Exception) -> bool:
    if isinstance(error, ProcessError):
        return EXIT in retry.on or error.status in retry.on
    if NETWORK not in retry.on:
        return False
    # only where something failed: start-up time
    from bakepy.registry.transport import Refused
    from bakepy.source.gitcommand import GitFailed

    return isinstance(error, RegistryError | GitFailed) and not isinstance(error, Refused)


async def tried(
    retries: Sequence[Retry | None], work: Callable[[], Awaitable[T]], told: Callable[[str], None] = lambda line: None
) -> T:
    """Does something outside of the solver as often as the most patient of `retries` says. Raises what it raises the
    last time; why there is another time is `told`."""
    failures = 0
    while True:
        try:
            return await work()
        except Exception as error:
            failures += 1
            pause = pause_after(retries, error, failures)
            if pause is None:
                raise
            told(postponed(error, failures, pause))
        await anyio.sleep(pause)
