"""The JSON Schema of bake.toml, for editors, made of the table of fields. `python -m bakepy.bakefile.schema` prints it.

bakepy itself does not read it: its own checks have places and better words. A test keeps the file in `schemas/` equal
to what is made here.
"""

from __future__ import annotations

from typing import Any, Final

from bakepy.bakefile.fields import FIELDS, STRUCTURAL
from bakepy.bakefile.render import to_json

ID: Final = "urn:bakepy:schema:bake"
_NAME: Final = "^[a-zA-Z0-9_-]+$"
_TEXT: Final = {"type": "string"}
_SCALAR: Final = {"type": ["string", "number", "boolean"]}


def schema() -> dict[str, Any]:
    """The whole schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "bake.toml",
        "description": "Targets, groups, variables and functions of a bake file. Strings are templates: ${…}.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "include": {
                "description": "Files to read before this one, from the folder of this one.",
                "type": "array",
                "items": _TEXT,
            },
            "target": _named("Targets, by name.", "target"),
            "group": _named("Groups of targets, by name.", "group"),
            "variable": _named("Variables that the environment and --var can set, by name.", "variable", None),
            "function": _named("Functions, by name.", "function", None),
            "locals": {"description": "Values by name, for use in this file.", "type": "object"},
            "pools": {
                "description": "How many steps run at the same time in each pool, by its name.",
                "type": "object",
                "additionalProperties": {"type": ["integer", "string"]},
            },
        },
        "$defs": {"target": _target(), "group": _group(), "variable": _variable(), "function": _function()},
    }


def _named(description: str, kind: str, names: str | None = _NAME) -> dict[str, Any]:
    """Tables by name; one that is there several times (`[[target.app]]`) is an array of them."""
    entry = {"$ref": f"#/$defs/{kind}"}
    found: dict[str, Any] = {
        "description": description,
        "type": "object",
        "additionalProperties": {"anyOf": [entry, {"type": "array", "items": entry}]},
    }
    if names is not None:
        found["propertyNames"] = {"pattern": names}
    return found


def _target() -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": {"description": STRUCTURAL["name"], **_TEXT},
        "matrix": {
            "description": STRUCTURAL["matrix"],
            "anyOf": [_TEXT, {"type": "object", "additionalProperties": {"type": ["array", "string", "object"]}}],
        },
    }
    for field in FIELDS:
        properties[field.name] = {"description": field.description, **_or_template(field.kind.schema())}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "dependentRequired": {"name": ["matrix"]},
    }


def _or_template(shape: dict[str, Any]) -> dict[str, Any]:
    """A string that is one interpolation can have any type."""
    types = shape.get("type")
    if types == "string" or (isinstance(types, list) and "string" in types):
        return shape
    return {"anyOf": [shape, {"type": "string", "pattern": "^\\$\\{"}]}


def _group() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["targets"],
        "properties": {
            "description": {"description": "What the group is for.", **_TEXT},
            "targets": {"description": "Targets and groups.", **_or_template({"type": "array", "items": _TEXT})},
        },
    }


def _variable() -> dict[str, Any]:
    rule = {
        "type": "object",
        "additionalProperties": False,
        "required": ["condition"],
        "properties": {
            "condition": {"description": "What must be true, such as ${length(TAG) > 0}.", **_SCALAR},
            "error_message": {"description": "What to say otherwise.", **_TEXT},
        },
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "default": {"description": "The value if none is given from outside."},
            "type": {"description": "Such as string, number, list(string), map(number).", **_TEXT},
            "description": {"description": "What the variable is for.", **_TEXT},
            "validation": {"description": "Rules for the value.", "anyOf": [rule, {"type": "array", "items": rule}]},
            "sensitive": {
                "description": "A value given with --var is not written down for a run that resumes this one.",
                "type": "boolean",
            },
            "nullable": {"description": "Taken, and without effect.", "type": "boolean"},
        },
    }


def _function() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["params", "result"],
        "properties": {
            "params": {"description": "Names of the parameters.", "type": "array", "items": _TEXT},
            "variadic_params": {"description": "The name of the list of further arguments.", **_TEXT},
            "result": {"description": "What the function gives."},
        },
    }


def schema_text() -> str:
    """The text of `schemas/bake.schema.json`."""
    return to_json(schema()) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(schema_text())
