"""What a bake file may say that bakepy can not do yet: refused where the result would differ, else told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from bakepy.bakefile.entries import csv_fields
from bakepy.bakefile.request import check_allowed
from bakepy.errors import BakeError, DefinitionError, DefinitionErrors, UsageError, nearest
from bakepy.model.target import BakeFile, Target

ENGINES = ("embedded",)
CALLS = ("build", "check", "lint", "outline", "targets")
_CALL_HINT = "one of build, check, outline and targets"
_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
_GRANTS = ("network.host", "security.insecure")


def check_engine(name: str) -> None:
    """Raises UsageError if there is no engine of that name."""
    if name not in ENGINES:
        raise UsageError(f"there is no engine '{name}'", hint=nearest(name, ENGINES) or f"one of {', '.join(ENGINES)}")


def granted(texts: Iterable[str]) -> frozenset[str]:
    """The names of what `--allow` grants; a device with its own name too, and with its alias. Raises UsageError for
    what can not be granted."""
    texts = tuple(texts)
    check_allowed(texts)
    split = [text.partition("=") for text in texts]
    names = {f"device={csv_fields(value)[0]}" if name == "device" and value else name for name, _, value in split}
    return frozenset(names | {text for text in texts if text.startswith("device=")})


def check_bake(bake: BakeFile, grants: frozenset[str]) -> None:
    """Raises DefinitionError (DefinitionErrors) for what can not be done, at its place in the bake file; UsageError for
    a source policy in the environment, which would forbid sources here that it forbids elsewhere."""
    if os.environ.get(_POLICY):
        raise UsageError(f"{_POLICY} is set, but source policies are not supported yet", hint="unset it")
    _raise([error for target in bake.targets.values() for error in _refusals(target, grants)])


def _raise(errors: Sequence[BakeError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)


def called(bake: BakeFile) -> dict[str, str]:
    """What targets are asked instead of being built: `check`, `outline` or `targets`, by name of the target.

    Raises DefinitionError(s) for unknown calls, and if others of the same run are to be built.
    """
    _raise([error for target in bake.targets.values() for error in _unknown_call(target)])
    methods = {
        target.name: "check" if target.call == "lint" else target.call
        for target in bake.targets.values()
        if target.call not in (None, "", "build")
    }
    if methods:
        for target in bake.targets.values():
            if target.name not in methods and not target.linked:
                name, method = next(iter(methods.items()))
                raise DefinitionError(
                    f"the target is to be built, but '{name}' is called for {method}: one run does only one of both",
                    where=target.where("name") or target.where("call"),
                    path=f"target.{target.name}",
                    hint=f"name the targets that you want, or give --call {method}",
                )
    return methods


def _refused(target: Target, path: str, what: str, hint: str) -> DefinitionError:
    return DefinitionError(what, where=target.where(path), path=f"target.{target.name}.{path}", hint=hint)


def _unknown_call(target: Target) -> Iterator[DefinitionError]:
    if target.call and target.call not in CALLS:
        yield _refused(target, "call", f"there is no call '{target.call}'", nearest(target.call, CALLS) or _CALL_HINT)


def _refusals(target: Target, grants: frozenset[str]) -> Iterator[DefinitionError]:
    def refuse(path: str, what: str, hint: str) -> DefinitionError:
        return _refused(target, path, what, hint)

    for number, attest in enumerate(target.attest):
        kind = attest.get("type", "")
        if attest.get("disabled") != "true":
            yield refuse(
                f"attest[{number}]",
                f"attestations ({kind}) are not supported yet",
                f"take it out, or turn it off: --set '*.attest=type={kind},disabled=true'",
            )
    for number, policy in enumerate(target.policy):
        if not policy.disabled:
            yield refuse(f"policy[{number}]", "source policies are not supported yet", "take it out")
    yield from _unknown_call(target)
    for number, name in enumerate(target.entitlements):
        if not _is_granted(name, grants):
            yield refuse(f"entitlements[{number}]", f"{name} is not allowed", f"--allow {name} grants it")


def _is_granted(name: str, grants: frozenset[str]) -> bool:
    """Whether an entitlement of a target is granted. Names that mean nothing here need no grant, as in buildx."""
    if name in _GRANTS:
        return name in grants
    kind, _, device = name.partition("=")
    return kind != "device" or "device" in grants or (bool(device) and f"device={csv_fields(device)[0]}" in grants)


def notes(bake: BakeFile) -> Iterator[str]:
    """What is left out without changing any result."""
    for word, field in (("cache-from", "cache_from"), ("cache-to", "cache_to")):
        names = [target.name for target in bake.targets.values() if getattr(target, field)]
        if names:
            yield f"{word} is not supported yet and left out ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
