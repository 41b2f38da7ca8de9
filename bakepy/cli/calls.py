"""`--call check|outline|targets`: Dockerfiles are asked instead of built, and their answers printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from bakepy.bakefile.entries import csv_fields, parse_bool
from bakepy.bakefile.render import render
from bakepy.cli import answers, terminal
from bakepy.cli.disk import DiskFiles
from bakepy.cli.resolving import Remote, resolver
from bakepy.cli.surroundings import with_surroundings
from bakepy.engine.embedded import Embedded
from bakepy.errors import UsageError, nearest
from bakepy.model.target import BakeFile
from bakepy.model.value import dataclass
from bakepy.planner.calls import Answer, answer_calls
from bakepy.planner.compiling import PlanOptions

FORMATS = ("text", "json", "github")


@dataclass(frozen=True, slots=True)
class CallFlags:
    """How answers are written. `ignore_status`: findings of checks do not make the command fail."""

    format: str = "text"
    ignore_status: bool = False

    @classmethod
    def parse(cls, text: str) -> CallFlags:
        """From `METHOD[,format=…][,ignorestatus=BOOL]`, whose form was checked when the request was read. Raises
        UsageError for an unknown format."""
        fields = dict(field.partition("=")[::2] for field in csv_fields(text) if "=" in field) if text else {}
        form = fields.get("format") or "text"
        if form not in FORMATS:
            raise UsageError(
                f"--call {text}: unknown format '{form}'", hint=nearest(form, FORMATS) or f"one of {', '.join(FORMATS)}"
            )
        return cls(form, parse_bool(fields.get("ignorestatus") or "false"))


def call(bake_file: BakeFile, methods: Mapping[str, str], flags: CallFlags, *, root: Path, single: bool = False) -> int:
    """Asks, prints on stdout, tells errors on stderr; returns the exit status. `single`: the bake file has one target,
    made of flags. Raises BakeError for what is wrong with the bake file."""
    found = anyio.run(ask, bake_file, methods, root)
    if flags.format == "json":
        if single:
            print_json(found)
        else:
            _print_bake_json(bake_file, found)
    else:
        print_answers(found, flags.format)
    tell_errors(found)
    return answers.exit_status(found, ignore=flags.ignore_status)


async def ask(bake_file: BakeFile, methods: Mapping[str, str], root: Path) -> tuple[Answer, ...]:
    """The answers of the Dockerfiles, with the engine's view of images and the files of this machine."""
    bake_file, warnings = await anyio.to_thread.run_sync(with_surroundings, bake_file, os.environ, Path.cwd())
    for warning in warnings:
        terminal.warn(warning)
    async with Embedded.open(root, environment=os.environ) as engine:
        return await answer_calls(
            bake_file,
            methods,
            files=DiskFiles(Path.cwd()),
            resolve=resolver(engine, lambda event: None),
            remote=Remote(engine, lambda event: None, os.environ, Path.cwd()),
            options=PlanOptions(build_platform=engine.host),
        )


def print_answers(found: Sequence[Answer], form: str) -> None:
    """As `text`, each headed by its targets if there are several, or for `github`."""
    if form == "github":
        for line in answers.as_github(found):
            print(line)
        return
    colour = terminal.coloured(sys.stdout, os.environ)
    several = sum(len(answer.targets) for answer in found) > 1
    blocks = []
    for answer in found:
        text = answers.as_text(answer, colour=colour)
        head = terminal.paint(f"{', '.join(answer.targets)} ({answer.file.name})", terminal.BOLD, colour)
        if text:
            blocks.append(f"{head}\n\n{text}" if several else text)
    if blocks:
        print("\n\n".join(blocks))


def tell_errors(found: Sequence[Answer]) -> None:
    """Each error once, on stderr, below what was printed."""
    sys.stdout.flush()
    for error in answers.errors_of(found):
        terminal.report(error)


def print_json(found: Sequence[Answer]) -> None:
    """The answer of a build, or the findings in several Dockerfiles together, as BuildKit gives them."""
    if found and answers.has_json(found[0]):
        print(json.dumps(answers.as_json(found), indent=2, ensure_ascii=False))


def _print_bake_json(bake_file: BakeFile, found: Sequence[Answer]) -> None:
    """What `--print` writes, with the answers below their targets (buildx: `bake --call METHOD,format=json`)."""
    printed = json.loads(render(bake_file))
    targets: dict[str, Any] = {name: {"build": value} for name, value in printed["target"].items()}
    for answer in found:
        value = answers.as_json([answer]) if answers.has_json(answer) else {}
        if answer.error is not None:
            value["error"] = answer.error.render()
        for name in answer.targets:
            targets[name][answer.method] = value
    print(json.dumps({**printed, "target": targets}, indent=2, ensure_ascii=False))
