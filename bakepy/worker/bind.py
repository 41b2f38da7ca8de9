"""From LLB ops to solver ops: what makes each op what it is, and who does its work.

What their keys are made of is in `execkey` and `file/keys`.

What runs processes, and far sources, are imported when the first one is needed: a run that finds everything needs none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from bakepy.content.database import Database
from bakepy.errors import BakeError, BuildError, EngineError, disk_hint
from bakepy.llb import wire
from bakepy.llb.graph import Vertex
from bakepy.llb.op import (
    NONE,
    CopyAction,
    DiffOp,
    ExecOp,
    FileAction,
    FileOp,
    MergeOp,
    SourceOp,
)
from bakepy.model.digest import Digest
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass
from bakepy.snapshot.contenthash import Selection
from bakepy.snapshot.store import SnapshotStore
from bakepy.solver.vertex import CacheMap, Dependency, Log, SolverOp
from bakepy.source.image import ImageSource, layers_to_snapshot
from bakepy.source.lent import NOTHING, Lent
from bakepy.source.local import LocalSource, LocalTree
from bakepy.source.remote import RemoteSources
from bakepy.worker.execkey import exec_identity, mounted
from bakepy.worker.file.keys import content_digest, file_key
from bakepy.worker.ref import LocalRef, Ref, TreeRef

if TYPE_CHECKING:
    from bakepy.worker.context import ExecContext

EXEC, NETWORK, BYTES = "exec", "network", "bytes"
"""The pools: processes, transfers, work on files."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Everything that ops work with, for one run.

    `locals` tells the folder behind each `local://` name. `exec_context` is asked when a process is to be run for a
    vertex: what it is lent may differ between vertices. `pulled_for` is told the vertex of the image that has a layer.
    `lent` tells what servers of a source may be shown.
    """

    snapshots: SnapshotStore
    database: Database
    images: ImageSource
    local: LocalSource
    remote: RemoteSources
    locals: Mapping[str, Path]
    host: Platform
    exec_context: Callable[[Vertex], Awaitable[ExecContext]]
    pulled_for: MutableMapping[Digest, Digest] = field(default_factory=dict)
    lent: Callable[[Vertex], Lent] = lambda vertex: NOTHING


class Binder:
    """Makes solver ops for the vertices of one run."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def op_of(self, vertex: Vertex) -> SolverOp[Ref]:
        """Raises EngineError for a source that this engine can not read."""
        workshop, op = self._workshop, vertex.op
        match op:
            case ExecOp():
                return _Exec(vertex, op, workshop)
            case FileOp():
                return _File(vertex, op, workshop)
            case MergeOp():
                return _Merge(vertex, op, workshop)
            case DiffOp():
                return _Diff(vertex, op, workshop)
            case SourceOp() if op.scheme in ("docker-image", "oci-layout"):
                return _Image(vertex, op, workshop)
            case SourceOp() if op.scheme == "local":
                return _Local(op, workshop)
            case SourceOp() if op.scheme == "git":
                return _Git(vertex, op, workshop)
            case SourceOp() if op.scheme in ("http", "https"):
                return _Http(vertex, op, workshop)
        where = vertex.locations[0][0] if vertex.locations and vertex.locations[0] else None
        raise EngineError(
            f"the embedded engine does not read '{op.scheme}' sources: {op.identifier}",
            where=where,
            hint="images, OCI layouts, local folders, git repositories and web addresses work",
        )

    async def snapshot_of(self, ref: Ref) -> str | None:
        """The snapshot of a head's result, for the exporter. A local folder is copied into one."""
        if isinstance(ref, TreeRef):
            return ref.snapshot
        whole = CopyAction("/", "/", follow_symlink=True, dir_copy_contents=True, create_dest_path=True)
        op = FileOp((FileAction(whole, input=NONE, secondary_input=0),))
        from bakepy.worker.file.run import run_file

        (copied,) = await run_file(op, [ref], f"{ref.id}:copied", snapshots=self._workshop.snapshots)
        return copied.snapshot


