"""`--set TARGET.KEY=VALUE`: what the command line changes in targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bakepy.bakefile import entries as e
from bakepy.bakefile.config import Config, TargetDraft
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.fields import BY_NAME, FIELDS, Field
from bakepy.bakefile.matching import PatternError, is_pattern, match_path
from bakepy.bakefile.source import Span, Text
from bakepy.errors import UsageError, nearest
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.target import OutputEntry

_KEYS: Final[dict[str, Field]] = {each.override.key or each.name: each for each in FIELDS if each.override.form}
KEYS: Final = (*_KEYS, "secret", "push", "load")
"""Every key that `--set` takes."""


class Change:
    """All that was said about one key of one target."""

    __slots__ = ("appends", "key", "name", "place", "text", "texts")

    def __init__(self, key: str, name: str | None, place: Span) -> None:
        self.key = key
        self.name = name
        self.place = place
        """The value, in the last argument that changes it."""
        self.text = ""
        self.texts: list[str] = []
        self.appends = False


class Overrides:
    """The changes of each target, by name."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Change]] = {}

    @classmethod
    def parse(cls, texts: Iterable[str], config: Config, lookup: Callable[[str], str | None]) -> Overrides:
        """Raises UsageError. `lookup` gives the environment's value for `args.NAME` without a value."""
        made = cls()
        for text in texts:
            made._add(text, config, lookup)
        return made

    def _add(self, text: str, config: Config, lookup: Callable[[str], str | None]) -> None:
        left, equals, value = text.partition("=")
        appends = left.endswith("+")
        path = left.removesuffix("+")
        pattern, dot, rest = path.partition(".")
        key, named, name = rest.partition(".")
        if not dot:
            raise UsageError(f"--set {text}: expected TARGET.KEY=VALUE, found {path!r}")
        if not equals and key != "args":
            raise UsageError(f"--set {text}: there is no value", hint=f"write {path}=VALUE")
        targets = expand(pattern, config, text)
        if key in ("args", "contexts", "resources", "secret") and "." not in rest:
            raise UsageError(f"--set {text}: {key} needs a name", hint=f"write {pattern}.{key}.NAME=VALUE")
        if key in ("resources", "secret") and appends:
            raise UsageError(f"--set {text}: {key} can not be appended to", hint="write = instead of +=")
        if key == "args" and not equals:
            found = lookup(name)
            if found is None:
                return
            value, equals = found, "="
        place = Span(Text(SourceFile("--set", text)), len(left) + 1 if equals and left != text else 0, len(text))
        several = key in _KEYS and _KEYS[key].override.form == "values"
        for target in targets:
            change = self.changes.setdefault(target, {}).setdefault(rest, Change(key, name if named else None, place))
            change.place = place
            if several:
                change.appends = appends
                change.texts.append(value)
            else:
                change.text = value

    def apply(self, target: TargetDraft) -> None:
        """Changes the target. Raises UsageError."""
        for change in sorted(self.changes.get(target.name, {}).values(), key=_order):
            try:
                _apply(target, change)
                _note(target, change)
            except EntryError as error:
                shown = ", ".join(change.texts) or change.text
                raise UsageError(f"--set {target.name}.{change.key}={shown}: {error}") from None


def _note(target: TargetDraft, change: Change) -> None:
    """What was changed stands on the command line now."""
    name = _KEYS[change.key].name if change.key in _KEYS else "secret" if change.key == "secret" else "output"
    if name != "secret" and change.name is not None:
        target.places[f"{name}.{change.name}"] = (change.place,)
    elif change.appends:
        target.places[name] = (*target.places.get(name, ()), change.place)
    else:
        target.places[name] = (change.place,)


def _order(change: Change) -> int:
    """What counts on something else comes after it: declared secrets before their changes, outputs before push."""
    return {"secret": 1, "push": 2, "load": 3}.get(change.key, 0)


def expand(pattern: str, config: Config, text: str) -> list[str]:
    """The targets that a pattern means."""
    if pattern in config.targets:
        return [pattern]
    try:
        found = [name for name in config.targets if match_path(pattern, name)]
    except PatternError as error:
        raise UsageError(f"--set {text}: {pattern!r} is no pattern: {error}") from None
    if not found:
        what = "matches no target" if is_pattern(pattern) else "is no target"
        raise UsageError(f"--set {text}: {pattern!r} {what}", hint=nearest(pattern, config.targets))
    return found


