"""The command line. `main` is the entry point; what a command needs is imported when the command runs."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Runs the command of `sys.argv` and returns the exit status (see `bakepy.errors`)."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        # answered before anything slow is imported
        from bakepy._version import __version__

        print(f"bakepy {__version__}")
        return 0
    # what is imported and planned stays: looking through it for cycles again and again is a tenth of a short run
    gc.set_threshold(50_000, 20, 100)
    from bakepy.cli.app import run

    return run(arguments)
