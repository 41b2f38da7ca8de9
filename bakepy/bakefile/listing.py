"""`--list targets` and `--list variables`, as a table or JSON, as buildx writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bakepy.bakefile.entries import EntryError, csv_fields
from bakepy.bakefile.load import Definitions, VariableInfo
from bakepy.bakefile.render import to_json
from bakepy.errors import UsageError


def render_list(what: str, definitions: Definitions) -> str:
    """The text for `--list WHAT`; `what` is `targets`, `variables`, or `type=…,format=…`. Raises UsageError."""
    kind, form = parse_list(what)
    if kind == "targets":
        return _targets(definitions, form)
    return _variables(definitions.variables, form)


def parse_list(what: str) -> tuple[str, str]:
    """What to list and how. Raises UsageError."""
    kind, form = "", ""
    try:
        fields = csv_fields(what)
    except EntryError as error:
        raise UsageError(f"--list {what}: {error}") from None
    if len(fields) == 1 and fields[0] == what and not what.startswith("type="):
        kind = what
    else:
        for field in fields:
            name, equals, value = field.partition("=")
            if not equals:
                raise UsageError(f"--list {what}: expected key=value, found {field!r}")
            match name.lower().strip():
                case "type":
                    kind = value
                case "format":
                    form = value
                case other:
                    raise UsageError(f"--list {what}: unknown key {other!r}")
    if kind not in ("targets", "variables"):
        raise UsageError(f"--list {what}: expected targets or variables, found {kind!r}")
    if form not in ("", "table", "json"):
        raise UsageError(f"--list {what}: expected the format table or json, found {form!r}")
    return kind, form or "table"


def target_names(definitions: Definitions) -> list[str]:
    """Names for completion: targets and groups that are not private."""
    return sorted(name for name in definitions.config.names() if not name.startswith("_"))


def _targets(definitions: Definitions, form: str) -> str:
    entries: list[tuple[str, str, bool]] = []
    for name, target in definitions.config.targets.items():
        entries.append((name, str(target.values.get("description") or ""), False))
    for group in definitions.config.groups:
        members = ", ".join(sorted(group.targets))
        description = group.description
        if members:
            description = f"{description} ({members})" if description else members
        entries.append((group.name, description, True))
    shown = [each for each in sorted(entries, key=lambda each: each[0]) if not each[0].startswith("_")]
    if form == "table":
        return table(("TARGET", "DESCRIPTION"), [each[:2] for each in shown])
    items: list[dict[str, Any]] = [
        {
            "name": name,
            **({"description": description} if description else {}),
            **({"group": True} if is_group else {}),
        }
        for name, description, is_group in shown
    ]
    return to_json(items or None) + "\n"


def _variables(variables: Sequence[VariableInfo], form: str) -> str:
    if form == "table":
        rows = [
            (each.name, each.type_name, "<null>" if each.value is None else each.value, each.description)
            for each in variables
        ]
        return table(("VARIABLE", "TYPE", "VALUE", "DESCRIPTION"), rows)
    items = [
        {
            "name": each.name,
            **({"description": each.description} if each.description else {}),
            **({"type": each.type_name} if each.type_name else {}),
            **({"value": each.value} if each.value is not None else {}),
        }
        for each in variables
    ]
    return to_json(items) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns that are parted by tabs, each as wide as its widest cell and one more, in steps of eight."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [(max(len(line[column]) for line in lines) // 8 + 1) * 8 for column in range(len(head) - 1)]
    written = []
    for line in lines:
        cells = [cell + "\t" * -(-(width - len(cell)) // 8) for cell, width in zip(line, widths, strict=False)]
        written.append("".join(cells) + line[-1] + "\n")
    return "".join(written)
