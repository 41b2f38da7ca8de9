"""The user namespace in which an ordinary user is root: of the user's own id, and of the ids that the administrator
lent it in /etc/subuid and /etc/subgid.

Inside, id 0 is the user and 1, 2, … are the lent ids, as with podman and rootless BuildKit. Lent ids are mapped by
newuidmap and newgidmap (the package uidmap), which may do that for an ordinary user; without them there is id 0 only.
Formats: subuid(5), user_namespaces(7). Decided in docs/decisions/rootless.md.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bakepy.errors import EngineError
from bakepy.model.value import dataclass
from bakepy.snapshot import syscalls

_MAPS = ("uid_map", "gid_map")

ALL_IDS = 4294967295
"""How many ids the initial user namespace maps."""


@dataclass(frozen=True, slots=True)
class Range:
    """`count` ids from `first`, outside."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Lent:
    """The ids lent to a user, and the programs that map them. `lacking` tells what keeps them from being used, with
    `mend`; empty if nothing does."""

    users: tuple[Range, ...] = ()
    groups: tuple[Range, ...] = ()
    newuidmap: str = ""
    newgidmap: str = ""
    lacking: str = ""
    mend: str = ""


def is_inside() -> bool:
    """Whether this process is in a user namespace other than the machine's own: then it owns some ids only, and
    overlayfs keeps its marks in `user.` attributes."""
    try:
        fields = Path("/proc/self/uid_map").read_bytes().split()
    except FileNotFoundError:
        return False  # a kernel without user namespaces
    return len(fields) != 3 or int(fields[2]) != ALL_IDS


def find_lent(
    user: int,
    name: str,
    search: str,
    etc: Path = Path("/etc"),
    find: Callable[[str], str | None] | None = None,
) -> Lent:
    """What the tables below `etc` and the programs on the path `search` offer to a user, whom the tables may call by
    name or by number. `find` looks programs up in place of the path."""
    find = find or _finder(search)
    users = _ranges(etc / "subuid", (name, str(user)))
    groups = _ranges(etc / "subgid", (name, str(user)))
    programs = [find(program) or "" for program in ("newuidmap", "newgidmap")]
    lacking, mend = "", ""
    if not all(programs):
        lacking, mend = "newuidmap and newgidmap are not installed", "apt-get install uidmap"
    elif not users or not groups:
        table = etc / ("subgid" if users else "subuid")
        lacking = f"no range of ids for {name or user} in {table}"
        mend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name or user}"
    return Lent(users, groups, programs[0], programs[1], lacking, mend)


def _finder(search: str) -> Callable[[str], str | None]:
    import shutil

    return lambda program: shutil.which(program, path=search)


