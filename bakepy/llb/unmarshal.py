"""A definition's bytes back to vertices, through the code generated from `proto/ops.proto`.

Imported only where definitions from outside are read: protobuf costs start-up time. Digests are those of the bytes as
they came, so nothing is lost by reading an op that holds fields unknown here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from bakepy.errors import BakeError
from bakepy.llb import op as o
from bakepy.llb.definition import Definition
from bakepy.llb.graph import Edge, Vertex, VertexForm, always
from bakepy.llb.pb import ops_pb2
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import Position, SourceFile, SourceRange
from bakepy.model.platform import Platform

pb: Any = ops_pb2
"""Its messages are made when it is imported, so no type checker sees them."""


def unmarshal(data: bytes) -> Definition:
    """The definition that `data` (a `pb.Definition`) holds; empty bytes are an empty one. Raises BakeError."""
    message: Any = pb.Definition()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise BakeError(f"not an LLB definition: {error}") from error
    places = _places(message.Source)
    vertices: list[Vertex] = []
    known: set[Digest] = set()
    for raw in getattr(message, "def"):
        op, inputs, platform = read_op(raw)
        if op is None:
            return _closed(vertices, inputs, known)
        digest = Digest.of(raw)
        if any(edge.vertex not in known for edge in inputs):
            raise BakeError(f"the LLB definition is not in order: an input of {digest} comes after it")
        known.add(digest)
        metadata = message.metadata.get(digest)
        form = VertexForm(
            always(op),
            platform,
            _metadata(metadata) if metadata is not None else o.OpMetadata(),
            visits_of(op, inputs),
            places.get(digest, ()),
        )
        vertices.append(Vertex(digest, inputs, raw, form))
    if vertices:
        raise BakeError("the LLB definition has no closing op")
    return Definition((), None)


def _closed(vertices: list[Vertex], inputs: tuple[Edge, ...], known: set[Digest]) -> Definition:
    if len(inputs) != 1 or inputs[0].vertex not in known:
        raise BakeError("the closing op of the LLB definition names no result")
    return Definition(tuple(vertices), inputs[0])


def visits_of(op: o.Op, inputs: tuple[Edge, ...]) -> tuple[int, ...]:
    """The order in which a definition walks the inputs: those of a file op from the last action to the first."""
    if not isinstance(op, o.FileOp):
        return tuple(range(len(inputs)))
    found: dict[int, None] = {}
    base = op.actions[0].input if op.actions else o.NONE
    for action in reversed(op.actions):
        for index in (base, action.secondary_input):
            if 0 <= index < len(inputs):
                found[index] = None
    found.update(dict.fromkeys(range(len(inputs))))
    return tuple(found)


def read_op(data: bytes) -> tuple[o.Op | None, tuple[Edge, ...], Platform | None]:
    """One marshalled op with its inputs and platform; None for the closing op. Raises BakeError."""
    message: Any = pb.Op()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise BakeError(f"not an LLB op: {error}") from error
    inputs = tuple(Edge(Digest.parse(edge.digest), edge.index) for edge in message.inputs)
    platform = _platform(message.platform) if message.HasField("platform") else None
    kind = message.WhichOneof("op")
    if kind is None:
        return None, inputs, platform
    reader = _OPS.get(kind)
    if reader is None:
        raise BakeError(f"LLB ops of the kind '{kind}' are not supported")
    return reader(getattr(message, kind)), inputs, platform


def _platform(value: Any) -> Platform:
    return Platform(value.OS, value.Architecture, value.Variant, value.OSVersion, tuple(value.OSFeatures))


def _exec(value: Any) -> o.ExecOp:
    return o.ExecOp(
        _meta(value.meta),
        tuple(_mount(mount) for mount in value.mounts),
        o.NetMode(value.network),
        o.SecurityMode(value.security),
        tuple(o.SecretEnv(entry.ID, entry.name, entry.optional) for entry in value.secretenv),
        tuple(o.CDIDevice(device.name, device.optional) for device in value.cdiDevices),
    )


def _meta(value: Any) -> o.Meta:
    proxy = None
    if value.HasField("proxy_env"):
        env = value.proxy_env
        proxy = o.ProxyEnv(env.http_proxy, env.https_proxy, env.ftp_proxy, env.no_proxy, env.all_proxy)
    return o.Meta(
        tuple(value.args),
        tuple(value.env),
        value.cwd,
        value.user,
        proxy,
        tuple(o.HostIP(entry.Host, entry.IP) for entry in value.extraHosts),
        value.hostname,
        tuple(o.Ulimit(limit.Name, limit.Soft, limit.Hard) for limit in value.ulimit),
        value.cgroupParent,
        value.removeMountStubsRecursive,
        tuple(value.validExitCodes),
    )


def _mount(value: Any) -> o.Mount:
    return o.Mount(
        value.dest,
        value.input,
        value.selector,
        value.output,
        value.readonly,
        o.MountType(value.mountType),
        value.TmpfsOpt.size if value.HasField("TmpfsOpt") else None,
        o.CacheOpt(value.cacheOpt.ID, o.CacheSharing(value.cacheOpt.sharing)) if value.HasField("cacheOpt") else None,
        _secret(value.secretOpt) if value.HasField("secretOpt") else None,
        _secret(value.SSHOpt) if value.HasField("SSHOpt") else None,
        value.resultID,
        value.contentCache,
    )


def _secret(value: Any) -> o.SecretOpt:
    return o.SecretOpt(value.ID, value.uid, value.gid, value.mode, value.optional)


def _source(value: Any) -> o.SourceOp:
    return o.SourceOp(value.identifier, FrozenMap(sorted(value.attrs.items())))


def _file(value: Any) -> o.FileOp:
    return o.FileOp(tuple(_file_action(action) for action in value.actions))


def _file_action(value: Any) -> o.FileAction:
    kind = value.WhichOneof("action")
    reader = _ACTIONS.get(kind)
    if reader is None:
        raise BakeError(f"file actions of the kind '{kind}' are not supported")
    return o.FileAction(reader(getattr(value, kind)), value.input, value.secondaryInput, value.output)


def _copy(value: Any) -> o.CopyAction:
    return o.CopyAction(
        value.src,
        value.dest,
        _owner(value),
        value.mode,
        value.followSymlink,
        value.dirCopyContents,
        value.attemptUnpackDockerCompatibility,
        value.createDestPath,
        value.allowWildcard,
        value.allowEmptyWildcard,
        value.timestamp,
        tuple(value.include_patterns),
        tuple(value.exclude_patterns),
        value.alwaysReplaceExistingDestPaths,
        value.modeStr,
        tuple(value.required_paths),
    )


def _make_file(value: Any) -> o.MkFileAction:
    return o.MkFileAction(value.path, value.mode, value.data, _owner(value), value.timestamp)


def _make_dir(value: Any) -> o.MkDirAction:
    return o.MkDirAction(value.path, value.mode, value.makeParents, _owner(value), value.timestamp)


def _remove(value: Any) -> o.RmAction:
    return o.RmAction(value.path, value.allowNotFound, value.allowWildcard)


def _symlink(value: Any) -> o.SymlinkAction:
    return o.SymlinkAction(value.oldpath, value.newpath, _owner(value), value.timestamp)


def _owner(value: Any) -> o.ChownOpt | None:
    if not value.HasField("owner"):
        return None
    owner = value.owner
    return o.ChownOpt(
        _user(owner.user) if owner.HasField("user") else None, _user(owner.group) if owner.HasField("group") else None
    )


def _user(value: Any) -> o.UserOpt:
    if value.WhichOneof("user") == "byName":
        return o.UserOpt(name=value.byName.name, input=value.byName.input)
    return o.UserOpt(value.byID)


def _merge(value: Any) -> o.MergeOp:
    return o.MergeOp(tuple(entry.input for entry in value.inputs))


def _diff(value: Any) -> o.DiffOp:
    return o.DiffOp(value.lower.input, value.upper.input)


_OPS: dict[str, Callable[[Any], o.Op]] = {
    "exec": _exec,
    "source": _source,
    "file": _file,
    "merge": _merge,
    "diff": _diff,
}
_ACTIONS: dict[str, Callable[[Any], o.Action]] = {
    "copy": _copy,
    "mkfile": _make_file,
    "mkdir": _make_dir,
    "rm": _remove,
    "symlink": _symlink,
}


def _metadata(value: Any) -> o.OpMetadata:
    group, limits = value.progress_group, value.linux_resources
    return o.OpMetadata(
        value.ignore_cache,
        FrozenMap(sorted(value.description.items())),
        value.export_cache.Value if value.HasField("export_cache") else None,
        frozenset(name for name, wanted in value.caps.items() if wanted),
        o.ProgressGroup(group.id, group.name, group.weak) if value.HasField("progress_group") else None,
        o.LinuxResources(
            limits.memory,
            limits.memorySwap,
            limits.cpuShares,
            limits.cpuPeriod,
            limits.cpuQuota,
            limits.cpusetCpus,
            limits.cpusetMems,
        )
        if value.HasField("linux_resources")
        else None,
    )


def _places(source: Any) -> dict[str, tuple[tuple[SourceRange, ...], ...]]:
    """By digest: for each location its ranges."""
    files = [SourceFile(info.filename, info.data.decode("utf-8", "surrogateescape")) for info in source.infos]
    return {
        digest: tuple(
            tuple(
                SourceRange(
                    files[location.sourceIndex],
                    Position(place.start.line, place.start.character + 1),
                    Position(place.end.line, place.end.character + 1),
                )
                for place in location.ranges
            )
            for location in locations.locations
            if location.sourceIndex < len(files)
        )
        for digest, locations in source.locations.items()
    }
