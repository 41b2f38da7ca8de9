"""The tables of keys in docs/bake-file.md, made of the schema and one example for each key.

`python -m tests.bakefile.reference` writes them. Examples are written once, in TOML; `bakepy convert` gives the HCL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bakepy.bakefile.convert import read_document
from bakepy.bakefile.convert.hcl import setting_line
from bakepy.bakefile.fields import BY_NAME, FIELDS, Field
from bakepy.bakefile.kinds import TextMapKind
from bakepy.bakefile.schema import schema
from bakepy.model.location import SourceFile

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "bake-file.md"
BEGIN: Final = "<!-- {}: written by python -m tests.bakefile.reference -->"
END: Final = "<!-- end of {} -->"

PREAMBLE: Final = """\
[variable.TAG]
[variable.PLATFORMS]
type = "list(string)"
[function.image]
params = ["name"]
result = "${name}:${TAG}"
"""
"""What the examples refer to."""

EXAMPLES: Final[Mapping[str, Mapping[str, str]]] = {
    "target": {
        "name": '"tool-${os}"',
        "matrix": '{ os = ["linux", "windows"] }',
        "description": '"the server"',
        "inherits": '["_base"]',
        "annotations": '["index:org.opencontainers.image.title=app"]',
        "attest": '["type=provenance,mode=max", { type = "sbom", disabled = true }]',
        "context": '"src"',
        "contexts": '{ base = "target:base", alpine = "docker-image://alpine:${TAG}" }',
        "dockerfile": '"Dockerfile.server"',
        "dockerfile-inline": "'FROM alpine:${TAG}'",
        "args": '{ VERSION = "${TAG}", DEBUG = true }',
        "labels": '{ "org.opencontainers.image.version" = "${TAG}" }',
        "tags": "['${image(\"app\")}']",
        "cache-from": '["type=registry,ref=example.com/cache"]',
        "cache-to": '[{ type = "inline" }]',
        "target": '"server"',
        "secret": '["id=token,env=TOKEN", { id = "key", src = "key.pem" }]',
        "ssh": '["default", { id = "deploy", paths = ["id_ed25519"] }]',
        "platforms": '"${PLATFORMS}"',
        "output": '["type=oci,dest=app.tar", { type = "image", push = true }]',
        "pull": "true",
        "no-cache": "true",
        "network": '"none"',
        "no-cache-filter": '["server"]',
        "shm-size": '"128m"',
        "ulimits": '["nofile=1024:2048"]',
        "resources": '{ memory = "512m", cpu-shares = 512 }',
        "call": '"check"',
        "entitlements": '["network.host"]',
        "extra-hosts": '{ "db.internal" = "10.0.0.7" }',
        "policy": '["filename=policy.rego,strict=true"]',
        "metadata-file": '"app.json"',
        "memory": '"2g"',
        "pools": '["link"]',
        "retry": '{ attempts = 3, backoff = "2s", on = ["network", 28] }',
    },
    "group": {"description": '"what is shipped"', "targets": '["app", "tool"]'},
    "variable": {
        "default": '["linux/amd64"]',
        "type": '"list(string)"',
        "description": '"what is built for"',
        "validation": '{ condition = "${length(PLATFORMS) > 0}", error_message = "no platform" }',
        "sensitive": "true",
        "nullable": "false",
    },
    "function": {
        "params": '["name", "tag"]',
        "variadic_params": '"rest"',
        "result": "'${join(\"-\", concat([name, tag], rest))}'",
    },
}

_LATER: Final = {
    "attest": "are added, one for each type",
    "secret": "are added, one for each id",
    "ssh": "are added, one for each id",
}
_ONLY_EMPTIES: Final = ("network", "no-cache-filter", "ulimits")
_FURTHER_KEYS: Final = {"secret": ["secret.ID"], "output": ["push", "load"]}


def document(kind: str, keys: Mapping[str, str]) -> str:
    """TOML with these keys in one section."""
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f"[{kind}.{'PLATFORMS' if kind == 'variable' else 'it'}]\n{lines}"


def in_hcl(kind: str, key: str, value: str) -> str:
    """The lines of HCL that say the same as a line of TOML."""
    section = next(read_document(SourceFile("bake.toml", document(kind, {key: value}))).sections())
    if key in BY_NAME and kind == "target" and BY_NAME[key].own:
        return f"x-bakepy = {{ {setting_line(section.settings[0])} }}"
    if section.rules:
        return "\n".join(["validation {", *(f"  {setting_line(each)}" for each in section.rules[0].settings), "}"])
    return setting_line(section.settings[0])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return "<br>".join(f"`{_cell(line.strip())}`" for line in text.split("\n"))


def syntaxes(kind: str) -> Iterator[str]:
    """The table of all keys of one kind of block."""
    yield "| key | what it is | bake.toml | HCL |"
    yield "|---|---|---|---|"
    properties: dict[str, Any] = schema()["$defs"][kind]["properties"]
    for key, shape in properties.items():
        value = EXAMPLES[kind][key]
        told = _cell(shape["description"].removesuffix("."))
        yield f"| `{key}` | {told} | {_code(f'{key} = {value}')} | {_code(in_hcl(kind, key, value))} |"


def later() -> Iterator[str]:
    """The table of what values that come later do."""
    yield "| key | later values, and those of children | `--set` |"
    yield "|---|---|---|"
    for field in FIELDS:
        yield f"| `{field.name}` | {_later(field)} | {_set(field)} |"


def _later(field: Field) -> str:
    kind = field.kind
    if isinstance(kind, TextMapKind):
        extra = "; an empty one removes" if kind.empty_removes else ""
        return f"by name{extra}; null neither sets nor removes" if kind.nullable else f"by name{extra}"
    if kind.schema().get("type") == "object":
        return "by name"
    return _LATER.get(field.name) or ("are added" if kind.adds else "replace")


def _set(field: Field) -> str:
    override = field.override
    if not override.form:
        return ""
    if field.name in _ONLY_EMPTIES:
        return "(as in buildx, it only empties it)"
    key = override.key or field.name
    key = f"{key}.NAME" if override.form == "keyed" else key
    keys = ", ".join(f"`{each}`" for each in (key, *_FURTHER_KEYS.get(field.name, ())))
    return f"{keys} (adds)" if override.always_appends else keys


def parts() -> dict[str, str]:
    """The parts of the page that are made, by name."""
    found = {f"keys of a {kind}": "\n".join(syntaxes(kind)) for kind in EXAMPLES}
    found["later values"] = "\n".join(later())
    return found


def page(text: str) -> str:
    """The page with these parts in their places. Raises ValueError if a place is lacking."""
    for name, part in parts().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, after = text.index(begin) + len(begin), text.index(end)
        text = f"{text[:before]}\n\n{part}\n\n{text[after:]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
