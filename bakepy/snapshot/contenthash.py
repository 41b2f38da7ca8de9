"""Which files of a tree a COPY takes, and the digest of what they are: path, kind, mode, content, and owners where
those are kept. No times: the same files copied again are the same files.

Equal content has an equal digest whatever filter it passed and whatever tree it is in, a context or an image.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bakepy.errors import BuildError, nearest
from bakepy.model.patterns import BadPattern, MatchState, PatternMatcher, clean, glob_regex, has_wildcards
from bakepy.model.value import dataclass
from bakepy.snapshot.filetree import FileTree, Node, kind, show
from bakepy.snapshot.threads import Stopped


@dataclass(frozen=True, slots=True)
class Selection:
    """One source of a copy, as the op writes it. `owners` tells whether owners of an image's files count."""

    path: str = "/"
    wildcard: bool = False
    follow: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    owners: bool = True
    contents: bool = True
    """A folder stands for what is in it, not for itself."""
    named: bool = True
    """What it is called counts, where it stands for itself."""

    @property
    def key(self) -> str:
        """Equal for selections that take the same files."""
        return repr(
            (
                self.path,
                self.wildcard,
                self.follow,
                self.include,
                self.exclude,
                self.required,
                self.owners,
                self.contents,
                self.named,
            )
        )


class Match(NamedTuple):
    """One thing that a source names: `written` is its path as named, `path` where that leads, `node` what is there."""

    written: bytes
    path: bytes
    node: Node


class Picked(NamedTuple):
    """One entry to copy, `path` relative to the source. `direct` is False for a folder that is only there because
    something below it is taken."""

    path: bytes
    node: Node
    direct: bool


class Filter:
    """The include and exclude patterns of a source. Raises BadPattern, which tells which list it was."""

    __slots__ = ("exclude", "include")

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self.include = _matcher("includepatterns", include) if include else None
        self.exclude = _matcher("excludepatterns", exclude) if exclude else None

    def __bool__(self) -> bool:
        return self.include is not None or self.exclude is not None

    def takes_source(self) -> bool:
        """Whether the source itself is meant by the patterns, which name what is in it."""
        wanted = self.include is None or self.include.match("", None)[0]
        return wanted and not (self.exclude is not None and self.exclude.match("", None)[0])

    @property
    def key(self) -> str:
        """Equal for filters of equal patterns."""
        return repr([matcher.patterns if matcher else None for matcher in (self.include, self.exclude)])


def _matcher(what: str, patterns: Sequence[str]) -> PatternMatcher:
    try:
        return PatternMatcher(patterns)
    except BadPattern as error:
        why = "illegal exclusion pattern" if error.pattern == "!" else "syntax error in pattern"
        listed = f"invalid {what}: [{' '.join(patterns)}]: {why}"
        raise BadPattern(error.pattern, what=listed, hint=error.hint) from error


def not_found(tree: FileTree, path: bytes) -> BuildError:
    """The error for a source that is not there, with the nearest name that is."""
    folder, _, name = path.rpartition(b"/")
    names = tree.names_near(folder)
    if name not in names:
        hint = nearest(show(name), map(show, names))
    else:  # a link that leads nowhere, or on disk but not in the tree
        hint = "" if tree.resolve(path, follow_last=False)[1] else "it is there, but an ignore file leaves it out"
    return BuildError(f'"/{show(path)}": not found', hint=hint)


def find(tree: FileTree, selection: Selection) -> list[Match]:
    """What a source names, in byte order; nothing only for a wildcard that matches nothing.

    Raises BuildError for a literal path, a folder before the first wildcard, or a link that leads nowhere.
    """
    path = _clean(selection.path)
    fixed, pattern = _split_wildcards(path) if selection.wildcard else (path, "")
    start = fixed.encode("utf-8", "surrogateescape")
    if not pattern:
        if selection.required and start:
            # a search begins at a folder itself: symlinks are followed on the way there only
            _, node = tree.resolve(start, follow_last=False)
            if node is None or node.is_symlink:
                raise BuildError(f'"{selection.required[0]}": not found', hint=_NO_SYMLINK)
        if selection.include or selection.exclude:
            _reach(tree, start, follow=False)
        return [_follow(tree, start, selection)]
    where, node = _reach(tree, start, follow=selection.follow)
    return [_follow(tree, found, selection) for found in _wildcard(tree, where, node, pattern)]


def _clean(path: str) -> str:
    return clean("/" + path).strip("/")


