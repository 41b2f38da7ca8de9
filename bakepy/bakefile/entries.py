"""The values of a target that have a form of their own: outputs, caches, secrets, SSH, attestations, policies.

Each can be written as a string (comma separated `key=value` fields) or as an object. The parsers here raise
`EntryError`; who calls them knows the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.values import ConvertError, Value
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import CacheEntry, OutputEntry, PolicyEntry, SecretEntry, SSHEntry

E = TypeVar("E")


class EntryError(Exception):
    """What is wrong with an entry. `element`: which one of a list, if it is known."""

    def __init__(self, what: str, element: int | None = None) -> None:
        super().__init__(what)
        self.element = element


# -- comma separated fields


def csv_fields(line: str, comma: str = ",") -> list[str]:
    """The fields of one CSV record (RFC 4180). Raises EntryError; also for an empty text."""
    if line.endswith("\n"):
        line = line[:-2] if line.endswith("\r\n") else line[:-1]
    if not line:
        raise EntryError("there is nothing in it")
    found: list[str] = []
    position = 0
    while True:
        if not line.startswith('"', position):
            end = line.find(comma, position)
            field = line[position:] if end < 0 else line[position:end]
            if '"' in field:
                raise EntryError(
                    "a quote in the middle of a field: put quotes round the whole field and double inner ones"
                )
            found.append(field)
            if end < 0:
                return found
            position = end + 1
            continue
        field, position = _quoted_field(line, position + 1)
        found.append(field)
        if position >= len(line):
            return found
        if line[position] != comma:
            raise EntryError(f"expected '{comma}' after a quoted field, found '{line[position]}'")
        position += 1


def _quoted_field(line: str, position: int) -> tuple[str, int]:
    pieces = []
    while True:
        end = line.find('"', position)
        if end < 0:
            raise EntryError("a quote is not closed")
        pieces.append(line[position:end])
        if not line.startswith('"', end + 1):
            return "".join(pieces), end + 1
        pieces.append('"')
        position = end + 2


def parse_bool(text: str) -> bool:
    """What the command line takes for a bool. Raises EntryError."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise EntryError(f"expected true or false, found {text!r}")


# -- from strings


