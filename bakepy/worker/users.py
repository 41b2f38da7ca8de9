"""Who a process in a container is: `USER` read with the image's own passwd and group files.

The rules are those of moby's `sys/user` package (GetExecUser), which BuildKit uses: a name or number alone brings the
primary and supplementary groups of the files, `user:group` brings that group only, numbers need not be in the files.
"""

from __future__ import annotations

from bakepy.errors import BuildError
from bakepy.model.value import dataclass

MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """`groups` are the additional groups, with `gid` among them. `home` is that of passwd, `/` without one."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def find_user(user: str, passwd: str, group: str) -> ProcessUser:
    """The user that `user` (`USER` of the image, empty for root) means with these two files' texts.

    Raises BuildError for a name that is in neither, or an id out of range.
    """
    name, _, group_name = user.partition(":")
    accounts, groups = _accounts(passwd), _groups(group)
    wanted = name or "0"
    number = _number(wanted)
    account = next((a for a in accounts if a.name == wanted or a.uid == number), None)
    if account is not None:
        uid, gid = account.uid, account.gid
    elif number is None:
        raise BuildError(f"unable to find user {name}: no matching entries in passwd file")
    else:
        uid, gid = _in_range(number), 0
    if group_name:
        gid = _find_group(group_name, groups)
        others: tuple[int, ...] = ()
    else:
        others = tuple(g.gid for g in groups if account is not None and account.name in g.members)
    home = next((a.home for a in accounts if a.uid == uid), "") or "/"
    return ProcessUser(uid, gid, others if gid in others else (gid, *others), home)


def _find_group(name: str, groups: tuple[_Group, ...]) -> int:
    number = _number(name)
    found = next((g for g in groups if g.name == name or g.gid == number), None)
    if found is not None:
        return found.gid
    if number is None:
        raise BuildError(f"unable to find group {name}: no matching entries in group file")
    return _in_range(number)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _in_range(number: int) -> int:
    if number > MAX_ID:
        raise BuildError(f"uids and gids must be in range 0-{MAX_ID}, not {number}")
    return number


def _accounts(text: str) -> tuple[_Account, ...]:
    rows = (line.split(":") for line in text.splitlines() if line.strip())
    return tuple(
        _Account(row[0], _number(row[2]) or 0, _number(row[3]) or 0, row[5] if len(row) > 5 else "")
        for row in rows
        if len(row) > 3
    )


def _groups(text: str) -> tuple[_Group, ...]:
    rows = (line.split(":") for line in text.splitlines() if line.strip())
    return tuple(
        _Group(row[0], _number(row[2]) or 0, tuple(name for name in row[3].split(",") if name) if len(row) > 3 else ())
        for row in rows
        if len(row) > 2
    )