def _folders_above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _follow(tree: FileTree, written: bytes, selection: Selection) -> Match:
    path, node = tree.resolve(written, follow_last=selection.follow)
    if node is not None and selection.follow and path != written and tree.resolve(written, by_steps=True)[1] is None:
        # what BuildKit copies is found with targets joined as text, but its cache goes step by step
        raise not_found(tree, written)
    if node is None:
        if not Filter(selection.include, selection.exclude).takes_source():
            raise _out_of_reach(tree, written, path)
        raise not_found(tree, written)
    return Match(written, path, node)


def _reach(tree: FileTree, start: bytes, *, follow: bool) -> tuple[bytes, Node]:
    """Where a search begins, and what is there. BuildKit looks for patterns without asking first whether there is
    something to look through, so that what is missing is told by the copy, in the kernel's words."""
    where, node = tree.resolve(start, follow_last=follow)
    if node is None:
        raise _out_of_reach(tree, start, where)
    return where, node


def _out_of_reach(tree: FileTree, written: bytes, where: bytes) -> BuildError:
    above = where
    while (nearest_above := tree.find(above)) is None:
        above = above.rpartition(b"/")[0]
    # of a context only what may be copied is sent: a file in the way is not
    file_in_the_way = not (nearest_above.is_dir or tree.foreign)
    why = "not a directory" if file_in_the_way else "no such file or directory"
    return BuildError(f"lstat /{show(where)}: {why}", hint=not_found(tree, written).hint)


def _split_wildcards(path: str) -> tuple[str, str]:
    """`a/b*/c` → `a`, `b*/c`."""
    components = path.split("/")
    for index, component in enumerate(components):
        if has_wildcards(component):
            return "/".join(components[:index]), "/".join(components[index:])
    return path, ""


def _wildcard(tree: FileTree, where: bytes, node: Node, pattern: str) -> list[bytes]:
    """Paths below `where` that match, component by component, without following symlinks."""
    level = [(where, node)]
    for component in pattern.split("/"):
        matches = glob_regex(component).fullmatch
        level = [
            (path + b"/" + name if path else name, child)
            for path, folder in level
            if folder.is_dir
            for name, child in tree.children(path, folder).items()
            if matches(name.decode("utf-8", "surrogateescape"))
        ]
    return sorted((path for path, _ in level), key=lambda path: path.split(b"/"))


def pick(tree: FileTree, match: Match, filter: Filter) -> list[Picked]:
    """All that a copy of `match` takes, in path order; the first is the source itself, whatever the patterns say."""
    path, node = match.path, match.node
    if not node.is_dir:
        return [Picked(b"", node, True)]
    if not filter:
        skip = len(path) + 1 if path else 0
        return [Picked(below[skip:], child, True) for below, child in tree.walk(path, node)]
    return [Picked(b"", node, True), *_filtered(tree, path, node, filter)]


def _filtered(tree: FileTree, top: bytes, node: Node, filter: Filter) -> Iterator[Picked]:
    include, exclude = filter.include, filter.exclude
    # folders entered but not (yet) taken wait here for something below them
    waiting: list[tuple[str, Picked]] = []
    stack: list[tuple[bytes, str, Node, MatchState, MatchState]] = []

    def push(rel: bytes, text: str, folder: Node, included: MatchState, excluded: MatchState) -> None:
        children = tree.children(top + b"/" + rel if top and rel else top or rel, folder)
        for name in reversed(children):
            child_text = name.decode("utf-8", "surrogateescape")
            stack.append(
                (
                    rel + b"/" + name if rel else name,
                    text + "/" + child_text if text else child_text,
                    children[name],
                    included,
                    excluded,
                )
            )

    push(b"", "", node, None, None)
    while stack:
        rel, text, child, included, excluded = stack.pop()
        wanted = enter = True
        if include is not None:
            wanted, included = include.match(text, included)
            enter = wanted or include.may_match_below(text)
        if exclude is not None:
            dropped, excluded = exclude.match(text, excluded)
            wanted = wanted and not dropped
            enter = enter and (not dropped or exclude.may_except_below(text))
        while waiting and not text.startswith(waiting[-1][0]):
            waiting.pop()
        if wanted:
            yield from (picked for _, picked in waiting)
            waiting.clear()
            yield Picked(rel, child, True)
        if child.is_dir and enter:
            if not wanted:
                waiting.append((text + "/", Picked(rel, child, False)))
            push(rel, text, child, included, excluded)


def check_required(selection: Selection, written: bytes, picked: Sequence[Picked]) -> None:
    """Raises BuildError if a path that must be there is not among what was picked."""
    for required in selection.required:
        wanted = required.encode("utf-8", "surrogateescape")
        prefix = b"/" + written if written else b""
        if not any((prefix + b"/" + entry.path).startswith(wanted) for entry in picked if entry.path):
            raise BuildError(f'"{required}": not found', hint=_NO_SYMLINK)


