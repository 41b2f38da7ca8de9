"""What a definition may reach on this machine: the rights that `--allow` grants, and what is asked for beyond them.

Rules: buildx `bake/entitlements.go`. buildx asks for files of every definition; bakepy only for those that come from
far away, unless `BUILDX_BAKE_ENTITLEMENTS_FS` says so: a definition that lies here is trusted as a Makefile is.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bakepy.bakefile.entries import EntryError, parse_bool
from bakepy.cli.supported import granted
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.target import BakeFile, Target
from bakepy.model.value import dataclass
from bakepy.planner import contexts as c

SSH = "ssh"
_ASK = "BUILDX_BAKE_ENTITLEMENTS_FS"
_FAR_MAY = "BAKE_ALLOW_REMOTE_FS_ACCESS"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a target reaches. `path` is empty for the agent; `field`: where the target says so."""

    target: Target
    field: str
    path: str
    write: bool = False


def check_rights(
    bake: BakeFile, allowed: Sequence[str], environment: Mapping[str, str], *, far: bool, directory: Path
) -> None:
    """Raises DefinitionError if targets reach files outside of `directory`, or the SSH agent, without a grant.

    `far`: the definition came from elsewhere. Raises UsageError for a variable that is no bool.
    """
    names = granted(allowed)
    if not _asked(environment, far):
        return
    read, write = (_folders(allowed, kinds, directory) for kinds in (("fs", "fs.read"), ("fs", "fs.write")))
    missing: dict[tuple[str, str], list[Need]] = {}
    for need in _needs(bake.targets.values()):
        if not need.path:
            if SSH not in names:
                missing.setdefault((SSH, ""), []).append(need)
            continue
        path = (directory / need.path).resolve()
        if not any(path.is_relative_to(folder) for folder in (write if need.write else read)):
            missing.setdefault(("fs.write" if need.write else "fs.read", _shown(path, directory)), []).append(need)
    if missing:
        raise _refusal(missing, far)


def _asked(environment: Mapping[str, str], far: bool) -> bool:
    asked = far
    if far and _FAR_MAY in environment:
        asked = not _bool(environment, _FAR_MAY)
    return _bool(environment, _ASK) if _ASK in environment else asked


def _bool(environment: Mapping[str, str], name: str) -> bool:
    try:
        return parse_bool(environment[name])
    except EntryError:
        raise UsageError(f"{name} must be true or false, not {environment[name]!r}") from None


def _folders(allowed: Sequence[str], kinds: Sequence[str], directory: Path) -> tuple[Path, ...]:
    """What may be reached: the folder of the command, and what was granted; `*` is everything."""
    found = [directory.resolve()]
    for text in allowed:
        kind, _, path = text.partition("=")
        if kind in kinds:
            found.append(Path("/") if path == "*" else (directory / path).resolve())
    return tuple(found)


def _needs(targets: Iterable[Target]) -> Iterator[Need]:
    for target in targets:
        yield from _context_needs(target)
        for secret in target.secrets:
            if secret.src and not secret.env:
                yield Need(target, "secret", secret.src)
        for agent in target.ssh:
            paths = [path for path in agent.paths if path]
            yield from (Need(target, "ssh", path) for path in paths)
            if not paths:
                yield Need(target, "ssh", "")
        for number, output in enumerate(target.outputs):
            if output.dest not in ("", "-"):
                yield Need(target, f"output[{number}]", output.dest, write=True)
        for entry in target.cache_from:
            if entry.type == "local" and entry.attrs.get("src"):
                yield Need(target, "cache-from", entry.attrs["src"])
        for entry in target.cache_to:
            if entry.type == "local" and entry.attrs.get("dest"):
                yield Need(target, "cache-to", entry.attrs["dest"], write=True)


def _context_needs(target: Target) -> Iterator[Need]:
    """Folders and layouts. What is malformed is told when it is read."""
    for field, text in (("context", target.context), *((f"contexts.{k}", v) for k, v in target.contexts.items())):
        try:
            context = c.parse_context(text)
        except DefinitionError:
            continue
        if isinstance(context, c.FolderContext | c.LayoutContext):
            yield Need(target, field, context.path)
    if target.dockerfile_inline or c.is_remote(target.dockerfile):
        return
    written = target.dockerfile.removeprefix("cwd://")
    if written != target.dockerfile or written.startswith("/"):
        yield Need(target, "dockerfile", written)
    elif not c.is_remote(target.context):
        yield Need(target, "dockerfile", posixpath.join(target.context, written))


def _shown(path: Path, directory: Path) -> str:
    """From the folder of the command, unless that leads up more than one level."""
    relative = os.path.relpath(path, directory.resolve())
    return str(path) if relative.startswith("../..") else relative


def _refusal(missing: Mapping[tuple[str, str], Sequence[Need]], far: bool) -> DefinitionError:
    words = {"fs.read": "reading", "fs.write": "writing", SSH: "using the SSH agent"}
    detail = []
    for (kind, path), needs in missing.items():
        users = ", ".join(dict.fromkeys(f"target.{need.target.name}.{need.field}" for need in needs))
        detail.append(f"{' '.join(filter(None, (words[kind], path)))} ({users})")
    flags = " ".join(f"--allow {kind}{'=' if path else ''}{path}" for kind, path in missing)
    return DefinitionError(
        f"the definition{' is far away and' if far else ''} asks for more than it may have",
        detail=detail,
        hint=f"{flags} grants it; {_ASK}=0 grants all files",
    )
