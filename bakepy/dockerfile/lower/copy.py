"""COPY and ADD: one file op per instruction."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from bakepy.dockerfile import paths
from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.chmod import check_mode, wrong_number
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.giturl import GitSource, parse_git
from bakepy.dockerfile.ignore import Ignored
from bakepy.dockerfile.instructions import Add, Copy, Transfer
from bakepy.dockerfile.lower import step
from bakepy.dockerfile.lower.image import history_line
from bakepy.dockerfile.lower.names import INTERNAL, next_step, shown, step_name
from bakepy.dockerfile.lower.node import FileForm, FileNode, MergeForm, MergeNode, Node
from bakepy.dockerfile.lower.scope import Scope
from bakepy.dockerfile.lower.sources import description, git_source, http_source
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.lower.step import Origin, Step
from bakepy.dockerfile.text import parse_int, parse_unsigned, quote
from bakepy.dockerfile.url import Url
from bakepy.llb.op import ChownOpt, CopyAction, MkFileAction, OpMetadata, ProgressGroup, UserOpt
from bakepy.model.value import dataclass

_FILE_CAPS = frozenset({"file.base"})


@dataclass(frozen=True, slots=True)
class _Expanded:
    """A COPY or ADD with its variables replaced."""

    sources: tuple[str, ...]
    dest: str
    documents: tuple[tuple[str, str], ...]
    chown: str
    chmod: str
    checksum: str


def read_copy(stage: StageState, command: Command, written: Transfer, scope: Scope, checker: Checker) -> Step:
    """Raises DockerfileError without a place."""
    expanded = _expand(stage, command, written, scope, checker)
    is_add = isinstance(written, Add)
    tree: Origin = step.context
    ignored = scope.ignored
    origin = command.sources[0] if command.sources else None
    if origin is not None:
        if scope.source(origin) is None:
            assert isinstance(written, Copy)
            raise DockerfileError(
                f"cannot copy from stage {quote(written.stage)}, it needs to be defined before current stage "
                f"{quote(stage.label)}",
                hint="a stage can only use stages above it",
            )
        tree, ignored = step.result(origin), None
    os = stage.os
    dest = paths.relative_to(stage.dir, expanded.dest, os)
    try:
        mode, mode_str = _mode(expanded.chmod)
    except DockerfileError as error:
        raise error.about("--chmod") from error.__cause__
    if expanded.checksum:
        _check_checksum(expanded)
    text = shown(scope.lexer, written.code, stage.env)
    number = next_step(stage)

    def named(text: str) -> str:
        platform = stage.platform or scope.target_platform
        return step_name(stage, text, platform if scope.options.multi_platform else None, stage.env, number)

    name = named(text)
    common = CopyAction(
        "/",
        paths.in_op(dest, keep_slash=True),
        owner=_owner(expanded.chown),
        mode=mode,
        mode_str=mode_str,
        create_dest_path=True,
        exclude_patterns=written.excludes,
    )
    remotes = _Remotes(written, expanded, name, common)
    actions: list[CopyAction] = []
    origins: list[Origin] = []
    for path in expanded.sources:
        try:
            remote = remotes.find(path)
        except DockerfileError as error:
            raise error.about(path) from error.__cause__
        if remote is None and ignored is not None:
            _check_ignored(path, is_add, ignored, command, checker)
        actions.append(_local_action(path, common, written, os) if remote is None else remote[0])
        origins.append(tree if remote is None else step.fixed(remote[1]))
    for document in expanded.documents:
        action, node = _document(document, common, os)
        actions.append(action)
        origins.append(step.fixed(node))
    metadata = OpMetadata(ignore_cache=stage.ignore_cache, description=description(name), caps=_FILE_CAPS)
    make = _maker(FileForm(metadata, (command.location,), tuple(actions)))
    if written.link and not expanded.chmod and scope.supports("mergeop"):
        make = _linker(FileForm(metadata, (command.location,), tuple(actions)), name, named("LINK " + text), command)
    line = history_line(_history_text(written, expanded), layer=True, step=True, epoch=scope.epoch)
    read = [paths.join("/", path) for path in expanded.sources if not (is_add and is_http(path))]

    single = origins[0] if len(origins) == 1 else None

    def take(stage: StageState, scope: Scope) -> None:
        trees = [single(stage, scope)] if single is not None else [found(stage, scope) for found in origins]
        stage.node = make(stage.node, trees)
        stage.step = number
        stage.image.history.append(line)
        found = stage.context_paths if origin is None else stage.reads.setdefault(origin, set())
        found.update(read)

    return take


def _expand(stage: StageState, command: Command, written: Transfer, scope: Scope, checker: Checker) -> _Expanded:
    def expand(text: str) -> str:
        return scope.expand(stage, text, command.location, checker)

    chown, chmod = expand(written.chown), expand(written.chmod)
    checksum = expand(written.checksum) if isinstance(written, Add) else ""
    sources = tuple(map(expand, written.sources))
    dest = expand(written.dest)
    documents = tuple(
        (doc.name, scope.expand_document(stage, doc.text, command.location, checker) if doc.expand else doc.text)
        for doc in written.documents
    )
    return _Expanded(sources, dest, documents, chown, chmod, checksum)


_Make: TypeAlias = Callable[[Node | None, list[Node | None]], Node]
"""The step on a base, with its sources."""


def _maker(form: FileForm) -> _Make:
    return lambda base, sources: FileNode((base, *sources), form)


def _linker(form: FileForm, name: str, merged_name: str, command: Command) -> _Make:
    """The copy is made on nothing and then laid over the base, so that it does not depend on the base."""
    group = f"link-{id(command):x}"
    weak = replace(form.metadata, progress_group=ProgressGroup(group, name, weak=True))
    copied = FileForm(weak, form.locations, form.actions)
    metadata = replace(
        form.metadata,
        description=description(merged_name),
        caps=frozenset({"mergeop"}),
        progress_group=ProgressGroup(group, name),
    )
    merged = MergeForm(metadata, form.locations)

    def make(base: Node | None, sources: list[Node | None]) -> Node:
        node = FileNode((None, *sources), copied)
        return node if base is None else MergeNode((base, node), merged)

    return make


def _mode(text: str) -> tuple[int, str]:
    """Mode and symbolic mode of `--chmod`; -1 keeps what the source has."""
    if not text:
        return -1, ""
    value = parse_unsigned(text, 8)
    if value is not None:
        if value > 0o7777:
            raise wrong_number(text)
        return value, ""
    check_mode(text)
    return 0, text


def _owner(text: str) -> ChownOpt | None:
    if not text:
        return None
    user, colon, group = text.partition(":")
    return ChownOpt(_user(user), _user(group) if colon else None)


def _user(text: str) -> UserOpt:
    """A number or a name; `input` 0 is the tree that is changed."""
    if text in ("", "root"):
        return UserOpt(0)
    number = parse_int(text, bits=32)
    return UserOpt(name=text, input=0) if number is None else UserOpt(number & 0xFFFFFFFF)


user_option, owner_option = _user, _owner


def is_http(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _check_checksum(expanded: _Expanded) -> None:
    if len(expanded.sources) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources",
                              part="--checksum", hint="one ADD for each source")  # fmt: skip
    path = expanded.sources[0]
    if not is_http(path) and _find_git(path) is None:
        raise DockerfileError("checksum requires HTTP(S) or Git sources", part="--checksum")


def _find_git(path: str) -> GitSource | None:
    try:
        return parse_git(path, bare_github=True)
    except DockerfileError:
        return None


class _Remotes:
    """The URL and git sources of one instruction. What one git URL says stays on for the next ones."""

    def __init__(self, written: Transfer, expanded: _Expanded, name: str, common: CopyAction) -> None:
        self.is_add = isinstance(written, Add)
        self.keep_git_dir = written.keep_git_dir if isinstance(written, Add) else None
        self.unpack = bool(written.unpack) if isinstance(written, Add) else False
        self.checksum = expanded.checksum
        self.name, self.common = name, common

    def find(self, path: str) -> tuple[CopyAction, Node] | None:
        """None for paths in a tree."""
        git = parse_git(path)
        if git is not None:
            if not self.is_add:
                raise DockerfileError(f"source can't be a git ref for COPY: '{path}'", hint="use ADD")
            return self.common, self.git(git)
        if not is_http(path):
            return None
        if not self.is_add:
            raise DockerfileError(f"source can't be a URL for COPY: '{path}'", hint="use ADD")
        filename = url_filename(path)
        if self.checksum:
            check_digest(self.checksum)
        source = http_source(path, filename, description(self.name, ""), self.checksum)
        return replace(self.common, src=paths.join("/", paths.clean(filename)), attempt_unpack=self.unpack), source

    def git(self, git: GitSource) -> Node:
        if git.keep_git_dir is not None:
            if self.keep_git_dir not in (None, git.keep_git_dir):
                raise DockerfileError("inconsistent keep-git-dir configuration",
                                      hint="the flag --keep-git-dir and the URL contradict each other")  # fmt: skip
            self.keep_git_dir = git.keep_git_dir
        if git.checksum:
            if self.checksum not in ("", git.checksum):
                raise DockerfileError(f"checksum mismatch {quote(self.checksum)} != {quote(git.checksum)}")
            self.checksum = git.checksum
        return git_source(
            git,
            description(self.name),
            keep_git_dir=bool(self.keep_git_dir),
            checksum=self.checksum,
            fetch_by_commit=git.fetch_by_commit,
        )


_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms that digests may have, and how many hex digits those are."""


