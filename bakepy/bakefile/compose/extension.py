"""`x-bake` in the `build` of a service: what compose has no keys for. Imported by files that have it."""

from __future__ import annotations

from typing import Any

from bakepy.bakefile import entries as e
from bakepy.bakefile.compose.scalars import SCALARS, Moment, scalar_text
from bakepy.bakefile.compose.service import kind_of, linked
from bakepy.bakefile.compose.shapes import Error
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.yaml_reader import Path
from bakepy.bakefile.config import TargetDraft, unique
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.fields import BY_NAME


def extend(draft: TargetDraft, value: Any, path: Path, surroundings: Surroundings, error: Error) -> None:
    """Adds what `x-bake` says to a target. Raises DefinitionError."""
    if not isinstance(value, dict):
        raise error(path, f"expected a mapping, found {kind_of(value)}")
    values = draft.values
    for name in ("tags", "platforms", "no-cache-filter"):
        if items := _words(value.get(name), (*path, name), surroundings, error):
            values[name] = unique([*(values.get(name) or ()), *items])
    for name, parse in (
        ("cache-from", e.parse_caches),
        ("cache-to", e.parse_caches),
        ("secret", lambda text: [e.parse_secret(text)]),
        ("ssh", lambda text: [e.parse_ssh(text)]),
        ("output", lambda text: [e.parse_output(text)]),
    ):
        items = _words(value.get(name), (*path, name), surroundings, error)
        if not any(items):
            continue
        try:
            new = tuple(entry for text in items if text for entry in surroundings.entries(text, parse))
        except EntryError as reason:
            raise error((*path, name), str(reason)) from None
        merged = BY_NAME[name].kind.normalize((*(values.get(name) or ()), *new))
        values[name] = tuple(sorted(merged, key=lambda each: (each.id, each.paths))) if name == "ssh" else merged
    for name in ("pull", "no-cache"):
        if value.get(name) is not None:
            values[name] = _switch(value[name], (*path, name), error)
    contexts = value.get("contexts")
    if contexts is not None:
        if not isinstance(contexts, dict) or not all(
            isinstance(each, (*SCALARS, type(None))) for each in contexts.values()
        ):
            raise error((*path, "contexts"), "expected a mapping of strings")
        added = {key: linked("" if each is None else _rewritten(each)) for key, each in contexts.items()}
        values["contexts"] = {**added, **(values.get("contexts") or {})}


def _words(value: Any, path: Path, surroundings: Surroundings, error: Error) -> list[str]:
    """A list of strings, or one string whose words are the list."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, (*SCALARS, type(None))) for each in value):
        return ["" if each is None else _rewritten(each) for each in value]
    if isinstance(value, SCALARS):
        return surroundings.words(_rewritten(value))
    raise error(path, f"expected a list of strings, found {kind_of(value)}")


def _switch(value: Any, path: Path, error: Error) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("y", "Y", "yes", "on"):
        return True
    if value in ("n", "N", "no", "off"):
        return False
    raise error(path, f"expected true or false, found {value!r}")


def _rewritten(value: Any) -> str:
    """A scalar of x-bake, which is written as YAML again before it is read."""
    return value.standard if isinstance(value, Moment) else scalar_text(value)
