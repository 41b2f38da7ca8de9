"""How errors and warnings look on stderr: plain text, with colour on a terminal unless NO_COLOR is set."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from bakepy.errors import BakeError, DefinitionErrors, disk_hint

NO_THREAD = "can't start new thread"
"""What Python's RuntimeError says where a limit does not allow one more."""

RED, YELLOW, CYAN, DIM, BOLD = "31", "33", "36", "2", "1"


def coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether escape sequences make sense there (https://no-color.org: any value that is not empty turns them off)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def paint(text: str, code: str, on: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if on else text


def render(error: BakeError, colour: bool = False, *, detail: bool = True) -> str:
    """The message as `error` renders it, each error of several headed by `ERROR: `; `detail` False leaves its details
    out, because they are shown already."""
    if isinstance(error, DefinitionErrors):
        return "\n".join(render(inner, colour) for inner in error.errors)
    shown = error if detail else BakeError(error.what, where=error.where, path=error.path, hint=error.hint)
    lines = shown.render().split("\n")
    lines[0] = f"{paint('ERROR:', RED, colour)} {paint(lines[0], BOLD, colour)}"
    for number, line in enumerate(lines[1:], 1):
        if line.startswith("hint: "):
            lines[number] = f"{paint('hint:', CYAN, colour)} {line.removeprefix('hint: ')}"
        elif line.strip() and not line.strip(" ^"):
            lines[number] = paint(line, RED, colour)
    return "\n".join(lines)


def report(error: BakeError) -> None:
    """Says what is wrong, on stderr."""
    print(render(error, coloured(sys.stderr, os.environ)), file=sys.stderr)


def warn(message: str, detail: str = "") -> None:
    """Says what is odd, on stderr."""
    colour = coloured(sys.stderr, os.environ)
    print(f"{paint('WARNING:', YELLOW, colour)} {message}", file=sys.stderr)
    for line in detail.splitlines():
        print(f"    {line}", file=sys.stderr)


def guarded(work: Callable[[], int]) -> int:
    """The status that `work` returns, or that of the BakeError or OSError that it raises, which is shown."""
    try:
        return work()
    except BakeError as error:
        report(error)
        return error.exit_code
    except BrokenPipeError:
        # who reads our output has gone; nothing more can be said there, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = str(error.filename) if error.filename else ""
        hint = disk_hint(error.errno, place)
        report(BakeError(f"{place}: {error.strerror}" if place else str(error), hint=hint))
        return 1
    except MemoryError:
        report(BakeError("out of memory", hint="a limit of this process (ulimit -v) counts as well"))
        return 1
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        report(BakeError(NO_THREAD, hint=disk_hint(errno.EAGAIN)))
        return 1
