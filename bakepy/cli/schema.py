"""`bakepy schema`: the JSON Schemas of bake.toml and of metadata files, and what they say of a file."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from bakepy.errors import BakeError, DefinitionError, DefinitionErrors, UsageError, nearest

KINDS = ("bake", "metadata")


def schema(
    kind: Annotated[str, typer.Argument(help="bake or metadata.", metavar="[bake|metadata]")] = "bake",
    check: Annotated[
        list[Path] | None, typer.Option("--check", help="Check a file against it.", metavar="FILE")
    ] = None,
) -> None:
    """Print the JSON Schema of bake.toml, or of metadata files; or check files against it, as editors do."""
    if kind not in KINDS:
        raise UsageError(f"there is no schema {kind!r}", hint=nearest(kind, KINDS) or "bake or metadata")
    text = _bake() if kind == "bake" else _metadata()
    if not check:
        sys.stdout.write(text)
        return
    errors = [error for path in check for error in _violations(path, json.loads(text))]
    if errors:
        raise DefinitionErrors(errors)


def _bake() -> str:
    from bakepy.bakefile.schema import schema_text

    return schema_text()


def _metadata() -> str:
    return files("bakepy.cli").joinpath("schemas", "metadata.schema.json").read_text("utf-8")


def _violations(path: Path, schema: dict[str, Any]) -> list[BakeError]:
    """What the schema says against the file, in the order of its values."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    every = [fitting for error in validator.iter_errors(_value(path)) for fitting in _fitting(error)]
    found = sorted(every, key=lambda error: [str(part) for part in error.absolute_path])
    return [DefinitionError(f"{path}: {_place(error.absolute_path)}{error.message}") for error in found]


def _fitting(error: Any) -> list[Any]:
    """Of a value that may have several forms, what is wrong with the form that it has; else the error itself."""
    if error.validator != "anyOf":
        return [error]
    forms: dict[int, list[Any]] = {}
    for inner in error.context:
        forms.setdefault(inner.schema_path[0], []).append(inner)
    alike = [form for form in forms.values() if all(one.validator != "type" or one.relative_path for one in form)]
    return [fitting for inner in alike[0] for fitting in _fitting(inner)] if len(alike) == 1 else [error]


def _value(path: Path) -> Any:
    """The content of a TOML or JSON file, by its name. Raises UsageError or DefinitionError."""
    try:
        data = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can not be read: {error}") from error
    try:
        if path.name.removesuffix(".example").endswith(".toml"):
            import tomli

            return tomli.loads(data)
        return json.loads(data)
    except ValueError as error:  # both libraries' errors are
        raise DefinitionError(f"{path}: {error}") from error


def _place(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return f"{text}: " if text else ""
