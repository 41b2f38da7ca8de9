"""The actions of a file op on a tree: each a plain function of the tree, the action and its owner."""

# bytes paths and bare system calls, as in copy.py
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.llb.op import CopyAction, MkDirAction, MkFileAction, RmAction, SymlinkAction
from bakepy.model.filemode import SymbolicMode
from bakepy.model.patterns import clean
from bakepy.snapshot.contenthash import Filter, Selection, check_required, find, pick
from bakepy.snapshot.filetree import FileTree, show
from bakepy.snapshot.tree import remove_tree
from bakepy.worker.file.copy import Copier, CopyOptions
from bakepy.worker.file.keys import selection_of
from bakepy.worker.file.target import Owner, Target, dress_folder
from bakepy.worker.file.unpack import unpack_archive


def copy(target: Target, action: CopyAction, owner: Owner | None, source: FileTree, stop: threading.Event) -> None:
    """Copies all that the action's source names, in order; a later one overwrites an earlier one."""
    dest = _clean_dest(action.dest)
    if not action.create_dest_path:
        folder = target.resolve(dest).rpartition(b"/")[0]
        if target.facts(folder) is None:
            raise BuildError(f"failed to stat {action.dest}: no such file or directory")
    options = CopyOptions(
        owner=owner,
        mode=None if action.mode < 0 or action.mode_str else action.mode,
        symbolic=SymbolicMode.parse(action.mode_str) if action.mode_str else None,
        time_ns=_time(action.timestamp),
        contents=action.dir_copy_contents,
        replace=action.always_replace,
    )
    selection = selection_of(action)
    filter = Filter(action.include_patterns, action.exclude_patterns)
    matches = find(source, selection)
    if not matches and not action.allow_empty_wildcard:
        raise BuildError(f"{action.src} not found")
    copier = Copier(source, target, options, filter, stop)
    for match in matches:
        if selection.required:
            check_required(selection, match.written, pick(source, match, filter))
        if action.attempt_unpack and unpack_archive(target, dest, source, match, owner, options.time_ns, stop):
            continue
        copier.copy(match, dest)


def _clean_dest(path: str) -> str:
    """Cleaned as text, but a slash or `/.` at the end stays: it says that this is a folder."""
    cleaned = clean("/" + path)
    if path.endswith("/."):
        return cleaned.rstrip("/") + "/."
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


def make_folder(target: Target, action: MkDirAction, owner: Owner | None) -> None:
    path = target.resolve(action.path)
    if action.make_parents:
        made = target.make_folders(path, action.mode, owner)
    else:
        real = target.path(path)
        try:
            os.mkdir(real)
        except FileExistsError:
            return
        except FileNotFoundError as error:
            raise BuildError(f"mkdir /{show(path)}: no such file or directory") from error
        dress_folder(real, action.mode, owner)
        made = [path]
    target.set_times(made, _time(action.timestamp))


def make_file(target: Target, action: MkFileAction, owner: Owner | None) -> None:
    """Writes the file; one that is there keeps its mode."""
    path = target.resolve(action.path)
    real = target.path(path)
    facts = target.facts(path)
    if facts is not None and stat.S_ISDIR(facts.st_mode):
        raise BuildError(f"open /{show(path)}: is a directory")
    try:
        fd = os.open(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise BuildError(f"open /{show(path)}: no such file or directory") from error
    with open(fd, "wb") as file:  # noqa: PTH123
        file.write(action.data)
        file.flush()
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        if facts is None:
            os.fchmod(fd, action.mode & 0o777)
        if (time_ns := _time(action.timestamp)) is not None:
            os.utime(fd, ns=(time_ns, time_ns))


def make_symlink(target: Target, action: SymlinkAction, owner: Owner | None) -> None:
    path = target.resolve(action.newpath)
    real = target.path(path)
    try:
        os.symlink(action.oldpath.encode("utf-8", "surrogateescape"), real)
    except FileExistsError as error:
        raise BuildError(f"symlink {action.oldpath} /{show(path)}: file exists") from error
    except FileNotFoundError as error:
        raise BuildError(f"symlink {action.oldpath} /{show(path)}: no such file or directory") from error
    if owner is not None:
        os.chown(real, owner.uid, owner.gid, follow_symlinks=False)
    target.set_times([path], _time(action.timestamp))


def remove(target: Target, action: RmAction) -> None:
    """Removes a path, not what a symlink there points to; folders with all that is in them."""
    paths = [clean("/" + action.path).strip("/")]
    if action.allow_wildcard:
        tree = FileTree(Path(os.fsdecode(target.root)))
        found = find(tree, Selection(action.path, wildcard=True, follow=False))
        paths = [match.written.decode("utf-8", "surrogateescape") for match in found]
    for path in paths:
        if not path:
            raise BuildError("rm: the root of the file system can not be removed")
        folder, _, name = path.rpartition("/")
        parent = target.resolve(folder)
        here = b"/".join(part for part in (parent, name.encode("utf-8", "surrogateescape")) if part)
        if target.facts(here) is None and not action.allow_not_found:
            raise BuildError(f"stat /{show(here)}: no such file or directory")
        remove_tree(Path(os.fsdecode(target.path(here))))


def _time(timestamp: int) -> int | None:
    return None if timestamp == -1 else timestamp
