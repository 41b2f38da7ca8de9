"""The main context and named contexts as nodes."""

from __future__ import annotations

import re
from collections.abc import Callable

from bakepy.dockerfile import paths
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.ignore import Ignored, parse_ignore
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.lower.names import INTERNAL
from bakepy.dockerfile.lower.node import FileNode, GivenNode, LateNode, Node, SourceNode
from bakepy.dockerfile.lower.sources import (
    description,
    git_source,
    http_source,
    image_source,
    layout_source,
    local_source,
)
from bakepy.dockerfile.options import (
    GitContext,
    GraphContext,
    HTTPContext,
    ImageContext,
    InvalidContext,
    LayoutContext,
    LocalContext,
    LowerOptions,
    NamedContext,
)
from bakepy.errors import BakeError
from bakepy.llb.op import CopyAction, OpMetadata
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from bakepy.model.space import SPACE
from bakepy.model.value import dataclass

_PLAIN_NAME = re.compile(r"[a-z]{1,16}[0-9]{0,16}\Z")
Resolve = Callable[[ImageRequest], ResolvedImageConfig]
"""Gives the config of an image."""


def find_context(options: LowerOptions, name: str, platform: Platform | None) -> tuple[str, NamedContext] | None:
    """The context that replaces the stage or image `name`, with the name under which it was given.

    Names are compared in their familiar form without `:latest`; one for a platform (`NAME::PLATFORM`) wins.
    `platform` None is the target's. Raises DockerfileError if there are contexts and `name` can not be a context's.
    """
    if name.lower() in ("scratch", "context"):
        return None
    return named_context(options, name, platform or options.platform or options.build_platform)


def named_context(options: LowerOptions, name: str, platform: Platform) -> tuple[str, NamedContext] | None:
    """As `find_context`, whatever the name stands for otherwise."""
    if not options.contexts and _PLAIN_NAME.match(name):
        return None
    try:
        familiar = ImageReference.parse(name).familiar().removesuffix(":latest")
    except BakeError as error:
        raise DockerfileError(f"'{name}' can not be the name of a context or image", hint=error.hint) from error
    if not options.contexts:
        return None
    for key in (f"{familiar}::{platform.normalized()}", familiar):
        if key in options.contexts:
            return key, options.contexts[key]
    return None


@dataclass(frozen=True, slots=True)
class LoadedContext:
    """A context as a node; `env`, `dir` and `platform` come from the image's config, which may be absent."""

    node: Node | None
    image: ImageConfig | None = None
    platform: Platform | None = None


def load_context(
    key: str,
    context: NamedContext,
    *,
    options: LowerOptions,
    platform: Platform | None,
    target_platform: Platform,
    owner: object,
    resolve: Resolve,
) -> LoadedContext:
    """`owner` is the stage that begins with this context; the paths read from it decide what is followed.

    `platform` None: none was asked for, neither for the stage nor for the build. Raises DockerfileError.
    """
    name = key
    label = f"[context {name}] "
    match context:
        case InvalidContext():
            raise DockerfileError(context.message)
        case ImageContext(reference="scratch"):
            return LoadedContext(None)
        case ImageContext():
            wanted = _reference(context.reference).with_default_tag()
            image = resolve(ImageRequest(str(wanted), platform, options.resolve_mode))
            node = image_source(
                image.reference or str(wanted), platform or target_platform, description(label + context.reference)
            )
            return LoadedContext(node, image.config, image_platform(image.config))
        case LayoutContext():
            return _layout(name, context, options, platform, target_platform, resolve)
        case LocalContext():
            return LoadedContext(_late_local(name, context, owner))
        case GitContext():
            source = named_git_source(name, context)
            return LoadedContext(source)
        case HTTPContext():
            return LoadedContext(
                _unpacked(http_source(context.url, "context", description(label + context.url)), context)
            )
        case GraphContext():
            return _given(context)


def _layout(
    name: str,
    context: LayoutContext,
    options: LowerOptions,
    platform: Platform | None,
    target_platform: Platform,
    resolve: Resolve,
) -> LoadedContext:
    store, at, digest = context.reference.rpartition("@")
    if not at or not store:
        raise DockerfileError(
            f'oci-layout reference "{context.reference}" has no digest',
            hint="as in oci-layout://NAME@sha256:…",
        )
    before, colon, tag = store.rpartition(":")
    if colon and "/" not in tag:
        store = before
    own = _reference(name.partition("::")[0])
    reference = f"{own}@{_digest(digest)}"
    image = resolve(ImageRequest(reference, platform, store=store))
    text = description(f"[context {name}] OCI load from client")
    node = layout_source(reference, context.session, store, platform or target_platform, text)
    return LoadedContext(node, image.config, image_platform(image.config))