_NO_SYMLINK = "with --parents no folder on the way may be a symlink"

# Digests -----------------------------------------------------------------------------------------------------------

FileDigests = Callable[[Sequence[tuple[bytes, Node]]], list[bytes]]
"""The sha256 of each of these files, by path in the tree."""

Xattrs = Callable[[bytes, Node], bytes]


def digest(tree: FileTree, selections: Sequence[Selection], file_digests: FileDigests, xattrs: Xattrs | None) -> str:
    """The digest of all that `selections` take from `tree`. Raises BuildError for what is not there."""
    total = hashlib.sha256()
    plain = {_clean(one.path) for one in selections if not (one.wildcard or one.include or one.exclude)}
    for selection in selections:
        path = _clean(selection.path)
        if path in plain and any(above in plain for above in _folders_above(path)):
            # BuildKit asks only for the folder that is copied, too
            _reach(tree, path.encode("utf-8", "surrogateescape"), follow=selection.follow)
        filter = Filter(selection.include, selection.exclude)
        part = hashlib.sha256()
        matches = find(tree, selection)
        for match in matches:
            picked = pick(tree, match, filter)
            check_required(selection, match.written, picked)
            if filter and not match.written:
                _check_links(tree, selection, picked)
            _update(part.update, tree, selection, match, picked, file_digests, xattrs)
        if not matches:
            check_required(selection, b"", [])
        total.update(part.digest())
    return "sha256:" + total.hexdigest()


def _check_links(tree: FileTree, selection: Selection, picked: Sequence[Picked]) -> None:
    """Raises BuildError if a symlink right below the root leads nowhere: BuildKit looks at what those lead to when the
    root is copied by patterns, although it copies the links themselves."""
    for entry in picked if selection.follow else ():
        if entry.node.is_symlink and b"/" not in entry.path:
            _follow(tree, entry.path, selection)


def _update(
    update: Callable[[bytes], None],
    tree: FileTree,
    selection: Selection,
    match: Match,
    picked: Sequence[Picked],
    file_digests: FileDigests,
    xattrs: Xattrs | None,
) -> None:
    top = match.path
    prefix = top + b"/" if top and match.node.is_dir else top
    files = [(prefix + entry.path, entry.node) for entry in picked if entry.node.is_file]
    contents = iter(file_digests(files))
    owners = selection.owners and not tree.foreign
    if not match.node.is_dir or not selection.contents:
        update(b"source\0" + (match.written.rpartition(b"/")[2] if selection.named else b"") + b"\0")
    else:
        update(b"folder\0")
        # of a folder that stands for its content nothing itself is copied
        picked = picked[1:]
    for path, node, _ in picked:
        mode = node.mode
        if node.is_file:
            content = next(contents)
        elif node.is_symlink:
            # the mode of a symlink means nothing
            mode |= 0o777
            content = tree.link(prefix + path, node)
        elif kind(mode) in ("char", "block"):
            content = b"%d" % node.rdev
        else:
            content = b""
        owner = (node.uid, node.gid) if owners else (0, 0)
        update(b"%b\0%o %d %d %d\0%b" % (path, mode, *owner, len(content), content))
        if xattrs is not None:
            update(xattrs(prefix + path, node))


def hash_files(
    files: Sequence[tuple[bytes, Node]],
    read: Callable[[bytes, Node, threading.Event], bytes],
    threads: int,
    stop: threading.Event,
) -> list[bytes]:
    """Calls `read` for each file, with `stop`, which it looks at if it takes long; results in order. Large files are
    read in threads, small ones by the caller's own: threads that do little between system calls keep each other
    waiting, and take four times as long. Raises what a failing call raises."""
    found = [b""] * len(files)

    def one(number: int) -> None:
        if stop.is_set():
            raise Stopped
        found[number] = read(*files[number], stop)

    large = [number for number, (_, node) in enumerate(files) if node.size >= LARGE]
    if threads < 2 or len(files) < 2 or not large:
        for number in range(len(files)):
            one(number)
        return found
    with ThreadPoolExecutor(threads, "hash") as pool:
        try:
            under_way = [pool.submit(one, number) for number in large]
            for number, (_, node) in enumerate(files):
                if node.size < LARGE:
                    one(number)
            for work in under_way:
                work.result()
        except BaseException:
            stop.set()
            raise
    return found


LARGE = 256 << 10
"""Bytes of a file from which on a thread of its own pays: its content takes longer than the calls around it."""