class _Source:
    """An op without inputs, which has to look at the world to know what it is."""

    known_map: CacheMap[Ref] | None = None


class _Known:
    """An op whose key needs no look at the world."""

    def __init__(self, map: CacheMap[Ref]) -> None:
        self.known_map: CacheMap[Ref] | None = map
        self._map = map

    async def cache_map(self) -> CacheMap[Ref]:
        return self._map


class _Image(_Source):
    """An image: its key is the chain of its layers' contents, so equal images under two names are one."""

    pool = NETWORK

    def __init__(self, vertex: Vertex, op: SourceOp, workshop: Workshop) -> None:
        self._op = op
        self._vertex = vertex.digest
        self._platform = vertex.platform or workshop.host
        self._workshop = workshop

    async def cache_map(self) -> CacheMap[Ref]:
        image = await self._workshop.images.resolve(self._op.identifier, self._platform, self._op.attrs)
        for layer in image.layers:
            self._workshop.pulled_for.setdefault(layer.descriptor.digest, self._vertex)
        return CacheMap(_key("image", image.key()))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        image = await self._workshop.images.resolve(self._op.identifier, self._platform, self._op.attrs)
        return [TreeRef(result_id, await layers_to_snapshot(image, self._workshop.snapshots))]


class _Local(_Source):
    """A folder of the user; its key is the content of what its filters leave."""

    pool = BYTES

    def __init__(self, op: SourceOp, workshop: Workshop) -> None:
        self._op = op
        self._workshop = workshop
        self._tree: LocalTree | None = None

    async def cache_map(self) -> CacheMap[Ref]:
        name, attrs = self._op.identifier.partition("://")[2], self._op.attrs
        root = self._workshop.locals.get(name)
        if root is None:
            raise BuildError(f"there is no local folder '{name}'")
        self._tree = await self._workshop.local.open(
            root,
            include=json.loads(attrs.get("local.includepattern", "[]")),
            exclude=json.loads(attrs.get("local.excludepatterns", "[]")),
            follow=json.loads(attrs.get("local.followpaths", "[]")),
        )
        return CacheMap(_key("local", await self._tree.digest()))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        assert self._tree is not None
        return [LocalRef(result_id, self._tree)]


class _Git(_Source):
    """A git repository; its key is the commit, whatever it is called and wherever it is."""

    pool = NETWORK

    def __init__(self, vertex: Vertex, op: SourceOp, workshop: Workshop) -> None:
        self._op = op
        self._lent = workshop.lent(vertex)
        self._workshop = workshop

    async def cache_map(self) -> CacheMap[Ref]:
        from bakepy.source.gitrequest import GitRequest

        git, request = self._workshop.remote.git, GitRequest.of(self._op)
        return CacheMap(_key("git", git.key(request, await git.resolve(request, self._lent))))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        from bakepy.source.gitrequest import GitRequest

        request = GitRequest.of(self._op)
        await self._workshop.remote.git.place(request, result_id, self._workshop.snapshots, self._lent)
        return [TreeRef(result_id, result_id)]


class _Http(_Source):
    """A file from the web; its key is its content, name, mode and time."""

    pool = NETWORK

    def __init__(self, vertex: Vertex, op: SourceOp, workshop: Workshop) -> None:
        self._op = op
        self._lent = workshop.lent(vertex)
        self._workshop = workshop

    async def cache_map(self) -> CacheMap[Ref]:
        from bakepy.source.http import HttpRequest

        return CacheMap(_key("http", await self._workshop.remote.http.key(HttpRequest.of(self._op), self._lent)))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        from bakepy.source.http import HttpRequest

        request = HttpRequest.of(self._op)
        await self._workshop.remote.http.place(request, result_id, self._workshop.snapshots, self._lent)
        return [TreeRef(result_id, result_id)]


