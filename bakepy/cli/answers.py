"""How the answers to `check`, `outline` and `targets` are written: text, JSON and GitHub annotations.

JSON has the members that BuildKit gives (`frontend/subrequests/{lint,outline,targets}`), so that tools read both; text
is what buildx prints, byte by byte, for one Dockerfile. Notes of GitHub: https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from bakepy.cli import terminal
from bakepy.dockerfile.checks import ChecksFailed, Warning
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.outline import Outline, OutlineNeed, TargetInfo
from bakepy.errors import BakeError, DefinitionErrors
from bakepy.model.location import SourceFile, SourceRange
from bakepy.planner.calls import CHECK, Answer

_RULE = "-" * 20


def exit_status(answers: Iterable[Answer], *, ignore: bool = False) -> int:
    """0, or 1 if a check found something and that is not to be ignored; 2 and more if a Dockerfile, or an image that it
    needs, is wrong."""
    status = 0
    for answer in answers:
        if answer.error is not None and not isinstance(answer.error, ChecksFailed):
            status = max(status, answer.error.exit_code)
        elif not ignore and (answer.warnings or answer.error is not None):
            status = max(status, 1)
    return status


def errors_of(answers: Iterable[Answer]) -> tuple[BakeError, ...]:
    """The distinct errors, in order; several of one file each by itself."""
    found: dict[str, BakeError] = {}
    for answer in answers:
        for error in _single(answer.error):
            found.setdefault(error.render(), error)
    return tuple(found.values())


def _single(error: BakeError | None) -> Sequence[BakeError]:
    if isinstance(error, DefinitionErrors):
        return error.errors
    return () if error is None else (error,)


# -- text


def as_text(answer: Answer, *, colour: bool = False) -> str:
    """What one Dockerfile answered, without its errors."""
    if answer.method == CHECK:
        return _findings(answer, colour)
    if answer.error is not None:
        return ""
    return _outline(answer.outline) if answer.outline is not None else _stages(answer.stages)


def _findings(answer: Answer, colour: bool) -> str:
    number = len(answer.warnings)
    if number == 0:
        return "" if answer.error else "Check complete, no warnings found."
    head = "1 warning has been found!" if number == 1 else f"{number} warnings have been found!"
    ordered = sorted(answer.warnings, key=lambda warning: warning.line)
    return "\n\n".join((f"Check complete, {head}", *(_finding(warning, colour) for warning in ordered)))


def _finding(warning: Warning, colour: bool) -> str:
    title = f"{terminal.paint('WARNING:', terminal.YELLOW, colour)} {warning.rule.name}"
    if warning.rule.url:
        title += f" - {warning.rule.url}"
    return "\n".join((title, warning.message, *_excerpt(warning.location)))


def _excerpt(location: Location) -> list[str]:
    """The lines in question, marked, with some round them: two above and below one line, one round several."""
    if not location:
        return []
    file = location[0].file
    lines = file.text.split("\n")
    marked = {line for place in location for line in range(place.start.line, max(place.start, place.end).line + 1)}
    first, last = min(marked), min(max(marked), len(lines))
    if not 1 <= first <= len(lines):
        return []
    round_them = 2 if first == last else 1
    shown = range(max(1, first - round_them), min(len(lines), last + round_them) + 1)
    return [
        f"{file.name}:{first}",
        _RULE,
        *(f" {n:>3} | {'>>>' if n in marked else '   '} {lines[n - 1]}" for n in shown),
        _RULE,
    ]


def _outline(outline: Outline) -> str:
    parts: list[str] = []
    if outline.name or outline.description:
        rows = [("TARGET:", outline.name or "(default)")]
        if outline.description:
            rows.append(("DESCRIPTION:", outline.description))
        parts.append(_columns(rows, gap=1))
    if outline.args:
        arguments = [(entry.name, entry.value, entry.description) for entry in outline.args]
        parts.append(_columns([("BUILD ARG", "VALUE", "DESCRIPTION"), *arguments]))
    for head, needs in (("SECRET", outline.secrets), ("SSH", outline.ssh)):
        if needs:
            parts.append(_columns([(head, "REQUIRED"), *((n.name, "true" if n.required else "") for n in needs)]))
    return "\n".join(f"{part}\n" for part in parts)


def _stages(stages: Sequence[TargetInfo]) -> str:
    rows = [("TARGET", "DESCRIPTION")]
    for stage in stages:
        name = " ".join(filter(None, (stage.name, "(default)" if stage.default else "")))
        rows.append((name, stage.description))
    return _columns(rows, gap=1)


def _columns(rows: Sequence[tuple[str, ...]], gap: int = 3) -> str:
    widths = [max(len(row[column]) for row in rows) + gap for column in range(len(rows[0]) - 1)]
    return "\n".join("".join(map(str.ljust, row, widths)) + row[-1] for row in rows)


# -- JSON


def has_json(answer: Answer) -> bool:
    """Whether there is anything to write: a check always has, the others only if they were answered."""
    return answer.method == CHECK or answer.error is None


def as_json(answers: Sequence[Answer]) -> dict[str, Any]:
    """One answer as BuildKit gives it; checks of several Dockerfiles in one, with a source for each."""
    first = answers[0]
    if first.method == CHECK:
        return _checks_json(answers)
    if first.outline is not None:
        return {**_outline_json(first.outline), "sources": [_data(first.file)]}
    return {"targets": [_stage_json(stage) for stage in first.stages], "sources": [_data(first.file)]}


def _checks_json(answers: Sequence[Answer]) -> dict[str, Any]:
    sources: dict[tuple[str, str], int] = {}
    index = [sources.setdefault((answer.file.name, answer.file.text), len(sources)) for answer in answers]
    warnings = [
        {
            "ruleName": warning.rule.name,
            "description": warning.rule.description,
            **({"url": warning.rule.url} if warning.rule.url else {}),
            "detail": warning.message,
            "location": _location_json(warning.location, number),
        }
        for number, answer in zip(index, answers, strict=True)
        for warning in answer.warnings
    ]
    value: dict[str, Any] = {
        "warnings": warnings or None,
        "sources": [{"filename": name, "data": _base64(text), "language": "Dockerfile"} for name, text in sources],
    }
    faults = [(error, number) for number, answer in zip(index, answers, strict=True) for error in _single(answer.error)]
    if faults:
        error, number = faults[0]
        value["buildError"] = {"message": error.what, "location": _location_json(_lines(error), number)}
    return value


def _lines(error: BakeError) -> Location:
    """All lines that have a part in it, each once."""
    locations = error.locations if isinstance(error, DockerfileError) else ()
    lines = {place.start.line: place for location in locations for place in location}
    return tuple(place for _, place in sorted(lines.items()))


def _outline_json(outline: Outline) -> dict[str, Any]:
    def need(entry: OutlineNeed) -> dict[str, Any]:
        return _lean({"name": entry.name, "required": entry.required, "location": _location_json(entry.location)})

    return _lean({
        "name": outline.name,
        "description": outline.description,
        "args": [
            _lean({"name": entry.name, "description": entry.description, "value": entry.value,
                   "location": _location_json(entry.location)})
            for entry in outline.args
        ],
        "secrets": [need(entry) for entry in outline.secrets],
        "ssh": [need(entry) for entry in outline.ssh],
    })  # fmt: skip


def _stage_json(stage: TargetInfo) -> dict[str, Any]:
    return _lean({
        "name": stage.name, "default": stage.default, "description": stage.description, "base": stage.base,
        "platform": stage.platform, "location": _location_json(stage.location),
    })  # fmt: skip


def _location_json(location: Location, source: int = 0) -> dict[str, Any]:
    ranges = [
        {
            edge: _lean({"line": position.line, "character": position.column - 1})
            for edge, position in (("start", place.start), ("end", place.end))
        }
        for place in location
    ]
    return _lean({"sourceIndex": source, "ranges": ranges})


def _lean(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, as BuildKit's JSON."""
    return {key: content for key, content in value.items() if content}