def check_digest(text: str) -> None:
    """Raises DockerfileError if `text` is no digest, in the words of the package for digests of OCI, which BuildKit
    shows."""
    algorithm, _, encoded = text.partition(":")
    if not _DIGEST.fullmatch(text):
        what = "invalid checksum digest format"
    elif algorithm not in _LENGTHS:
        what = "unsupported digest algorithm"
    elif len(encoded) != _LENGTHS[algorithm]:
        what = "invalid checksum digest length"
    elif encoded.strip("0123456789abcdef"):
        what = "invalid checksum digest format"
    else:
        return
    raise DockerfileError(f"{what}: '{text}'", part="--checksum", hint="as in sha256:… with 64 hex digits")


def url_filename(url: str) -> str:
    """The last element of the decoded path."""
    parsed = Url.parse(url)
    name = paths.base(parsed.path) if parsed and parsed.path else "."
    return "__unnamed__" if name in (".", "/") else name


def _local_action(path: str, common: CopyAction, written: Transfer, os: str) -> CopyAction:
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    if isinstance(written, Copy) and written.parents:
        before, pivot, pattern = path.partition("/./")
        if not pivot:
            before, pattern = "/", path
        path = before
        pattern = paths.normalize("/", pattern, os, False)
        include = (pattern.removeprefix("/"),)
        if not _has_wildcards(path) and not _has_wildcards(pattern):
            required = (paths.normalize("/", paths.join(path, pattern), os, False),)
    unpack = isinstance(written, Add) if not isinstance(written, Add) or written.unpack is None else written.unpack
    return replace(
        common,
        src=paths.in_op(paths.normalize("/", path, os, False)),
        follow_symlink=True,
        dir_copy_contents=True,
        attempt_unpack=unpack,
        allow_wildcard=True,
        allow_empty_wildcard=True,
        include_patterns=include,
        required_paths=required,
    )