class _Exec(_Known):
    """A process. Read-only and unwritten mounts count by content, so that a changed file beside what is mounted
    changes nothing; the root counts as a whole."""

    pool = EXEC

    def __init__(self, vertex: Vertex, op: ExecOp, workshop: Workshop) -> None:
        self._vertex = vertex
        self._op = op
        self._platform = vertex.platform or workshop.host
        self._workshop = workshop
        body = wire.op_body(exec_identity(op))
        dependencies = tuple(
            Dependency(read) if isinstance(read, str) else _by_content(read, workshop)
            for read in mounted(op, len(vertex.inputs))
        )
        super().__init__(CacheMap(_key("exec", str(self._platform), body), dependencies))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        context = await self._workshop.exec_context(self._vertex)
        from bakepy.worker.exec import run_exec  # while the first runtime process starts

        resources = self._vertex.metadata.linux_resources
        return await run_exec(
            self._op, inputs, result_id, context=context, platform=self._platform, log=log, resources=resources
        )


class _File(_Known):
    """File actions. What is copied from counts by the content of what is taken, what is changed as a whole."""

    pool = BYTES

    def __init__(self, vertex: Vertex, op: FileOp, workshop: Workshop) -> None:
        self._op = op
        self._snapshots = workshop.snapshots
        found = file_key(op, len(vertex.inputs))
        dependencies = tuple(
            _by_content(found.selections[number], workshop) if number in found.selections else Dependency()
            for number in range(len(vertex.inputs))
        )
        super().__init__(CacheMap(found.key, dependencies))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        from bakepy.worker.file.run import run_file

        return await run_file(self._op, inputs, result_id, snapshots=self._snapshots)


class _Merge(_Known):
    """Trees laid over each other."""

    pool = BYTES

    def __init__(self, vertex: Vertex, op: MergeOp, workshop: Workshop) -> None:
        self._op = op
        self._snapshots = workshop.snapshots
        super().__init__(CacheMap(_key("merge", wire.op_body(op))))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        from bakepy.worker.merge import run_merge

        return await run_merge(self._op, inputs, result_id, snapshots=self._snapshots)


class _Diff(_Known):
    """What one tree has more or less than another."""

    pool = BYTES

    def __init__(self, vertex: Vertex, op: DiffOp, workshop: Workshop) -> None:
        self._op = op
        self._snapshots = workshop.snapshots
        super().__init__(CacheMap(_key("diff", wire.op_body(op))))

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        from bakepy.worker.merge import run_diff

        return await run_diff(self._op, inputs, result_id, snapshots=self._snapshots)


def _by_content(selections: tuple[Selection, ...], workshop: Workshop) -> Dependency[Ref]:
    async def digest(ref: Ref) -> str:
        return await content_digest(ref, selections, snapshots=workshop.snapshots, database=workshop.database)

    return Dependency("\n".join(selection.key for selection in selections), digest)


def _key(kind: str, *parts: str | bytes) -> str:
    """A digest over the parts, each with its length, so that no two lists of parts give the same bytes."""
    total = hashlib.sha256(kind.encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(b"%d:" % len(data))
        total.update(data)
    return f"{kind}:{total.hexdigest()}"


def located(error: Exception, vertex: Vertex) -> BakeError:
    """What is told of a failed vertex: the error with the place in the Dockerfile. Raises `error` if it is a bug."""
    if isinstance(error, OSError) and error.errno is not None:
        # not foreseen where it came up: the machine refuses something, or state was taken away
        name = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        told = EngineError(f"{os.strerror(error.errno).lower()}{name}", hint=disk_hint(error.errno))
        told.__cause__ = error
        error = told
    if not isinstance(error, BakeError):
        raise error
    if error.where is None and vertex.locations and vertex.locations[0]:
        error.where = vertex.locations[0][0]
    return error
