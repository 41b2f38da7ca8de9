"""What a bake command line asks for, and what that means for the files: the shorthand flags are overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bakepy.bakefile.entries import EntryError, csv_fields, parse_bool, parse_policy
from bakepy.bakefile.load import LoadOptions
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.remote import HERE, Origin
from bakepy.errors import UsageError, nearest
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """The flags of `bake`. None for a flag that was not given. `command_context`: what `BAKE_CMD_CONTEXT` is."""

    targets: Sequence[str] = ()
    overrides: Sequence[str] = ()
    variables: Sequence[str] = ()
    push: bool = False
    load: bool = False
    call: str = "build"
    no_cache: bool | None = None
    pull: bool | None = None
    sbom: str = ""
    provenance: str = ""
    policies: Sequence[str] = ()
    allowed: Sequence[str] = ()
    command_context: str = HERE

    def options(
        self,
        environment: Mapping[str, str],
        reader: Reader | None,
        platform: str = "linux/amd64",
        origin: Origin | None = None,
    ) -> LoadOptions:
        """`platform`: the machine's own. `origin`: where the definition was read. Raises UsageError."""
        check_allowed(self.allowed)
        overrides = [*self.overrides]
        if self.push:
            overrides.append("*.push=true")
        if self.load:
            overrides.append("*.load=true")
        if call := call_method(self.call):
            overrides.append(f"*.call={call}")
        if self.no_cache is not None:
            overrides.append(f"*.no-cache={str(self.no_cache).lower()}")
        if self.pull is not None:
            overrides.append(f"*.pull={str(self.pull).lower()}")
        for kind, text in (("sbom", self.sbom), ("provenance", self.provenance)):
            if text:
                overrides.append(f"*.attest={_attest(kind, text)}")
        policies, disabled = _policies(self.policies)
        return LoadOptions(
            targets=self.targets,
            overrides=[*overrides, *policies],
            variables=parse_variables(self.variables),
            environment=environment,
            builtins={"BAKE_CMD_CONTEXT": self.command_context, "BAKE_LOCAL_PLATFORM": platform},
            reader=reader,
            disable_policies=disabled,
            origin=origin,
        )


def call_method(text: str) -> str:
    """The method of `--call`, as it is printed; empty for `build`. Raises UsageError."""
    if not text:
        return ""
    try:
        fields = csv_fields(text)
    except EntryError as error:
        raise UsageError(f"--call {text}: {error}") from None
    method = ""
    for field in fields:
        name, equals, value = field.partition("=")
        if equals:
            if name not in ("format", "ignorestatus"):
                raise UsageError(f"--call {text}: unknown key {name!r}")
            if name == "ignorestatus":
                _call_flag(text, value)
        elif method:
            raise UsageError(f"--call {text}: expected one method, found {method!r} and {field!r}")
        else:
            method = field
    if not method and len(fields) > 0:
        raise UsageError(f"--call {text}: expected a method")
    return {"build": "", "check": "lint"}.get(method, method)


def _call_flag(text: str, value: str) -> None:
    try:
        parse_bool(value)
    except EntryError as error:
        raise UsageError(f"--call {text}: {error}") from None


def _attest(kind: str, text: str) -> str:
    """`--sbom true`, `--provenance mode=max`: the text of the attestation."""
    try:
        return f"type={kind},disabled={str(not parse_bool(text)).lower()}"
    except EntryError:
        return f"type={kind},{text}"


def parse_variables(texts: Sequence[str]) -> dict[str, str]:
    """`--var NAME=VALUE`. Raises UsageError."""
    found: dict[str, str] = {}
    for text in texts:
        if not text:
            continue
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--var {text}: expected NAME=VALUE")
        found[name] = value
    return found


def _policies(texts: Sequence[str]) -> tuple[list[str], bool]:
    """Overrides for `--policy`, and whether policies are off."""
    overrides: list[str] = []
    for text in texts:
        try:
            policy = parse_policy(text)
        except EntryError as error:
            raise UsageError(f"--policy {text}: {error}") from None
        if policy.files:
            raise UsageError(f"--policy {text}: files of policies are named in the bake file")
        if policy.reset:
            raise UsageError(f"--policy {text}: reset belongs into the bake file")
        if policy.disabled:
            if policy.strict is not None or policy.log_level is not None or len(texts) > 1:
                raise UsageError(f"--policy {text}: what is off can not have other flags")
            return [], True
        overrides.append(f"*.policy+={text}")
    return overrides, False


_RIGHTS = ("network.host", "security.insecure", "ssh", "buildx.local.delete")
_RIGHTS_WITH_VALUES = ("device", "fs.read", "fs.write", "fs", "image.push", "image.load", "image")


def check_allowed(texts: Sequence[str]) -> None:
    """The rights of `--allow`. Raises UsageError."""
    for text in texts:
        name, equals, value = text.partition("=")
        if text in _RIGHTS:
            continue
        if name in _RIGHTS:
            raise UsageError(f"--allow {text}: {name} takes no value", hint=f"--allow {name}")
        if name not in _RIGHTS_WITH_VALUES:
            hint = nearest(name, (*_RIGHTS, *_RIGHTS_WITH_VALUES))
            raise UsageError(f"--allow {text}: there is no entitlement {name!r}", hint=hint)
        if name == "device" and equals and value:
            try:
                csv_fields(value)
            except EntryError as error:
                raise UsageError(f"--allow {text}: {error}") from None
