"""Runs a command as an ordinary user who has ids lent in /etc/subuid and /etc/subgid, or has not.

    python -m tests.support.ordinary_user [--lent N] [--folder DIR] [--flags N] [--cgroup DIR] HOME COMMAND…

Must be run as root. The user exists for the command only: its lines in /etc/passwd and its like are in copies that are
bound over the files in a mount namespace of the command's own. Whatever happens, the machine's files stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bakepy.snapshot import syscalls

USER, GROUP, NAME = 54321, 54321, "bakepy-test"
_CGROUPS = Path("/sys/fs/cgroup")
FIRST_LENT = 1_000_000_000
LENT = 65536
REPOSITORY = Path(__file__).parents[2]


def command(
    home: Path,
    *words: str | Path,
    lent: int = LENT,
    folder: Path | None = None,
    flags: int = 0,
    cgroup: Path | None = None,
) -> list[str]:
    """The command line that runs `words` as the user, in `folder`. `home` must be one that everybody can reach;
    it is mounted with `flags` (mount(2)). `cgroup` is where the command is to be (`delegated_cgroup`)."""
    start = ["-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from {__name__} import main; main()"]
    return [
        sys.executable,
        *start,
        f"--lent={lent}",
        f"--folder={folder or REPOSITORY}",
        f"--flags={flags}",
        *(() if cgroup is None else (f"--cgroup={cgroup}",)),
        str(home),
        *map(str, words),
    ]


@contextmanager
def ordinary_home() -> Iterator[Path]:
    """A home for the user, gone afterwards. It is not in pytest's folder: that one is root's alone."""
    home = Path(tempfile.mkdtemp(prefix="bakepy-home-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def _version_2() -> Iterator[Path]:
    """Where cgroups of version 2 are. Mount namespaces of tests hide them, as the engine's do: there they are mounted
    anew."""
    for path in (_CGROUPS / "unified", _CGROUPS):
        if (path / "cgroup.subtree_control").exists():
            yield path
            return
    with tempfile.TemporaryDirectory() as folder:
        syscalls.mount("none", folder, "cgroup2")
        try:
            yield Path(folder)
        finally:
            syscalls.unmount(Path(folder))


@contextmanager
def delegated_cgroup() -> Iterator[Path | None]:
    """A cgroup of version 2 that belongs to the user, gone afterwards with those in it. None if none can be made."""
    with ExitStack() as held:
        try:
            folder = held.enter_context(_version_2()) / f"bakepy-test-{os.getpid()}"
            folder.mkdir()
        except OSError:
            yield None
            return
        try:
            for path in (folder, *folder.iterdir()):
                os.chown(path, USER, GROUP)
            yield folder
        finally:
            for name, _, _ in os.walk(folder, topdown=False):
                os.rmdir(name)  # noqa: PTH106


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lent", type=int, default=LENT, help="how many ids are lent to the user")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the command runs")
    parser.add_argument("--flags", type=int, default=0, help="with what HOME is mounted, in mount(2)'s numbers")
    parser.add_argument("--cgroup", type=Path, help="the cgroup of the command; its hierarchy is the only one")
    parser.add_argument("home", type=Path)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    home: Path = options.home
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    tables = home / ".etc"
    tables.mkdir(exist_ok=True)
    syscalls.mount("tmpfs", tables, "tmpfs", 0, "mode=755")
    _bind_table(tables, "passwd", f"{NAME}:x:{USER}:{GROUP}::{home}:/bin/sh\n")
    _bind_table(tables, "group", f"{NAME}:x:{GROUP}:\n")
    for name in ("subuid", "subgid"):
        _bind_table(tables, name, f"{NAME}:{FIRST_LENT}:{options.lent}\n" if options.lent else "")
    _open_tun(tables)
    if options.cgroup is not None:
        (options.cgroup / "cgroup.procs").write_text("0")
        syscalls.mount("none", _CGROUPS, "cgroup2")
    _reach(Path(sys.base_prefix), REPOSITORY, Path(sys.prefix))
    os.chown(home, USER, GROUP)
    if options.flags:
        syscalls.mount(home, home, "", syscalls.MS_BIND)
        syscalls.remount_bind(home, options.flags)
    os.setgroups([])
    os.setresgid(GROUP, GROUP, GROUP)
    os.setresuid(USER, USER, USER)
    os.chdir(options.folder)
    # what root was told of places and sessions is not this user's
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SUDO_"))}
    environment |= {"HOME": str(home), "USER": NAME, "LOGNAME": NAME}
    os.execvpe(options.words[0], options.words, environment)


def _bind_table(folder: Path, name: str, lines: str) -> None:
    """Binds a copy with `lines` at its end over /etc/`name`."""
    real = Path("/etc", name)
    if not real.exists():
        real.touch()  # as shadow's own tools would
    copy = folder / name
    copy.write_text(real.read_text() + lines)
    copy.chmod(0o644)
    syscalls.mount(copy, real, "", syscalls.MS_BIND)


def _open_tun(folder: Path) -> None:
    """Everybody may open /dev/net/tun, as udev has it on real machines."""
    real = Path("/dev/net/tun")
    if real.exists():
        copy = folder / "tun"
        os.mknod(copy, stat.S_IFCHR | 0o666, real.stat().st_rdev)
        copy.chmod(0o666)
        syscalls.mount(copy, real, "", syscalls.MS_BIND)


def _reach(*folders: Path) -> None:
    """Lets others reach folders if a parent shuts them out: for us such a parent is an empty folder with nothing but
    those in it."""
    held = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in folders}
    for folder, descriptor in held.items():
        parents = [path for path in reversed(folder.parents) if path.exists()]
        if shut := next((path for path in parents if not path.stat().st_mode & stat.S_IXOTH), None):
            syscalls.mount("tmpfs", shut, "tmpfs", 0, "mode=755")
        folder.mkdir(parents=True, mode=0o755, exist_ok=True)
        if not os.path.samestat(folder.stat(), os.fstat(descriptor)):
            syscalls.mount(f"/proc/self/fd/{descriptor}", folder, "", syscalls.MS_BIND)
        os.close(descriptor)


if __name__ == "__main__":
    main()
