"""The command line. `main` is the entry point; what a command needs is imported when the command runs."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Runs the command of `sys.argv`; returns or ends with its exit status (see `bakepy.errors`)."""
    _open_standard_streams()
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        # answered before anything slow is imported
        from bakepy._version import __version__

        print(f"bakepy {__version__}")
        return 0
    # what is imported stays: looking through it for cycles again and again would be a tenth of a short run
    gc.set_threshold(500_000, 20, 100)
    from bakepy.cli import ahead

    engine = ahead.start(arguments)

    from bakepy.cli.app import run

    status = run(arguments, engine)
    # all that was held is released by now: taking the interpreter apart as well would only take time
    os._exit(ended(status))


def _open_standard_streams() -> None:
    """Those that the caller has closed (`>&-`) are /dev/null: the next file that is opened would become one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the kernel gives the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115


def ended(status: int) -> int:
    """Writes out what was printed; the status, or 1 if that did not work."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return status or 1
    except OSError as error:
        print(f"ERROR: standard output: {error.strerror}", file=sys.stderr)
        status = status or 1
    try:
        sys.stderr.flush()
    except OSError:  # there is nowhere left to say so
        status = status or 1
    return status
