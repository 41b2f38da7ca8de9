"""The command line. `main` is the entry point; what a command needs is imported when the command runs."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Runs the command of `sys.argv`; returns or ends with its exit status (see `bakepy.errors`)."""
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


def ended(status: int) -> int:
    """Writes out what was printed; the status, or 1 if that did not work."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return status or 1
    except OSError as error:
        print(f"ERROR: standard output: {error.strerror}", file=sys.stderr)
        status = status or 1
    sys.stderr.flush()
    return status