def _digest(text: str) -> str:
    from bakepy.model.digest import Digest

    try:
        return Digest.parse(text)
    except BakeError as error:
        raise DockerfileError(f"invalid digest '{text}'") from error


def _reference(text: str) -> ImageReference:
    try:
        return ImageReference.parse(text)
    except BakeError as error:
        raise DockerfileError(error.what, hint=error.hint) from error


def image_platform(image: ImageConfig) -> Platform | None:
    found = image.platform
    return found.normalized() if found.os and found.architecture else None


def _late_local(name: str, context: LocalContext, owner: object) -> LateNode:
    excludes = parse_ignore(context.ignore) if context.ignore else ()
    key = context.shared_key or ""

    def make(followed: tuple[str, ...]) -> SourceNode:
        return local_source(
            context.name,
            session=context.session,
            unique=context.unique,
            shared_key=f"context:{name}-{key}",
            excludes=excludes,
            follow=followed,
            text=description(f"[context {name}] load from client"),
        )

    return LateNode((), owner, make)


def _given(context: GraphContext) -> LoadedContext:
    if context.head is None:
        return LoadedContext(None, context.image)
    vertices = context.graph.reachable([context.head])
    platform = image_platform(context.image) if context.image else None
    return LoadedContext(GivenNode((), vertices, context.head), context.image, platform)


@dataclass(frozen=True, slots=True)
class MainContext:
    """The main context: its node (None: empty), and what its ignore file excludes."""

    node: Node | None
    ignored: Ignored | None = None


def main_context(options: LowerOptions) -> MainContext:
    """Raises DockerfileError for a bad ignore file or URL."""
    context = options.context
    match context:
        case LocalContext():
            excludes, matcher = read_ignore(context)

            def make(followed: tuple[str, ...]) -> SourceNode:
                return local_source(
                    context.name,
                    session=context.session,
                    unique=context.unique,
                    shared_key=context.name if context.shared_key is None else context.shared_key,
                    excludes=excludes,
                    follow=followed,
                    text=description(INTERNAL + "load build context"),
                )

            return MainContext(LateNode((), None, make), matcher)
        case GitContext():
            node: Node | None = main_git_source(options, context)
        case HTTPContext():
            text = description(INTERNAL + "load remote build context")
            node = _unpacked(http_source(context.url, "context", text), context)
        case GraphContext():
            node = _given(context).node
    if options.context_subdir is not None:
        source = paths.join("/", paths.clean(options.context_subdir))
        node = _copied(node, CopyAction(source, "/", dir_copy_contents=True))
    return MainContext(node)


def named_git_source(name: str, context: GitContext) -> SourceNode:
    git = parse_git(context.url, bare_github=True)
    if git is None:
        raise DockerfileError(f"invalid git context {context.url} for '{name}'")
    return git_source(
        git,
        description(f"{INTERNAL}load git source {context.url}"),
        keep_git_dir=bool(git.keep_git_dir),
        checksum=git.checksum,
        mtime=git.mtime,
        fetch_by_commit=git.fetch_by_commit,
    )


def main_git_source(options: LowerOptions, context: GitContext) -> SourceNode:
    git = parse_git(context.url, bare_github=True)
    if git is None:
        raise DockerfileError(f"the context is no git repository: '{context.url}'")
    mtime = "commit" if options.build_args.get("SOURCE_DATE_EPOCH") else ""
    return git_source(
        git,
        description(f"{INTERNAL}load git source {context.url}"),
        keep_git_dir=bool(git.keep_git_dir) or bool(context.keep_git_dir),
        checksum=git.checksum,
        mtime=git.mtime or mtime,
        fetch_by_commit=git.fetch_by_commit,
    )


def _unpacked(source: Node, context: HTTPContext) -> Node:
    """The archive behind a web address, or the folder of it that is meant; a file that is no archive, as it is."""
    if not context.archive:
        return source
    unpacked = _copied(source, CopyAction("/context", "/", attempt_unpack=True))
    if not context.subdir:
        return unpacked
    return _copied(unpacked, CopyAction(paths.join("/", context.subdir), "/", dir_copy_contents=True))


def _copied(node: Node | None, action: CopyAction) -> FileNode:
    return FileNode.of(OpMetadata(caps=frozenset({"file.base"})), None, action, node)


def read_ignore(context: LocalContext) -> tuple[tuple[str, ...], Ignored | None]:
    """The excluded patterns of a context and what they hide. Raises DockerfileError."""
    if not context.ignore:
        return (), None
    patterns = parse_ignore(context.ignore)
    if any(paths.clean(pattern.strip(SPACE)) == "!" for pattern in patterns):
        what = f'{context.ignore_name}: illegal exclusion pattern: "!"'
        raise DockerfileError(what, hint="write what it excepts behind it")
    if not patterns:
        return (), None
    return patterns, Ignored.of(patterns, context.ignore_name)
