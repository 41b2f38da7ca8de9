"""Who a process in a container is: `USER` read with the image's own passwd and group files.

The rules are those of moby's `sys/user` package (GetExecUser), which BuildKit uses: a name or number alone brings the
primary and supplementary groups of the files, `user:group` brings that group only, numbers need not be in the files.
"""

from __future__ import annotations

from collections.abc import Iterator

from bakepy.errors import BuildError
from bakepy.model.value import dataclass

MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """`groups` are the additional groups, with `gid` among them. `home` is that of the user's line in passwd, which
    may be empty, `/` without such a line."""

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
    name, group_name, *_ = (*user.split(":"), "")  # what comes after a second colon does not count
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
    home = next((a.home for a in accounts if a.uid == uid), "/")
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
    """As Go's `strconv.Atoi` reads it, signs included."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdigit() else None


def _in_range(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise BuildError(f"uids and gids must be in range 0-{MAX_ID}, not {number}")
    return number


def _accounts(text: str) -> tuple[_Account, ...]:
    return tuple(
        _Account(name, _number(uid) or 0, _number(gid) or 0, home) for name, _, uid, gid, _, home, *_ in _rows(text, 6)
    )


def _groups(text: str) -> tuple[_Group, ...]:
    return tuple(
        _Group(name, _number(gid) or 0, tuple(filter(None, members.split(","))))
        for name, _, gid, members, *_ in _rows(text, 4)
    )


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    """Fields that a line lacks are empty: such a line counts, with the number 0."""
    for line in text.split("\n"):
        if line := line.strip():
            row = line.split(":")
            yield row + [""] * (fields - len(row))