def _has_wildcards(text: str) -> bool:
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "*?[":
            return True
    return False


def _document(document: tuple[str, str], common: CopyAction, os: str) -> tuple[CopyAction, Node]:
    name, data = document
    name = paths.without_drive(name, os)
    path = paths.in_op(name)
    file = FileNode.of(
        OpMetadata(description=description(INTERNAL + "preparing inline document"), caps=_FILE_CAPS),
        None,
        MkFileAction(path, 0o644, data.encode("utf-8", "surrogateescape")),
    )
    return replace(common, src=paths.in_op(paths.to_slash(name, os))), file


def _history_text(written: Transfer, expanded: _Expanded) -> str:
    out = ["ADD" if isinstance(written, Add) else "COPY"]
    if isinstance(written, Copy) and written.parents:
        out.append("--parents")
    if expanded.chown:
        out.append(f"--chown={expanded.chown}")
    if expanded.chmod:
        out.append(f"--chmod={expanded.chmod}")
    out += expanded.sources
    out += [f"<<{name}" for name, _ in expanded.documents]
    return " ".join([*out, expanded.dest])


def _check_ignored(path: str, is_add: bool, ignored: Ignored, command: Command, checker: Checker) -> None:
    """Warns if the ignore file hides what is copied. Files with exceptions (`!`) are too hard to tell."""
    if ignored.has_exceptions:
        return
    path = paths.clean(path)
    if path in (".", "/") and not any(pattern in ("*", "**", "**/*") for pattern in ignored.matcher.patterns):
        return
    if ignored.hides(path):
        verb = "Add" if is_add else "Copy"
        message = f"Attempting to {verb} file {quote(path)} that is excluded by .dockerignore"
        checker.warn("CopyIgnoredFile", message, command.location)
