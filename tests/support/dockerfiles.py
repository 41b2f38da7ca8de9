"""Compiles Dockerfiles in tests, with images that need no registry."""

from __future__ import annotations

from bakepy.dockerfile.compile import Compilation, Lowered, parse
from bakepy.dockerfile.options import LocalContext, LowerOptions
from bakepy.llb.graph import Vertex
from bakepy.llb.op import CopyAction, ExecOp, FileAction, FileOp, SourceOp
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform
from tests.support.fake_images import resolve

AMD64 = Platform("linux", "amd64")


def compilation(text: str, options: LowerOptions | None = None) -> Compilation:
    """With all images provided."""
    found = Compilation(parse(text, "Dockerfile"), options or LowerOptions(build_platform=AMD64))
    return provided(found)


def provided(found: Compilation) -> Compilation:
    while requests := found.missing():
        for request in requests:
            found.provide(request, resolve(request))
    return found


def lower(
    text: str, ignore: str | None = None, *, build_args: dict[str, str] | None = None, **fields: object
) -> Lowered:
    """`fields` are those of `LowerOptions`."""
    fields.setdefault("context", LocalContext(session="s", ignore=ignore))
    options = LowerOptions(build_platform=AMD64, build_args=FrozenMap(build_args or {}), **fields)  # type: ignore[arg-type]
    lowered = compilation(text, options).lower()
    if lowered.violation is not None:
        raise lowered.violation
    return lowered


def steps(lowered: Lowered) -> tuple[Vertex, ...]:
    """The vertices of the target in definition order."""
    return lowered.graph.reachable([lowered.head]) if lowered.head else ()


def names(lowered: Lowered) -> list[str]:
    return [vertex.name for vertex in steps(lowered)]


def runs(lowered: Lowered) -> list[ExecOp]:
    return [vertex.op for vertex in steps(lowered) if isinstance(vertex.op, ExecOp)]


def sources(lowered: Lowered) -> list[SourceOp]:
    return [vertex.op for vertex in steps(lowered) if isinstance(vertex.op, SourceOp)]


def actions(lowered: Lowered) -> list[FileAction]:
    return [action for vertex in steps(lowered) if isinstance(vertex.op, FileOp) for action in vertex.op.actions]


def copies(lowered: Lowered) -> list[CopyAction]:
    return [entry.action for entry in actions(lowered) if isinstance(entry.action, CopyAction)]
