"""Imports go down: who may import whom, floor by floor. Prints the offending import.

The table is the one of docs/architecture.md. Imports are read from the syntax tree, late ones inside functions
included; those for type checkers only (`if TYPE_CHECKING:`) count as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bakepy

ROOT = Path(bakepy.__file__).parent

GROUND = frozenset({"errors", "events", "model", "_version"})
"""What everything may import."""

WITHIN_GROUND: dict[str, frozenset[str]] = {
    "_version": frozenset(),
    "errors": frozenset(),
    "model": frozenset({"errors"}),
    "events": frozenset({"errors", "model"}),
}

EVERYTHING = frozenset({"*"})

MAY_IMPORT: dict[str, frozenset[str]] = {
    # floor 0
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
    "_version": frozenset(),
    "errors": frozenset(),
    "events": frozenset(),
    "model": frozenset(),
    "llb": frozenset(),
    # floor 1
    "bakefile": frozenset(),
    "library": frozenset(),
    "dockerfile": frozenset({"llb"}),
    # floor 2
    "planner": frozenset({"llb", "dockerfile"}),
    # floor 3
    "content": frozenset(),
    "registry": frozenset({"content", "session"}),
    "session": frozenset(),
    "snapshot": frozenset({"content"}),
    "solver": frozenset(),
    "cache": frozenset({"content", "registry", "solver"}),
    "source": frozenset({"llb", "content", "registry", "session", "snapshot"}),
    "worker": frozenset({"llb", "solver", "source", "snapshot", "content", "session"}),
    "exporter": frozenset({"solver", "content", "registry", "snapshot"}),
    # floor 4
    "engine": frozenset({"llb", "planner", "content", "registry", "session", "snapshot", "solver", "cache", "source",
                         "worker", "exporter"}),
    # floor 5
    "progress": frozenset(),
    "cli": EVERYTHING,
}  # fmt: skip

FOREIGN: dict[str, frozenset[str]] = {
    # who may import a distribution that is slow to import or ties the room to a way of working
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli", "progress"}),
    "grpc": frozenset({"engine"}),
    "jsonschema": frozenset({"cli"}),
}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ("bakepy", *(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module imports."""
    package = ("bakepy", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join((*package[: len(package) - node.level + 1], *([base] if base else [])))
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if base == "bakepy" else base


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    room = name_of(path)[1]
    assert room in MAY_IMPORT, f"{path}: the room '{room}' is not in the table of tests/test_layers.py"
    allowed = MAY_IMPORT[room] | {room} | (WITHIN_GROUND[room] if room in GROUND else GROUND)
    offending = []
    for line, name in imports(path):
        top, _, rest = name.partition(".")
        if top == "bakepy":
            other = rest.partition(".")[0]
            if other and other not in allowed and "*" not in allowed and other != "__version__":
                offending.append(f"bakepy/{path.relative_to(ROOT)}:{line}: {room} must not import bakepy.{rest}")
        elif top in FOREIGN and room not in FOREIGN[top]:
            offending.append(f"bakepy/{path.relative_to(ROOT)}:{line}: {room} must not import {name}")
    assert not offending, "\n".join(offending)


def test_the_table_names_no_room_twice_and_goes_down() -> None:
    """Nobody may import a room that may import it back."""
    for room, others in MAY_IMPORT.items():
        for other in others - EVERYTHING:
            assert room not in MAY_IMPORT[other], f"{room} and {other} may import each other"


def test_a_forbidden_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "solver" / "bad.py"
    module.parent.mkdir()
    module.write_text("def late() -> None:\n    from ..llb import op\n    import bakepy.cli.run\n", encoding="utf-8")
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    assert list(imports(module)) == [(2, "bakepy.llb"), (3, "bakepy.cli.run")]
    with pytest.raises(AssertionError, match=r"solver/bad\.py:2: solver must not import bakepy\.llb"):
        test_imports_go_down(module)
