"""The process that does the work, started before the command line is read.

Importing what bakes takes longer than reading bake files does, so two processes do these side by side: the first reads,
checks and hands over a job; the other one has entered the engine's namespaces and imported meanwhile. For `--print`,
the first reads the command line only, and the other one the files. Measured in docs/decisions/start-up.md. The sooner
they part the better: nothing that takes time is imported here before.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from bakepy.cli.job import Job

_BAKING = frozenset({"run", "bake", "build"})
_ONLY_TELLING = frozenset(
    {"--print", "--list", "--list-targets", "--list-variables", "--call", "--check", "--help", "-h"}
)

_PLAIN: dict[str, Any] = {
    "root": None, "overrides": None, "variables": None, "push": False, "load": False, "no_cache": None, "pull": None,
    "call": "build", "sbom": "", "provenance": "", "policies": None,
}  # fmt: skip
"""What `run` hands over for `--print` if nothing else is given."""


class Ahead:
    """A process that waits for a job. It ends with this process, and when `writing` is closed with nothing in it."""

    def __init__(self, process: int, reading: int, writing: int) -> None:
        self._process = process
        self._pipes = reading, writing

    def hand_over(self, job: Job) -> NoReturn:
        """Lets the other process do it: from now on this one passes signals on, and ends as the other ends. While
        that one is still on its way, this one makes the plan."""
        from bakepy.cli.channel import Channel
        from bakepy.cli.planning_ahead import MOST_TARGETS, plan_ahead
        from bakepy.snapshot import namespace

        sys.stdout.flush()
        sys.stderr.flush()
        channel = Channel(*self._pipes)
        plans = len(job.bake_file.targets) <= MOST_TARGETS
        namespace.forward_signals(self._process, stopped_by=signal.SIGTSTP)
        try:
            channel.send((job, plans))
            if plans:
                namespace.end_with(self._process)
                plan_ahead(job, channel)
        except (BrokenPipeError, EOFError):
            pass  # it has ended already; its status tells why
        channel.close()
        namespace.wait_outside(self._process, stopped_by=signal.SIGTSTP)


class Reader:
    """A process that waits for what is to be printed. It ends as `Ahead` does."""

    def __init__(self, process: int, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    def hand_over(self, asked: Mapping[str, Any], allowed: Sequence[str]) -> NoReturn:
        """Lets the other process do it, and ends as that one ends. For the arguments see `reading.print_request`."""
        import marshal  # built in: pickle has to be imported

        try:
            with os.fdopen(self._pipe, "wb") as stream:
                marshal.dump((dict(asked), list(allowed)), stream)
        except BrokenPipeError:
            pass  # it has ended already; its status tells why
        _, status = os.waitpid(self._process, 0)
        code = os.waitstatus_to_exitcode(status)
        sys.exit(code if code >= 0 else 128 - code)


def start(arguments: Sequence[str]) -> Ahead | Reader | None:
    """Starts another process if this command line looks as if it will bake, or print; None in all other cases."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in _BAKING:
        return None
    telling = _ONLY_TELLING.intersection(argument.partition("=")[0] for argument in arguments)
    if not telling:
        return _start_engine()
    if telling != {"--print"} or command == "build":
        return None
    return Reader(*_fork(lambda pipe, above: _read(pipe, above, arguments)))


def _start_engine() -> Ahead:
    job, ours_writing = os.pipe2(os.O_CLOEXEC)
    ours_reading, answers = os.pipe2(os.O_CLOEXEC)
    above = os.getpid()
    process = os.fork()
    if process == 0:
        os.close(ours_writing)
        os.close(ours_reading)
        _serve(job, answers, above)
    os.close(job)
    os.close(answers)
    return Ahead(process, ours_reading, ours_writing)