def _data(file: SourceFile) -> str:
    return _base64(file.text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


# -- GitHub


def as_github(answers: Iterable[Answer]) -> list[str]:
    """A workflow command for each finding and each error, which GitHub shows at the line."""
    lines: dict[str, None] = {}
    for answer in answers:
        for warning in sorted(answer.warnings, key=lambda warning: (warning.line, warning.rule.name)):
            lines[_annotation("warning", warning.rule.name, warning.message, warning.location, answer.inline)] = None
        for error in _single(answer.error):
            message = f"{error.what}\nhint: {error.hint}" if error.hint else error.what
            lines[_annotation("error", "Dockerfile", message, _place(error), answer.inline)] = None
    return list(lines)


def _place(error: BakeError) -> Location:
    """The statement that is wrong, or what is known of it."""
    where = error.where if isinstance(error.where, SourceRange) else None
    locations = error.locations if isinstance(error, DockerfileError) else ()
    for location in locations:
        if where is None or any(place.start.line == where.start.line for place in location):
            return location
    return (where,) if where else ()


def _annotation(level: str, title: str, message: str, location: Location, inline: bool) -> str:
    properties = {"title": title}
    if location and not inline:
        last = max(place.end.line for place in location)
        properties = {
            "file": location[0].file.name,
            "line": str(location[0].start.line),
            "endLine": str(last),
            **properties,
        }
    elif location:
        message = f"{location[0].file.name}:{location[0].start.line}: {message}"
    text = ",".join(
        f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for key, value in properties.items()
    )
    return f"::{level} {text}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