def parse_output(text: str) -> OutputEntry:
    """`type=local,dest=out`, or just a folder, or `-`."""
    fields = csv_fields(text)
    if len(fields) == 1 and fields[0] == text and not text.startswith("type="):
        return OutputEntry("tar" if text == "-" else "local", text)
    kind, dest, attrs = "", "", {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise EntryError(f"expected key=value, found {field!r}")
        name = name.lower().strip()
        if name == "type":
            kind = value
        elif name == "dest":
            dest = value
        else:
            attrs[name] = value
    if not kind:
        raise EntryError("an output needs a type")
    return OutputEntry(kind, dest, FrozenMap(attrs))


def parse_caches(text: str) -> list[CacheEntry]:
    """`type=registry,ref=…`, or references only, separated by commas."""
    if not text:
        return []
    fields = csv_fields(text)
    if "=" not in text:
        return [CacheEntry("registry", FrozenMap({"ref": _reference(field)})) for field in fields]
    kind, attrs = "", {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise EntryError(f"expected key=value, found {field!r}")
        name = name.lower()
        if name == "type":
            kind = value
        else:
            attrs[name] = value
    if not kind:
        raise EntryError(f"a cache needs a type: {text!r}")
    return [CacheEntry(kind, FrozenMap(attrs))]


def _reference(field: str) -> str:
    """Of a list of references each is a CSV record again, of one field."""
    if not field:
        raise EntryError("an empty reference: there is a comma too many")
    parts = csv_fields(field)
    if len(parts) > 1:
        raise EntryError(f"expected one reference, found {field!r}")
    return parts[0]


def parse_secret(text: str) -> SecretEntry:
    """`id=token,src=file` or `id=token,env=NAME`."""
    found = {"id": "", "src": "", "env": ""}
    kind = ""
    for field in csv_fields(text):
        name, equals, value = field.partition("=")
        name = name.lower()
        if not equals:
            raise EntryError(f"expected key=value, found {field!r}")
        if name == "type":
            if value not in ("file", "env"):
                raise EntryError(f"there is no secret type {value!r}: expected file or env")
            kind = value
        elif name == "source":
            found["src"] = value
        elif name in found:
            found[name] = value
        else:
            raise EntryError(f"a secret has no key {name!r}: expected id, src, env or type")
    if kind == "env" and not found["env"]:
        found["env"], found["src"] = found["src"], ""
    return SecretEntry(**found)


def parse_ssh(text: str) -> SSHEntry:
    """`default`, or `id=path,path`."""
    name, equals, paths = text.partition("=")
    return SSHEntry(name, tuple(paths.split(",")) if equals else ())


def parse_attest(text: str) -> FrozenMap[str, str]:
    """`type=provenance,mode=max`. The result has `type`, the attributes, and `disabled = "true"` if it is."""
    kind, disabled, attrs = "", False, {}
    for field in csv_fields(text):
        name, equals, value = field.partition("=")
        if not equals:
            raise EntryError(f"expected key=value, found {field!r}")
        match name.lower().strip():
            case "type":
                kind = value
            case "disabled":
                disabled = parse_bool(value)
            case _:
                attrs[name] = value
    if not kind:
        raise EntryError("an attestation needs a type")
    return make_attest(kind, disabled, attrs)


def make_attest(kind: str, disabled: bool, attrs: Mapping[str, str]) -> FrozenMap[str, str]:
    return FrozenMap({"type": kind, **attrs, **({"disabled": "true"} if disabled else {})})


_LOG_LEVELS: Final = {
    name: name if name != "warn" else "warning"
    for name in ("panic", "fatal", "error", "warn", "warning", "info", "debug", "trace")
}


def parse_policy(text: str) -> PolicyEntry:
    """`filename=a.rego,strict=true`."""
    return policy_of(field.partition("=") for field in csv_fields(text))


def policy_of(fields: Iterable[tuple[str, str, str]]) -> PolicyEntry:
    files: list[str] = []
    flags: dict[str, bool] = {}
    level: str | None = None
    for name, equals, value in fields:
        name = name.lower().strip()
        if not equals or (name == "filename" and not value):
            raise EntryError(f"expected key=value, found {name + equals!r}")
        if name == "filename":
            files.append(value)
        elif name in ("reset", "disabled", "strict"):
            flags[name] = parse_bool(value)
        elif name == "log-level":
            level = _LOG_LEVELS.get(value.lower())
            if level is None:
                raise EntryError(f"there is no log level {value!r}: expected {', '.join(_LOG_LEVELS)}")
        else:
            raise EntryError(f"a policy has no key {name!r}")
    return PolicyEntry(
        tuple(files), flags.get("reset", False), flags.get("disabled", False), flags.get("strict"), level
    )


# -- from objects

_STRINGS: Final = v.MapType(v.STRING)
_SECRET: Final = v.ObjectType(dict.fromkeys(("id", "src", "env"), v.STRING), ("id", "src", "env"))
_SSH: Final = v.ObjectType({"id": v.STRING, "paths": v.ListType(v.STRING)}, ("id", "paths"))
RESOURCES: Final[dict[str, v.Type]] = {
    "memory": v.STRING,
    "memory-swap": v.STRING,
    "cpu-shares": v.NUMBER,
    "cpu-period": v.NUMBER,
    "cpu-quota": v.NUMBER,
    "cpuset-cpus": v.STRING,
    "cpuset-mems": v.STRING,
}
"""The limits of `resources`, in the order in which they are printed."""


def _convert(value: Value, want: v.Type) -> Value:
    try:
        return convert(value, want)
    except ConvertError as reason:
        raise EntryError(str(reason)) from None


def string_map(value: Value) -> dict[str, str]:
    """An object of strings; numbers and bools become strings. Nulls are refused."""
    found = _convert(value, _STRINGS).raw
    if found is None:
        raise EntryError("it is null")
    for name in sorted(found):
        if found[name].raw is None:
            raise EntryError(f"{name!r} is null")
    return {name: found[name].raw for name in sorted(found)}


def output_from(value: Value) -> list[OutputEntry]:
    if value.type is v.STRING:
        return [parse_output(value.raw)]
    attrs = string_map(value)
    kind, dest = attrs.pop("type", ""), attrs.pop("dest", "")
    if not kind:
        raise EntryError("an output needs a type")
    return [OutputEntry(kind, dest, FrozenMap(attrs))]


def caches_from(value: Value) -> list[CacheEntry]:
    if value.type is v.STRING:
        return parse_caches(value.raw)
    attrs = string_map(value)
    kind = attrs.pop("type", "")
    if not kind:
        raise EntryError("a cache needs a type")
    return [CacheEntry(kind, FrozenMap(attrs))]


def secret_from(value: Value) -> list[SecretEntry]:
    if value.type is v.STRING:
        return [parse_secret(value.raw)]
    found = _convert(value, _SECRET).raw
    if found is None:
        raise EntryError("it is null")
    return [SecretEntry(**{name: found[name].raw or "" for name in ("id", "src", "env")})]


def ssh_from(value: Value) -> list[SSHEntry]:
    if value.type is v.STRING:
        return [parse_ssh(value.raw)]
    found = _convert(value, _SSH).raw
    if found is None:
        raise EntryError("it is null")
    paths = found["paths"].raw or ()
    if any(each.raw is None for each in paths):
        raise EntryError("a path is null")
    return [SSHEntry(found["id"].raw or "", tuple(each.raw for each in paths))]


def attest_from(value: Value) -> list[FrozenMap[str, str]]:
    if value.type is v.STRING:
        return [parse_attest(value.raw)]
    attrs = string_map(value)
    disabled = parse_bool(attrs.pop("disabled", "false"))
    return [make_attest(attrs.pop("type", ""), disabled, attrs)]


def policy_from(value: Value) -> list[PolicyEntry]:
    if value.type is v.STRING:
        return [parse_policy(value.raw)]
    if not v.is_mapping(value.type) or value.raw is None:
        raise EntryError(f"a string or an object is required, not {v.article(value.type)}")
    fields = []
    for name in sorted(value.raw):
        each = value.raw[name]
        if each.raw is None or each.raw == "":
            continue
        fields.append((name, "=", str(_convert(each, v.STRING).raw)))
    return [policy_of(fields)]


def resources_from(value: Value) -> dict[str, str | int]:
    """Unknown names are skipped; null is not set."""
    want = v.ObjectType(RESOURCES, RESOURCES)
    found = _convert(value, want).raw
    if found is None:
        raise EntryError("it is null")
    limits: dict[str, str | int] = {}
    for name, type in RESOURCES.items():
        each = found[name].raw
        if each is None:
            continue
        if type is v.STRING:
            limits[name] = each
        elif not each.fits(63):
            raise EntryError(f"{name!r} must be a whole number, not {each}")
        else:
            limits[name] = each.truncated()
    return limits


def parse_resource(name: str, text: str) -> str | int:
    """One limit, as given on the command line."""
    if name not in RESOURCES:
        raise EntryError(f"there is no limit {name!r}: expected {', '.join(RESOURCES)}")
    if RESOURCES[name] is v.STRING:
        return text
    try:
        number = int(text) if text.lstrip("+-").isdecimal() and text.isascii() and "_" not in text else None
    except ValueError:
        number = None
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise EntryError(f"{name!r} must be a whole number, not {text!r}")
    return number


class _Parser(Protocol[E]):
    def __call__(self, value: Value, /) -> list[E]: ...


def entries_from(value: Value, parse: Callable[[Value], list[Any]]) -> tuple[Any, ...]:
    """A list of entries; empty strings in it are left out. Raises EntryError, also for null."""
    if not isinstance(value.type, (v.TupleType, v.ListType)):
        if value.raw is None:
            raise EntryError("null is not allowed here; leave it out")
        hint = ": put it in brackets" if value.type is v.STRING or isinstance(value.type, v.ObjectType) else ""
        raise EntryError(f"a list is required, not {v.article(value.type)}{hint}")
    if value.raw is None:
        raise EntryError("null is not allowed here; leave it out")
    found: list[Any] = []
    for position, each in enumerate(value.raw):
        if each.type is v.STRING and each.raw == "":
            continue
        if each.raw is None:
            raise EntryError(f"element {position} is null", position)
        try:
            found += parse(each)
        except EntryError as error:
            what = f"element {position}: {error}" if len(value.raw) > 1 else str(error)
            raise EntryError(what, position) from None
    return tuple(found)


# -- each once


def unique_texts(items: Sequence[str]) -> tuple[str, ...]:
    """Without empty texts; of equal ones the first."""
    return tuple(dict.fromkeys(each for each in items if each))


def unique_entries(items: Sequence[E]) -> tuple[E, ...]:
    """Equal entries once, in the order in which buildx leaves them.

    Going from the last but one to the first, an equal entry further right changes places with the last, and is cut off.
    """
    if len(items) < 2 or len(set(items)) == len(items):
        return tuple(items)
    kept = list(items)
    for position in range(len(kept) - 2, -1, -1):
        for other in range(position + 1, len(kept)):
            if kept[position] == kept[other]:
                kept[other] = kept[-1]
                kept.pop()
                break
    return tuple(kept)


def unique_by(items: Sequence[E], key: Callable[[E], str]) -> tuple[E, ...]:
    """One entry for each key: in the first one's place, the last one's value."""
    found: dict[str, E] = {}
    for each in items:
        found[key(each)] = each
    return tuple(found.values())
