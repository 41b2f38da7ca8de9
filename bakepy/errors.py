"""The one exception tree: where, what, hint.

    BakeError                       exit code
    ├── UsageError                  2   the command line asks for something that is not there
    ├── DefinitionError             2   a bake file, Dockerfile or manifest is wrong
    ├── DefinitionErrors            2   several of them, in file order
    ├── BuildError                  1   a step could not be done
    │   └── ProcessError            1   a RUN ended with a failing status
    ├── PartialFailure              3   some targets failed, others are done (--keep-going)
    ├── RegistryError               4   a registry or the network, after retries
    ├── EngineError                 5   the engine can not work here
    └── DriftError                  6   a lock is stale, or drift was found

Users never see a traceback for any of these; everything else is a bug of bakepy.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol, Self


class Where(Protocol):
    """A place in something that people wrote; `model.location.SourceRange` is the usual one."""

    def label(self) -> str:
        """`file:line:column`, or whatever names the place."""
        ...

    def excerpt(self) -> str:
        """The source line with a caret line below it; empty if there is no text to show."""
        ...


class BakeError(Exception):
    """What is wrong, where, and what to do about it.

    `what` is one sentence without a full stop; `path` is the way to the value (`target.web.tags[1]`), filled in
    by the layers that the error passes; `hint` is the next step; `detail` are more lines, as they are.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: Where | None = None,
        path: str = "",
        hint: str = "",
        detail: Sequence[str] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.path = path
        self.hint = hint
        self.detail = tuple(detail)

    def retold(self, error: BakeError, *, hint: str) -> Self:
        """This error, its kind and facts kept, in the words and at the place of `error`, which it caused."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        BakeError.__init__(copy, error.what, where=error.where, path=error.path, hint=hint, detail=error.detail)
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: with all that is known of it, but for its causes."""
        return _again, (type(self), self.args, self.__dict__)

    def render(self) -> str:
        """The whole message: place and cause, source excerpt, details, hint."""
        head = ": ".join(part for part in (self.where.label() if self.where else "", self.path, self.what) if part)
        lines = [head]
        if self.where and (excerpt := self.where.excerpt()):
            lines += [f"    {line}" for line in excerpt.splitlines()]
        lines += [f"    {line}" for line in self.detail]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


def _again(kind: type[BakeError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> BakeError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(facts)
    return error


class UsageError(BakeError):
    """The command line names something that does not exist or does not fit."""

    exit_code = 2


class DefinitionError(BakeError):
    """Something that people wrote (bake file, Dockerfile, manifest, ignore file) is wrong."""

    exit_code = 2


class DefinitionErrors(BakeError):
    """Several independent definition errors, in the order of the files."""

    exit_code = 2

    def __init__(self, errors: Iterable[BakeError]) -> None:
        self.errors = tuple(errors)
        super().__init__(f"{len(self.errors)} errors")

    def render(self) -> str:
        return "\n".join(error.render() for error in self.errors)


class BuildError(BakeError):
    """A step of the build could not be done."""

    exit_code = 1


class ProcessError(BuildError):
    """A process in a container ended with a failing status. `status` is its exit code, or 128 + signal."""

    def __init__(
        self, what: str, *, status: int, where: Where | None = None, hint: str = "", detail: Sequence[str] = ()
    ) -> None:
        super().__init__(what, where=where, hint=hint, detail=detail)
        self.status = status


class PartialFailure(BakeError):
    """Some targets failed and others are done."""

    exit_code = 3


class RegistryError(BakeError):
    """A registry or the network failed, after retries."""

    exit_code = 4


class EngineError(BakeError):
    """The engine can not work on this machine, or can not be reached."""

    exit_code = 5


class DriftError(BakeError):
    """A lock file is stale, or what was published differs from what was planned."""

    exit_code = 6


def disk_hint(number: int | None, place: str = "") -> str:
    """What to do about an `errno` that a disk, or a limit of this process, is to blame for; empty for others. `place`:
    what is on that disk (a destination); empty: the state root."""
    where = place or "the state root"
    if number in (errno.ENOSPC, errno.EDQUOT):
        old = "" if place else ", `bakepy prune --all` removes what can be made again"
        return f"the disk of {where} is full: free some space{old}"
    if number == errno.EROFS:
        return f"the disk of {where} is read-only"
    if number in (errno.EMFILE, errno.ENFILE):
        return "more files must be allowed to be open at a time: ulimit -n"
    if number == errno.EAGAIN:  # fork(2), pthread_create(3)
        return "more processes and threads must be allowed: ulimit -u, or pids.max of the cgroup"
    return f"the disk of {where} is failing: see the kernel's messages" if number == errno.EIO else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint `did you mean 'x'?` from the names valid at that place; empty when nothing is near."""
    import difflib  # only where an error is made: start-up time

    close = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""
