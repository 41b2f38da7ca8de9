"""`python -m tests.conformance.bake ARGS`: bake's command line over the language alone, for the conformance cases.

Prints what `bakepy bake --print` or `--list` prints, without importing any other room.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bakepy.bakefile import load, load_definitions, render
from bakepy.bakefile.listing import render_list
from bakepy.bakefile.lookup import read_files
from bakepy.bakefile.request import Request
from bakepy.errors import BakeError, UsageError


class Disk:
    """Implements `bakefile.Reader`."""

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def kind(self, path: str) -> str:
        try:
            mode = Path(path).stat().st_mode
        except (OSError, ValueError):
            return ""
        kinds = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFSOCK: "socket"}
        return kinds.get(stat.S_IFMT(mode), "other")


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="bake", allow_abbrev=False)
    flags.add_argument("targets", nargs="*")
    flags.add_argument("-f", "--file", action="append", default=[])
    for name in ("set", "var", "policy", "allow"):
        flags.add_argument(f"--{name}", action="append", default=[])
    for name in ("sbom", "provenance", "list", "progress", "builder", "metadata-file"):
        flags.add_argument(f"--{name}", default="")
    flags.add_argument("--call", default="build")
    for name in ("print", "push", "load", "no-cache", "pull", "check", "list-targets", "list-variables"):
        flags.add_argument(f"--{name}", nargs="?", const="true", default=None)
    return flags


def boolean(text: str | None, name: str) -> bool | None:
    if text is None:
        return None
    if text not in ("true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"):
        raise UsageError(f"--{name} must be true or false, not {text!r}")
    return text[0] in "tT1"


def answer(arguments: Sequence[str], environment: Mapping[str, str], stdin: bytes | None = None) -> str:
    """What the command line prints, in the current folder. Standard input is read if `stdin` is not given."""
    flags = parser()
    # argparse would take a target for the value of a flag that may stand alone.
    lone = ("--print", "--push", "--load", "--no-cache", "--pull", "--check", "--list-targets", "--list-variables")
    given = flags.parse_intermixed_args([f"{each}=true" if each in lone else each for each in arguments])
    listed = given.list or ("targets" if given.list_targets else "variables" if given.list_variables else "")
    if listed and boolean(given.print, "print"):
        raise UsageError("--print and --list exclude each other")
    request = Request(
        targets=given.targets,
        overrides=given.set,
        variables=given.var,
        push=bool(boolean(given.push, "push")),
        load=bool(boolean(given.load, "load")),
        call="check" if boolean(given.check, "check") else given.call,
        no_cache=boolean(given.no_cache, "no-cache"),
        pull=boolean(given.pull, "pull"),
        sbom=given.sbom,
        provenance=given.provenance,
        policies=given.policy,
        allowed=given.allow,
    )
    options = request.options(environment, Disk())
    if stdin is None:
        stdin = sys.stdin.buffer.read() if "-" in given.file else b""
    files = read_files(given.file, environment, Disk(), stdin)
    if listed:
        return render_list(listed, load_definitions(files, options))
    return render(load(files, options)) + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(answer(sys.argv[1:], os.environ))
    except BakeError as problem:
        sys.stderr.write(f"ERROR: {problem}\n")
        sys.exit(problem.exit_code)