def enter() -> None:
    """Makes this process root of a new user namespace. Call it early, with one thread.

    Raises EngineError where the kernel forbids it or the ids can not be mapped. Where nothing was lent, the user's
    own id is the only one: what needs another (most images do) fails later, and says what to install.
    """
    user, group = os.geteuid(), os.getegid()
    lent = find_lent(user, _name(user), os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if lent.lacking:
        _unshare()
        _map_one(user, group)
        return
    begun, begin = os.pipe2(os.O_CLOEXEC)
    told, tell = os.pipe2(os.O_CLOEXEC)
    target = str(os.getpid())
    # The programs must run outside of the new namespace, so somebody has to stay there for them.
    helper = os.fork()
    if helper == 0:
        os.close(begin)
        _map_for(target, begun, tell, lent, user, group)
    os.close(begun)
    os.close(tell)
    try:
        _unshare()
        os.write(begin, b".")
        with os.fdopen(told, "rb", closefd=False) as stream:
            complaint = stream.read().decode(errors="replace").strip()
    finally:
        os.close(begin)
        os.close(told)
        _, status = os.waitpid(helper, 0)
    if status:
        raise EngineError(
            f"the ids of this user could not be mapped: {complaint or 'newuidmap failed'}",
            hint="newuidmap and newgidmap must be setuid root, and the ranges in /etc/subuid and /etc/subgid whole",
        )


@dataclass(frozen=True, slots=True)
class Unowned:
    """An owner that this user namespace does not have, and what to do about it."""

    what: str
    mend: str


def unowned(error: OSError, uid: int | None, gid: int | None) -> Unowned | None:
    """What the failure of a chown(2) means, if it is that an id is not mapped here; else None. Unknown ids count as
    such here."""
    if error.errno != errno.EINVAL or not is_inside() or (_maps("uid_map", uid) and _maps("gid_map", gid)):
        return None
    what = "an owner" if uid is None or gid is None else f"owner {uid}:{gid}"
    what += " is not among the ids that this user may give away"
    if _count("uid_map") > 1 and _count("gid_map") > 1:
        return Unowned(what, "lend the user more ids in /etc/subuid and /etc/subgid")
    return Unowned(what, "bakepy doctor tells how to lend the user more ids (apt-get install uidmap; /etc/subuid)")


def has_group(gid: int) -> bool:
    """Whether a group id exists in this user namespace."""
    return _maps("gid_map", gid)


def as_caller() -> tuple[str, ...]:
    """The start of a command line that runs a program with the id of the user whom this namespace made root; empty if
    there is none. See `caller`."""
    if not is_inside():
        return ()
    users, groups = ([int(field) for field in Path("/proc/self", name).read_bytes().split()[:3]] for name in _MAPS)
    if (users[0], users[2], groups[0], groups[2]) != (0, 1, 0, 1):
        return ()  # somebody else made this namespace
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name("caller.py")), str(users[1]), str(groups[1]))


def _map(name: str) -> list[tuple[int, int]]:
    """The ranges of ids, (first, count), that there are inside."""
    fields = [int(field) for field in Path("/proc/self", name).read_bytes().split()]
    return list(zip(fields[::3], fields[2::3], strict=True))


def _maps(name: str, id: int | None) -> bool:
    return id is not None and any(first <= id < first + count for first, count in _map(name))


def _count(name: str) -> int:
    return sum(count for _, count in _map(name))


def _unshare() -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSPC, errno.ENOSYS, errno.EINVAL, errno.EUSERS):
            raise
        raise EngineError(
            f"an ordinary user needs a user namespace, and the kernel refuses it: {error.strerror}",
            hint="bakepy doctor tells which setting forbids it; or run bakepy as root",
        ) from error


def _map_one(user: int, group: int) -> None:
    """user_namespaces(7): whoever maps its own group must first give up setgroups(2)."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _map_for(target: str, begun: int, tell: int, lent: Lent, user: int, group: int) -> None:
    """The helper's whole life: waits for the namespace, maps both kinds of ids side by side, tells of failures."""
    try:
        if os.read(begun, 1) == b"":
            os._exit(1)  # there is no namespace to map
        redirect = [(os.POSIX_SPAWN_DUP2, tell, 2)]
        children = [
            os.posix_spawn(program, [Path(program).name, target, *_arguments(own, ranges)], {}, file_actions=redirect)
            for program, own, ranges in ((lent.newuidmap, user, lent.users), (lent.newgidmap, group, lent.groups))
        ]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        os._exit(1 if any(statuses) else 0)
    except OSError as error:
        os.write(tell, str(error).encode())
    finally:
        os._exit(1)


def _arguments(own: int, ranges: Iterable[Range]) -> list[str]:
    """`inside outside count` for each range, the user's own id first."""
    arguments = ["0", str(own), "1"]
    inside = 1
    for entry in ranges:
        arguments += [str(inside), str(entry.first), str(entry.count)]
        inside += entry.count
    return arguments


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return ""  # a user without an entry, as in some containers


def _ranges(table: Path, names: Iterable[str]) -> tuple[Range, ...]:
    """The ranges of a user in a table of `name:first:count` lines; damaged lines count for nobody."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    wanted = set(names) - {""}
    found = []
    for line in lines:
        name, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if name in wanted and first.isdecimal() and count.isdecimal() and int(count):
            found.append(Range(int(first), int(count)))
    return tuple(found)
