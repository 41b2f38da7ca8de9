"""The table of target fields: decoding, merging, normalising, overriding, printing and the schema are driven by it.

The order of the table is the order in which `--print` writes.
"""

from __future__ import annotations

from typing import Any, Final

from bakepy.bakefile import entries as e
from bakepy.bakefile import values as v
from bakepy.bakefile.kinds import (
    STRINGS,
    DescriptionKind,
    EntriesKind,
    FlagKind,
    Kind,
    ParsedKind,
    PolicyKind,
    ResourcesKind,
    TextKind,
    TextMapKind,
    TextsKind,
    by_name,
)
from bakepy.bakefile.own import MOST_ATTEMPTS, memory_from, retry_from
from bakepy.model.target import EXIT, NETWORK


def _print_policy(policy: Any) -> dict[str, Any]:
    return {
        "Files": [{"Filename": name, "Data": None} for name in policy.files] or None,
        "Reset": policy.reset,
        "Disabled": policy.disabled,
        "Strict": policy.strict,
        "LogLevel": policy.log_level,
    }


def _policy_element(policy: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"filename": policy.files[0]} if policy.files else {}
    for name, flag in (("reset", policy.reset), ("disabled", policy.disabled)):
        if flag:
            found[name] = "true"
    if policy.strict is not None:
        found["strict"] = "true" if policy.strict else "false"
    if policy.log_level is not None:
        found["log-level"] = policy.log_level
    return found


class Override:
    """How `--set TARGET.KEY=VALUE` changes a field.

    `form`: `value` (one text), `values` (may come several times), `keyed` (`args.NAME=…`), or empty (it can not be
    set). `key`: the word on the command line, if it is not the field's name.
    """

    __slots__ = ("always_appends", "form", "key")

    def __init__(self, form: str = "", key: str = "", *, always_appends: bool = False) -> None:
        self.form = form
        self.key = key
        self.always_appends = always_appends


class Field:
    """One attribute of a target; `field` is its name in `model.target.Target`. `own`: bakepy's own; it stands in
    bake.toml, in other files inside `x-bakepy`, and is not printed."""

    __slots__ = ("description", "field", "kind", "name", "override", "own")

    def __init__(
        self,
        name: str,
        kind: Kind,
        description: str,
        override: Override | None = None,
        *,
        attribute: str = "",
        own: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.description = description
        self.override = override or Override()
        self.field = attribute or name.replace("-", "_")
        self.own = own


_RETRY: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MOST_ATTEMPTS},
        {
            "type": "object",
            "required": ["attempts"],
            "additionalProperties": False,
            "properties": {
                "attempts": {"type": ["integer", "string"], "description": "How often it is tried in all."},
                "backoff": {"type": ["string", "number"], "description": "The first pause; it doubles each time."},
                "on": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"anyOf": [{"enum": [NETWORK, EXIT]}, {"type": "integer", "minimum": 1, "maximum": 255}]},
                },
            },
        },
    ]
}

