"""Deterministic protobuf encoding of ops: exactly the bytes that BuildKit's own `pb.Op` would have.

Fields are written in ascending number, but those of a oneof after all others of their message; zero scalars are left
out (oneof scalars are not), maps are sorted by key, empty messages that are set are written with length zero.
Field numbers: `proto/ops.proto`, which follows BuildKit's `solver/pb/ops.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bakepy.llb import op as o
from bakepy.model.platform import Platform

_SMALL = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """Base-128; negative numbers take ten bytes."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    if 0 < value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_NUMBER_TAGS = tuple(varint(field << 3) for field in range(32))
_DATA_TAGS = tuple(varint(field << 3 | 2) for field in range(32))


def number(field: int, value: int) -> bytes:
    """A scalar; nothing if it is zero."""
    return _NUMBER_TAGS[field] + varint(value) if value else b""


def message(field: int, data: bytes) -> bytes:
    """A length-delimited field, written even if empty."""
    length = len(data)
    return _DATA_TAGS[field] + (_SMALL[length] if length < 0x80 else varint(length)) + data


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def text(field: int, value: str) -> bytes:
    """A string; nothing if it is empty."""
    return message(field, _utf8(value)) if value else b""


def texts(field: int, values: Iterable[str]) -> bytes:
    """A repeated string; empty members are written."""
    return b"".join(message(field, _utf8(value)) for value in values)


def string_map(field: int, values: Mapping[str, str]) -> bytes:
    """A map<string, string>, sorted by key; key and value of an entry are always written."""
    return b"".join(message(field, message(1, _utf8(k)) + message(2, _utf8(v))) for k, v in sorted(values.items()))


def _platform(value: Platform) -> bytes:
    return (
        text(1, value.architecture)
        + text(2, value.os)
        + text(3, value.variant)
        + text(4, value.os_version)
        + texts(5, value.os_features)
    )


def exec_op(op: o.ExecOp) -> bytes:
    return message(1, _meta(op.meta)) + surroundings(op)


def before_variables(arguments: bytes, variables: int, settings: bytes, around: bytes) -> bytes:
    """What an ExecOp as a member of `pb.Op` begins with, if its marshalled parts are `arguments`, so many bytes of
    `variables` and `settings`, which make its Meta, and `surroundings`. All of them follow."""
    meta = len(arguments) + variables + len(settings)
    head = _DATA_TAGS[1] + varint(meta)
    return _DATA_TAGS[2] + varint(len(head) + meta + len(around)) + head


def surroundings(op: o.ExecOp) -> bytes:
    """All of an ExecOp but its Meta."""
    return (
        b"".join(message(2, _mount(mount)) for mount in op.mounts)
        + number(3, op.network)
        + number(4, op.security)
        + b"".join(message(5, text(1, s.id) + text(2, s.name) + number(3, s.optional)) for s in op.secret_env)
        + b"".join(message(6, text(1, d.name) + number(2, d.optional)) for d in op.cdi_devices)
    )


def _meta(meta: o.Meta) -> bytes:
    return arguments(meta) + variables(meta.env) + settings(meta)


def arguments(meta: o.Meta) -> bytes:
    return texts(1, meta.args)


def variables(lines: Iterable[str]) -> bytes:
    """The environment in a Meta: `NAME=VALUE`, …"""
    return texts(2, lines)


def variable(line: str) -> bytes:
    """One of them."""
    return message(2, _utf8(line))


def settings(meta: o.Meta) -> bytes:
    """All of a Meta but its arguments and its environment."""
    out = text(3, meta.cwd) + text(4, meta.user)
    if (proxy := meta.proxy_env) is not None:
        out += message(
            5,
            text(1, proxy.http_proxy)
            + text(2, proxy.https_proxy)
            + text(3, proxy.ftp_proxy)
            + text(4, proxy.no_proxy)
            + text(5, proxy.all_proxy),
        )
    out += b"".join(message(6, text(1, host.host) + text(2, host.ip)) for host in meta.extra_hosts)
    out += text(7, meta.hostname)
    out += b"".join(message(9, text(1, u.name) + number(2, u.soft) + number(3, u.hard)) for u in meta.ulimits)
    out += text(10, meta.cgroup_parent) + number(11, meta.remove_mount_stubs_recursive)
    if meta.valid_exit_codes:
        out += message(12, b"".join(varint(code) for code in meta.valid_exit_codes))
    return out


def _mount(mount: o.Mount) -> bytes:
    out = (
        number(1, mount.input)
        + text(2, mount.selector)
        + text(3, mount.dest)
        + number(4, mount.output)
        + number(5, mount.readonly)
        + number(6, mount.type)
    )
    if mount.tmpfs_size is not None:
        out += message(19, number(1, mount.tmpfs_size))
    if mount.cache is not None:
        out += message(20, text(1, mount.cache.id) + number(2, mount.cache.sharing))
    if mount.secret is not None:
        out += message(21, _secret(mount.secret))
    if mount.ssh is not None:
        out += message(22, _secret(mount.ssh))
    return out + text(23, mount.result_id) + number(24, mount.content_cache)