def _fork(work: Callable[[int, int], NoReturn]) -> tuple[int, int]:
    """A new process, which does `work` with its end of a pipe and the number of this process; and this end."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    above = os.getpid()
    process = os.fork()
    if process == 0:
        os.close(ours)
        work(theirs, above)
    os.close(theirs)
    return process, ours


def enter() -> None:
    """Goes on in the engine's own namespaces, an ordinary user as root of its own. Raises EngineError if the kernel
    does not let this user do so."""
    from bakepy.snapshot import namespace

    sys.stdout.flush()
    sys.stderr.flush()
    if os.geteuid() != 0:
        from bakepy.snapshot import usernamespace

        usernamespace.enter()
    namespace.enter()


def _serve(reading: int, writing: int, above: int) -> NoReturn:
    """The whole life of the engine's process."""
    _begin(above)
    os.setpgid(0, 0)  # what is typed at the terminal reaches the first process, which passes it on
    _end(lambda: _work(reading, writing))


def _read(pipe: int, above: int, arguments: Sequence[str]) -> NoReturn:
    """The whole life of the process that prints."""
    _begin(above)
    _end(lambda: _print(pipe, arguments))


def _begin(above: int) -> None:
    """From here on a process ends with the one that started it, whose number is `above`."""
    from bakepy.snapshot import syscalls

    syscalls.die_with_parent(signal.SIGKILL)
    if os.getppid() != above:
        os._exit(128 + signal.SIGKILL)  # it ended before that could be noticed
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(work: Callable[[], int]) -> NoReturn:
    from bakepy.cli import ended
    from bakepy.cli.terminal import guarded

    os._exit(ended(guarded(work)))


def _print(pipe: int, arguments: Sequence[str]) -> int:
    import contextlib
    import marshal

    from bakepy.cli.reading import print_request, printed
    from bakepy.errors import BakeError

    guess = plain_request(arguments)
    text = None
    if guess is not None:
        with contextlib.suppress(BakeError, OSError):  # it is told below, unless something else was asked for
            text = printed(guess)
    with os.fdopen(pipe, "rb") as stream:
        try:
            asked, allowed = marshal.load(stream)
        except EOFError:
            return 1  # the first process has found something else to do
    if text is not None and asked == guess and not allowed:
        print(text)
    else:
        print_request(asked, allowed)
    return 0


def plain_request(arguments: Sequence[str]) -> dict[str, Any] | None:
    """What will be handed over, if the command line consists of `--print`, `-f FILE` and targets only, so that nobody
    has to be asked what it means; None in all other cases."""
    files: list[str] = []
    targets: list[str] = []
    words = iter(arguments)
    next(words)  # the command
    for word in words:
        if word in ("-f", "--file"):
            files.append(next(words, "-"))
        elif word.startswith("-"):
            if word != "--print":
                return None
        else:
            targets.append(word)
    far = any(":" in word for word in (*files, *targets)) or any("/" in word for word in targets)
    if far or "-" in files or "BUILDX_BAKE_FILE" in os.environ:  # which may name standard input
        return None
    return _PLAIN | {"targets": targets or None, "files": files or None}


def _work(reading: int, writing: int) -> int:
    from bakepy.errors import BakeError

    failure = None
    if os.geteuid() != 0 or os.access("/sys/fs/cgroup/cgroup.events", os.F_OK):  # root in a container
        from bakepy.worker.delegation import settle

        settle(os.getppid())
    try:
        enter()
    except BakeError as error:
        failure = error  # told if there will be work at all: a mistake in a file comes first

    import anyio._backends._asyncio  # noqa: F401  the loop that anyio imports when it runs

    from bakepy.cli.baking import bake
    from bakepy.cli.channel import Channel

    channel = Channel(reading, writing)
    if not channel.arrived():
        # large files take their time, and what is large is planned here
        import bakepy.cli.planning  # noqa: F401
    job: Job
    try:
        job, planned_there = channel.receive()
    except EOFError:
        return 1  # the first process has found something else to do
    if failure is not None:
        raise failure
    return bake(job.bake_file, job.options, channel if planned_there else None)
