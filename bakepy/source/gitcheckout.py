"""Files out of a fetched commit: plain, or as a repository that is kept, with submodules, a sub folder alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import anyio.to_thread

from bakepy.errors import BuildError
from bakepy.source.gitcommand import Git
from bakepy.source.gitrequest import GitPin, GitRequest


async def check_out(git: Git, request: GitRequest, pin: GitPin, tree: Path) -> None:
    """Puts the files of the commit, or of its sub folder, into the empty folder `tree`. Raises BuildError."""
    submodules = not request.skip_submodules and await git.succeeds("cat-file", "-e", f"{pin.object}:.gitmodules")
    if request.subdir:
        await require_subdir(git, request, pin, submodules=submodules)
    whole = tree / f".bakepy-{pin.commit[:12]}" if request.subdir else tree
    whole.mkdir(mode=0o755, exist_ok=True)
    if submodules or (request.keep_git_dir and not request.subdir):
        await _clone(git, request, pin, whole, submodules=submodules)
    else:
        await _read_tree(git, request, pin, whole)
    if request.subdir:
        await anyio.to_thread.run_sync(_lift, whole, request.subdir, tree)
    if request.mtime == "commit":
        await anyio.to_thread.run_sync(_set_times, tree, await commit_time(git, request, pin))


async def _read_tree(git: Git, request: GitRequest, pin: GitPin, tree: Path) -> None:
    assert git.git_dir is not None
    index = git.git_dir / "index.bakepy"
    index.unlink(missing_ok=True)
    try:
        await git.at(git.git_dir, tree, index).run(
            "read-tree", "--reset", "-u", pin.object, what=f"failed to checkout remote {request.shown}"
        )
    finally:
        index.unlink(missing_ok=True)


async def _clone(git: Git, request: GitRequest, pin: GitPin, tree: Path, *, submodules: bool) -> None:
    """A repository of its own in `tree`: kept, or what submodules need to be checked out."""
    failed = f"failed to checkout remote {request.shown}"
    folder = tree / ".git"
    here = git.without("remote.origin.url").at(folder, tree)
    form = "sha256" if len(pin.object) == 64 else "sha1"
    # what is kept looks as git makes it, with the samples of its hooks
    template = () if request.keep_git_dir and not request.subdir else ("--template=",)
    await here.run("init", "--quiet", *template, f"--object-format={form}", what=failed)
    spec = pin.kept + (f":{_kept_name(request.ref, pin)}" if pin.name.startswith("refs/") else "")
    await here.run("remote", "add", "origin", request.shown, what=failed)
    await here.run("fetch", "--quiet", "-u", "--depth=1", "--no-tags", f"file://{git.git_dir}", spec, what=failed)
    await here.run("checkout", "--quiet", "--detach", "FETCH_HEAD", what=failed)
    if submodules:
        await here.run("remote", "set-url", "origin", request.remote, what=failed)
        await here.run(
            "submodule", "update", "--quiet", "--init", "--recursive", "--depth=1",
            what=f"failed to update submodules for {request.shown}",
        )  # fmt: skip
    if request.keep_git_dir and not request.subdir:
        await here.run("reflog", "expire", "--all", "--expire=now", what=failed)
        await anyio.to_thread.run_sync(_clean, folder, request.remote, request.shown)
    else:
        await anyio.to_thread.run_sync(_drop_git, tree)


async def require_subdir(git: Git, request: GitRequest, pin: GitPin, *, submodules: bool = False) -> None:
    """Raises BuildError unless the sub folder is one, all the way. What is in a submodule shows when it is
    there."""
    listed = await git.run(
        "ls-tree", "-d", "-z", pin.commit, "--", request.subdir, what=f"failed to read {request.shown}"
    )
    if not listed and not submodules:
        raise BuildError(f"invalid subdir {request.subdir}: {request.shown} has no such folder")


async def commit_time(git: Git, request: GitRequest, pin: GitPin) -> int:
    """In seconds."""
    text = await git.run(
        "log", "-1", "--format=%ct", f"{pin.object}^{{commit}}", what=f"failed to read {request.shown}"
    )
    return int(text)


def _lift(whole: Path, subdir: str, tree: Path) -> None:
    """Makes the content of a sub folder the tree. Raises BuildError if a part of the way is no folder."""
    inside = whole
    for part in subdir.split("/"):
        inside = inside / part
        if part == ".." or inside.is_symlink() or not inside.is_dir():
            raise BuildError(f"invalid subdir {subdir}")
    for entry in list(inside.iterdir()):
        entry.rename(tree / entry.name)
    shutil.rmtree(whole)


def _drop_git(tree: Path) -> None:
    """Removes the repository, and what points to it in submodules."""
    shutil.rmtree(tree / ".git")
    for folder, folders, files in os.walk(tree):
        if ".git" in files:
            (Path(folder) / ".git").unlink()
            files.remove(".git")
        if ".git" in folders:
            shutil.rmtree(Path(folder) / ".git")
            folders.remove(".git")


def _kept_name(ref: str, pin: GitPin) -> str:
    """What the reference is called in a repository that is kept: a tag only if it is an annotated one, or named as one
    (as `git fetch REF:REF` has it, which BuildKit runs)."""
    if pin.object != pin.commit:
        return f"refs/tags/{ref.removeprefix('refs/tags/')}"
    if ref.startswith("refs/"):
        return ref
    if ref.startswith(("heads/", "tags/", "remotes/")):
        return f"refs/{ref}"
    return f"refs/heads/{ref or pin.name.removeprefix('refs/heads/')}"


def _clean(folder: Path, remote: str, shown: str) -> None:
    """Leaves no password in a repository that is kept, and no trace of this fetch."""
    (folder / "FETCH_HEAD").unlink(missing_ok=True)
    secret, instead = (text.partition("://")[2].rpartition("@")[0] for text in (remote, shown))
    for config in folder.rglob("config"):
        text = config.read_text(errors="surrogateescape")
        clean = text.replace(f"{secret}@", f"{instead}@") if secret else text
        if clean != text:
            config.write_text(clean, errors="surrogateescape")


def _set_times(tree: Path, seconds: int) -> None:
    """Deepest first, so that a folder keeps the time that it is given."""
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in (*files, *folders):
            os.utime(Path(folder) / name, (seconds, seconds), follow_symlinks=False)
    os.utime(tree, (seconds, seconds))