def _apply(target: TargetDraft, change: Change) -> None:
    match change.key:
        case "push":
            target.values["output"] = with_push(target.values.get("output") or (), e.parse_bool(change.text))
        case "load":
            target.values["output"] = with_load(target.values.get("output") or (), e.parse_bool(change.text))
        case "secret":
            _change_secret(target, change.name or "", change.text)
        case "network":
            # buildx takes the values of this key for a list and then sets the (empty) single one.
            target.values["network"] = ""
        case "no-cache-filter" | "ulimits":
            target.values[change.key] = None
        case key if key in _KEYS:
            _set_field(target, _KEYS[key], change)
        case key:
            hint = nearest(key, KEYS) or f"known: {', '.join(KEYS)}"
            raise UsageError(f"--set {change.place.text.text}: unknown key {key!r}", hint=hint)


def _set_field(target: TargetDraft, entry: Field, change: Change) -> None:
    name = entry.name
    match entry.override.form:
        case "value":
            target.values[name] = e.parse_bool(change.text) if name in ("pull", "no-cache") else change.text
            target.folders.pop(name, None)
        case "keyed":
            if change.name is None:
                raise UsageError(f"--set {target.name}.{change.key}: it needs a name", hint=f"{change.key}.NAME=VALUE")
            value: Any = e.parse_resource(change.name, change.text) if name == "resources" else change.text
            target.values[name] = {**(target.values.get(name) or {}), change.name: value}
            target.folders.pop(f"{name}.{change.name}", None)
        case _:
            _set_values(target, entry, change)


_PARSERS: Final[dict[str, Callable[[str], Sequence[Any]]]] = {
    "cache-from": e.parse_caches,
    "cache-to": e.parse_caches,
    "secret": lambda text: [e.parse_secret(text)] if text else [],
    "ssh": lambda text: [e.parse_ssh(text)] if text else [],
    "output": lambda text: [e.parse_output(text)] if text else [],
    "attest": lambda text: [e.parse_attest(text)] if text else [],
    "policy": lambda text: [e.parse_policy(text)],
}


def _set_values(target: TargetDraft, entry: Field, change: Change) -> None:
    parse = _PARSERS.get(entry.name)
    new: tuple[Any, ...] = tuple(change.texts)
    if parse is not None:
        new = tuple(each for text in change.texts for each in parse(text))
    old = target.values.get(entry.name)
    if change.appends or entry.override.always_appends:
        new = (*(old or ()), *new)
        if parse is not None:
            new = entry.kind.normalize(new)
    target.values[entry.name] = new


def _change_secret(target: TargetDraft, name: str, text: str) -> None:
    """A declared secret's source."""
    secrets = list(target.values.get("secret") or ())
    for position, each in enumerate(secrets):
        if each.id == name:
            new = e.parse_secret(text)
            if new.id not in ("", name):
                raise EntryError(f"the id {new.id!r} is not that of the secret {name!r}")
            secrets[position] = type(each)(name, new.src, new.env)
            target.values["secret"] = tuple(secrets)
            return
    hint = nearest(name, [each.id for each in secrets])
    raise EntryError(f"the target declares no secret {name!r}{'; ' + hint if hint else ''}")


def with_push(outputs: Sequence[OutputEntry], push: bool) -> tuple[OutputEntry, ...]:
    """Outputs that push, or do not."""
    if not push:
        kept = list(outputs)
        position = 0
        while position < len(kept):
            if kept[position].type == "registry":
                kept[position] = kept[-1]  # the last one takes its place, as in buildx
                kept.pop()
                continue
            if kept[position].type == "image":
                kept[position] = _with_attribute(kept[position], "push", "false")
            position += 1
        return tuple(kept)
    changed = [_with_attribute(each, "push", "true") if each.type == "image" else each for each in outputs]
    if all(each.type == "docker" for each in outputs):
        changed.append(OutputEntry("image", "", FrozenMap({"push": "true"})))
    return tuple(changed)


def _with_attribute(output: OutputEntry, name: str, value: str) -> OutputEntry:
    return OutputEntry(output.type, output.dest, FrozenMap({**output.attrs, name: value}))


def with_load(outputs: Sequence[OutputEntry], load: bool) -> tuple[OutputEntry, ...]:
    """Outputs that load into Docker, unless there is one already, or one that is no image."""
    if not load:
        return tuple(outputs)
    for each in outputs:
        if each.type == "docker" and not each.dest:
            return tuple(outputs)
        if each.type not in ("docker", "image", "registry", "oci"):
            return tuple(outputs)
    return (*outputs, OutputEntry("docker"))


def check_keys(change: str) -> None:
    """Raises UsageError for a key that no target takes."""
    if change not in BY_NAME and change not in KEYS:
        raise UsageError(f"--set: unknown key {change!r}", hint=nearest(change, KEYS))
