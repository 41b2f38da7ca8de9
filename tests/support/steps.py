"""Runs exec ops on a busybox image, and tells what came of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from bakepy.llb.op import NONE, ExecOp, LinuxResources, Meta, Mount
from bakepy.model.platform import Platform, host_platform
from bakepy.worker.context import ExecContext, open_exec_context
from bakepy.worker.exec import run_exec
from bakepy.worker.ref import Ref, TreeRef
from tests.support.snapshots import Snapshots, open_snapshots
from tests.support.trees import busybox_root


@dataclass
class Lent:
    """Secrets and agents from dicts."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    sockets: dict[str, Path] = field(default_factory=dict)

    def get(self, id: str) -> bytes | None:
        return self.secrets.get(id)

    def socket(self, id: str) -> Path | None:
        return self.sockets.get(id)


@dataclass(frozen=True)
class Ran:
    """What a step gave: its outputs, what it printed, and the layer of its first output."""

    refs: Sequence[Ref]
    out: str
    err: str
    layer: list[str]


@dataclass
class Steps:
    machine: Snapshots
    context: ExecContext
    lent: Lent
    _numbers: Iterator[int] = field(default_factory=count)

    BASE = TreeRef("base", "base")

    async def run(
        self,
        command: str | Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        inputs: Sequence[Ref] = (),
        on: Ref | None = None,
        meta: dict[str, Any] | None = None,
        platform: Platform | None = None,
        resources: LinuxResources | None = None,
        entitlements: frozenset[str] = frozenset(),
        log: list[tuple[int, bytes]] | None = None,
        id: str = "",
        **options: Any,
    ) -> Ran:
        """A `RUN` on `on` (the busybox image). Mounts name their inputs from 1, which is `inputs[0]`."""
        args = ("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command)
        op = ExecOp(
            Meta(args=args, remove_mount_stubs_recursive=True, **(meta or {})),
            (Mount("/", 0, output=0), *mounts),
            **options,
        )
        printed: list[tuple[int, bytes]] = [] if log is None else log
        refs = await run_exec(
            op,
            (on or self.BASE, *inputs),
            id or f"step {next(self._numbers)}",
            context=replace(self.context, entitlements=entitlements),
            platform=platform or host_platform(),
            log=lambda stream, data: printed.append((stream, data)),
            resources=resources,
        )
        first = refs[0]
        assert isinstance(first, TreeRef) and first.snapshot is not None
        return Ran(refs, _text(printed, 1), _text(printed, 2), self.machine.changes(first.snapshot))


def _text(printed: Sequence[tuple[int, bytes]], wanted: int) -> str:
    return b"".join(data for stream, data in printed if stream == wanted).decode()


def bind(dest: str, input: int = NONE, **options: Any) -> Mount:
    """A bind mount without an output, read-only unless told otherwise."""
    return Mount(dest, input, output=NONE, readonly=options.pop("readonly", True), **options)


@contextmanager
def open_steps(root: Path, runtime: str = "") -> Iterator[Steps]:
    """`runtime`: the program to use; empty: as users get it."""
    environment = dict(os.environ) | ({"BAKEPY_RUNTIME": runtime} if runtime else {})
    with open_snapshots(root) as machine:
        active = machine.store.open_active(None)
        busybox_root(active.path)
        active.commit_now("base")
        lent = Lent()
        with open_exec_context(
            root, machine.store, host=host_platform(), secrets=lent, ssh=lent, environment=environment
        ) as context:
            yield Steps(machine, context, lent)
