"""The two that are compared: bakepy's language in this process, and buildx."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from bakepy.errors import BakeError
from tests.conformance.bake import answer

SECONDS = 20
"""More than this is a finding, on our side."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command line in a folder."""

    folder: Path
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out: text, or why not. `crash`: not one of bakepy's own errors, or out of time."""

    text: str | None
    message: str = ""
    crash: bool = False


class Late(BaseException):
    """Out of time."""


@contextlib.contextmanager
def _in_time(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ask_bakepy(invocation: Invocation) -> Answer:
    """bakepy, in this process."""
    back = Path.cwd()
    os.chdir(invocation.folder)
    try:
        with _in_time(SECONDS), contextlib.redirect_stderr(io.StringIO()) as usage:
            try:
                return Answer(answer(invocation.arguments, invocation.environment, invocation.stdin))
            except SystemExit:
                return Answer(None, usage.getvalue())
    except BakeError as error:
        return Answer(None, str(error))
    except Late:
        return Answer(None, f"more than {SECONDS} seconds", crash=True)
    except Exception:
        return Answer(None, traceback.format_exc(), crash=True)
    finally:
        os.chdir(back)


class Buildx:
    """`docker buildx` without a daemon, with a home of its own."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program = program
        self.home = home

    def ask(self, invocation: Invocation) -> Answer:
        listed = any(each.startswith("--list") for each in invocation.arguments)
        try:
            done = subprocess.run(
                [str(self.program), "bake", *([] if listed else ["--print"]), *invocation.arguments],
                cwd=invocation.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), **invocation.environment},
                input=invocation.stdin,
                capture_output=True,
                timeout=3 * SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, "buildx: out of time")
        if done.returncode == 0:
            return Answer(done.stdout.decode("utf-8", "replace"))
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        first = next((n for n, each in enumerate(lines) if each.startswith(("ERROR", "panic", "fatal error"))), 0)
        return Answer(None, "\n".join(lines[first : first + 12]))
