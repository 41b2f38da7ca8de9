"""What is told after a run: a table of targets, what was written, and each failure once with its last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from bakepy.cli import terminal
from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.progress.log import seconds, size
from bakepy.progress.record import StepCounts

LAST_LINES = 12
_FEW, _FEW_LINES = 8, 4
"""More failures than that: so many last lines of each."""
_BLOCKS = 40
"""So many failures have a paragraph; of those beyond there is a line each."""
_LONGEST = 1000
"""Characters of a line of output."""
_NAMES = 12
"""Targets that are named in front of one failure."""


@dataclass(frozen=True, slots=True)
class TargetReport:
    """How one target ended. `digest` and `size` (bytes) are of its image, if it made one; `took` in seconds."""

    name: str
    outcome: str
    digest: Digest | None = None
    size: int = 0
    took: float | None = None
    counts: StepCounts = field(default_factory=StepCounts)
    written: tuple[str, ...] = ()
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why targets failed: one error, the name of the step (empty: not in a step), its last lines of output."""

    targets: tuple[str, ...]
    error: BakeError
    step: str = ""
    last_lines: tuple[str, ...] = ()


def failures(reports: Sequence[FailureReport], *, colour: bool = False) -> str:
    """One paragraph for each failure; the more there are, the shorter, so that none pushes another one away."""
    most = LAST_LINES if len(reports) <= _FEW else _FEW_LINES
    paragraphs = [_failure(report, most, colour) for report in reports[:_BLOCKS]]
    if rest := reports[_BLOCKS:]:
        paragraphs.append("\n".join(_failure_line(report, colour) for report in rest))
    return "\n\n".join(paragraphs)


def _names(report: FailureReport) -> str:
    more = len(report.targets) - _NAMES
    return ", ".join(report.targets[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _failure_line(report: FailureReport, colour: bool) -> str:
    place = f"{report.error.where.label()}: " if report.error.where else ""
    return f"{terminal.paint(f'✗ {_names(report)}', terminal.RED, colour)}: {place}{report.error.what}"


def _failure(report: FailureReport, most: int, colour: bool) -> str:
    lines = [terminal.paint(f"✗ {_names(report)}", terminal.RED, colour)] if report.targets else []
    if report.last_lines:
        lines.append(terminal.paint(f"------ {report.step}", terminal.DIM, colour) if report.step else "------")
        lines += [
            f"  {line if len(line) <= _LONGEST else line[:_LONGEST] + ' …'}" for line in report.last_lines[-most:]
        ]
        lines.append(terminal.paint("------", terminal.DIM, colour))
    return "\n".join((*lines, terminal.render(report.error, colour, detail=not report.last_lines)))


def table(reports: Sequence[TargetReport], *, colour: bool = False) -> str:
    """A line for each target, and below what was written."""
    head = ("target", "digest", "size", "time", "run", "shared", "cached")
    cells: list[tuple[str, ...]] = [head]
    for report in reports:
        done = report.outcome == "succeeded"
        counts = report.counts
        cells.append((
            report.name,
            _digest(report.digest) if done else _outcome(report),
            size(report.size) if done and report.size else "",
            seconds(report.took) if report.took is not None else "",
            *(str(number) if done else "" for number in (counts.run, counts.shared, counts.cached)),
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for number, row in enumerate(cells):
        texts = [
            f"{text:<{width}}" if column < 2 else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(texts).rstrip()
        bad = number > 0 and reports[number - 1].outcome not in ("succeeded", "not started")
        code = terminal.DIM if number == 0 else terminal.RED if bad else ""
        lines.append(terminal.paint(line, code, colour and bool(code)))
    written = [(report.name, line) for report in reports for line in report.written]
    if written:
        width = max(len(name) for name, _ in written)
        lines.append("")
        lines += [f"{name:<{width}}  {line}" for name, line in written]
    return "\n".join(lines)


def _digest(digest: Digest | None) -> str:
    return f"{digest.algorithm}:{digest.short}" if digest else "-"


def _outcome(report: TargetReport) -> str:
    return f"blocked by {report.blocked_by}" if report.blocked_by else report.outcome


def warnings(found: Mapping[tuple[str, str], None], *, colour: bool = False) -> str:
    """Each warning once, its details below it."""
    lines = []
    for message, detail in found:
        lines.append(f"{terminal.paint('WARNING:', terminal.YELLOW, colour)} {message}")
        lines += [f"    {line}" for line in detail.splitlines()]
    return "\n".join(lines)