FIELDS: Final[tuple[Field, ...]] = (
    Field("description", DescriptionKind(), "What the target is for, in a line."),
    Field("inherits", TextsKind(appends=True, unique=False), "Targets whose attributes this one starts from."),
    Field(
        "annotations",
        TextsKind(appends=True, escaped=True),
        "OCI annotations, key=value, perhaps with a level: index:key=value.",
        Override("values", always_appends=True),
    ),
    Field(
        "attest",
        EntriesKind(
            "attestations",
            e.attest_from,
            STRINGS,
            dict,
            appends=True,
            unique=lambda items: e.unique_by(items, lambda each: str(each["type"])),
            print_entry=lambda each: by_name({**each, "disabled": True}) if "disabled" in each else by_name(each),
            properties=("type", "disabled"),
        ),
        "Attestations: provenance, SBOM.",
        Override("values", always_appends=True),
    ),
    Field("context", TextKind(), "The build context: a folder, a URL, or a remote repository.", Override("value")),
    Field(
        "contexts",
        TextMapKind(nullable=False, empty_removes=True),
        "Further contexts by name; `target:x` is the result of another target.",
        Override("keyed"),
    ),
    Field("dockerfile", TextKind(), "The Dockerfile, relative to the context.", Override("value")),
    Field("dockerfile-inline", TextKind(escaped=True), "A Dockerfile's text."),
    Field("args", TextMapKind(escaped=True), "Build arguments.", Override("keyed")),
    Field("labels", TextMapKind(escaped=True), "Labels of the image.", Override("keyed")),
    Field("tags", TextsKind(), "Names of the image.", Override("values")),
    Field(
        "cache-from",
        EntriesKind(
            "caches",
            e.caches_from,
            STRINGS,
            lambda each: {"type": each.type, **each.attrs},
            appends=True,
            unique=e.unique_entries,
            print_entry=lambda each: by_name({**each.attrs, "type": each.type}),
            properties=("type", "ref", "src"),
        ),
        "Caches to import.",
        Override("values"),
    ),
    Field(
        "cache-to",
        EntriesKind(
            "caches",
            e.caches_from,
            STRINGS,
            lambda each: {"type": each.type, **each.attrs},
            appends=False,
            unique=e.unique_entries,
            print_entry=lambda each: by_name({**each.attrs, "type": each.type}),
            properties=("type", "ref", "dest", "mode"),
        ),
        "Caches to export.",
        Override("values"),
    ),
    Field("target", TextKind(), "The stage to build.", Override("value")),
    Field(
        "secret",
        EntriesKind(
            "secrets",
            e.secret_from,
            v.ObjectType(dict.fromkeys(("id", "src", "env"), v.STRING)),
            lambda each: {"id": each.id, "src": each.src, "env": each.env},
            appends=True,
            unique=lambda items: e.unique_by(items, lambda each: str(each.id)),
            print_entry=lambda each: {name: text for name in ("id", "src", "env") if (text := getattr(each, name))},
            properties=("id", "src", "env"),
            open_properties=False,
        ),
        "Secrets for RUN --mount=type=secret.",
        Override("values", key="secrets"),
        attribute="secrets",
    ),
    Field(
        "ssh",
        EntriesKind(
            "SSH agents",
            e.ssh_from,
            v.ObjectType({"id": v.STRING, "paths": v.ListType(v.STRING)}),
            lambda each: {"id": each.id, "paths": list(each.paths)},
            appends=True,
            unique=lambda items: e.unique_by(items, lambda each: str(each.id)),
            print_entry=lambda each: {
                **({"id": each.id} if each.id else {}),
                **({"paths": list(each.paths)} if each.paths else {}),
            },
            properties=("id", "paths"),
            open_properties=False,
        ),
        "SSH agents or keys for RUN --mount=type=ssh.",
        Override("values"),
    ),
    Field("platforms", TextsKind(), "Platforms to build for.", Override("values", key="platform")),
    Field(
        "output",
        EntriesKind(
            "outputs",
            e.output_from,
            STRINGS,
            lambda each: {"type": each.type, "dest": each.dest, **each.attrs},
            appends=False,
            unique=e.unique_entries,
            print_entry=lambda each: by_name(
                {**each.attrs, "type": each.type, **({"dest": each.dest} if each.dest else {})}
            ),
            properties=("type", "dest", "name", "push", "compression", "tar"),
        ),
        "What becomes of the result. A string without type= is a folder, or - for a tar on standard output.",
        Override("values"),
        attribute="outputs",
    ),
    Field("pull", FlagKind(), "Look for newer base images.", Override("value")),
    Field("no-cache", FlagKind(), "Take nothing from the cache.", Override("value")),
    Field("network", TextKind(), "The network of RUN: default, none or host.", Override("values")),
    Field("no-cache-filter", TextsKind(appends=True), "Stages that take nothing from the cache.", Override("value")),
    Field("shm-size", TextKind(), "Size of /dev/shm, such as 128m.", Override("value")),
    Field("ulimits", TextsKind(appends=True), "Limits of processes, such as nofile=1024:1024.", Override("value")),
    Field("resources", ResourcesKind(), f"Limits of memory and CPU: {', '.join(e.RESOURCES)}.", Override("keyed")),
    Field("call", TextKind(), "What to do instead of building: check, outline, targets.", Override("value")),
    Field(
        "entitlements",
        TextsKind(appends=True),
        "Rights beyond the usual: network.host, security.insecure.",
        Override("values", always_appends=True),
    ),
    Field("extra-hosts", TextMapKind(escaped=True), "Addresses by host name.", Override("keyed")),
    Field(
        "policy",
        PolicyKind(
            "policies",
            e.policy_from,
            STRINGS,
            _policy_element,
            appends=True,
            unique=tuple,
            print_entry=_print_policy,
            properties=("filename", "reset", "disabled", "strict", "log-level"),
            open_properties=False,
        ),
        "Source policies.",
        Override("values"),
    ),
    Field(
        "metadata-file",
        TextKind(),
        "Where the metadata of this target goes.",
        own=True,
    ),
    Field(
        "memory",
        ParsedKind("size", memory_from, {"type": ["string", "integer"]}),
        "What each RUN takes of the memory budget of a run, such as 2g.",
        own=True,
    ),
    Field("pools", TextsKind(appends=True), "The pools in which each RUN takes a place.", own=True),
    Field(
        "retry",
        ParsedKind("retry", retry_from, _RETRY),
        "How often what may pass is tried: a number, or attempts, backoff and on.",
        own=True,
    ),
)

BY_NAME: Final[dict[str, Field]] = {field.name: field for field in FIELDS}
NATIVE_NAMES: Final = frozenset(field.name for field in FIELDS if not field.own)
OWN_NAMES: Final = frozenset(field.name for field in FIELDS if field.own)
TOML_NAMES: Final = frozenset(field.name for field in FIELDS)
STRUCTURAL: Final[dict[str, str]] = {
    "name": "The name of each target of a matrix; an expression over its variables.",
    "matrix": "Variables and their values: one target is made for each combination.",
}
"""Attributes of a target block that are not fields of the targets it makes."""

GROUP_FIELDS: Final[dict[str, Kind]] = {"description": DescriptionKind(), "targets": TextsKind(unique=False)}