def _secret(secret: o.SecretOpt) -> bytes:
    return (
        text(1, secret.id)
        + number(2, secret.uid)
        + number(3, secret.gid)
        + number(4, secret.mode)
        + number(5, secret.optional)
    )


def source_op(op: o.SourceOp) -> bytes:
    return text(1, op.identifier) + string_map(2, op.attrs)


def file_op(op: o.FileOp) -> bytes:
    return b"".join(message(2, _file_action(action)) for action in op.actions)


def _file_action(entry: o.FileAction) -> bytes:
    head = number(1, entry.input) + number(2, entry.secondary_input) + number(3, entry.output)
    match entry.action:
        case o.CopyAction() as copy:
            return head + message(4, _copy(copy))
        case o.MkFileAction() as make:
            return head + message(
                5,
                text(1, make.path)
                + number(2, make.mode)
                + (message(3, make.data) if make.data else b"")
                + _owner(4, make.owner)
                + number(5, make.timestamp),
            )
        case o.MkDirAction() as make_dir:
            return head + message(
                6,
                text(1, make_dir.path)
                + number(2, make_dir.mode)
                + number(3, make_dir.make_parents)
                + _owner(4, make_dir.owner)
                + number(5, make_dir.timestamp),
            )
        case o.RmAction() as remove:
            return head + message(
                7, text(1, remove.path) + number(2, remove.allow_not_found) + number(3, remove.allow_wildcard)
            )
        case o.SymlinkAction() as link:
            return head + message(
                8, text(1, link.oldpath) + text(2, link.newpath) + _owner(3, link.owner) + number(4, link.timestamp)
            )


def _copy(copy: o.CopyAction) -> bytes:
    return (
        text(1, copy.src)
        + text(2, copy.dest)
        + _owner(3, copy.owner)
        + number(4, copy.mode)
        + number(5, copy.follow_symlink)
        + number(6, copy.dir_copy_contents)
        + number(7, copy.attempt_unpack)
        + number(8, copy.create_dest_path)
        + number(9, copy.allow_wildcard)
        + number(10, copy.allow_empty_wildcard)
        + number(11, copy.timestamp)
        + texts(12, copy.include_patterns)
        + texts(13, copy.exclude_patterns)
        + number(14, copy.always_replace)
        + text(15, copy.mode_str)
        + texts(16, copy.required_paths)
    )


def _owner(field: int, owner: o.ChownOpt | None) -> bytes:
    if owner is None:
        return b""
    user = message(1, _user(owner.user)) if owner.user is not None else b""
    group = message(2, _user(owner.group)) if owner.group is not None else b""
    return message(field, user + group)


def _user(user: o.UserOpt) -> bytes:
    if user.id is not None:
        return varint(2 << 3) + varint(user.id)
    return message(1, text(1, user.name) + number(2, user.input))


def merge_op(op: o.MergeOp) -> bytes:
    return b"".join(message(1, number(1, index)) for index in op.inputs)


def diff_op(op: o.DiffOp) -> bytes:
    return message(1, number(1, op.lower)) + message(2, number(1, op.upper))


_SHA256_LENGTH = 71
_SHA256_INPUT = "\x0a\x49\x0a\x47"
"""What stands before the digest of an input that is output 0 of a vertex: an Input of 73 bytes, a digest of 71."""


def inputs(edges: Sequence[tuple[str, int]]) -> bytes:
    plain = ""
    for digest, index in edges:
        if index or len(digest) != _SHA256_LENGTH:
            return b"".join([message(1, text(1, digest) + number(2, index)) for digest, index in edges])
        plain += _SHA256_INPUT + digest
    return plain.encode()


def body(op: o.Op, platform: Platform | None) -> bytes:
    """All of `pb.Op` but its inputs."""
    return constraints(platform) + op_body(op)


def constraints(platform: Platform | None) -> bytes:
    """What an op asks of its worker: its platform, and nothing else."""
    return (message(10, _platform(platform)) if platform else b"") + _EMPTY_CONSTRAINTS


_EMPTY_CONSTRAINTS = message(11, b"")


def op_body(op: o.Op) -> bytes:
    """The oneof member of `pb.Op`."""
    match op:
        case o.ExecOp():
            return message(2, exec_op(op))
        case o.SourceOp():
            return message(3, source_op(op))
        case o.FileOp():
            return message(4, file_op(op))
        case o.MergeOp():
            return message(6, merge_op(op))
        case o.DiffOp():
            return message(7, diff_op(op))
