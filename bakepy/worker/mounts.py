"""The mounts of a step: from the op's to those of the runtime configuration, with what each needs held while it runs.

The outer part waits (locks of cache mounts, unpacking), the inner part blocks and runs in the thread that starts the
container. Everything that is held goes to a stack that the step closes.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import field, replace
from functools import partial
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.llb.op import NONE, ExecOp, Mount, MountType, SecretOpt
from bakepy.model.value import dataclass
from bakepy.snapshot.active import Active
from bakepy.snapshot.rootpath import resolve
from bakepy.snapshot.tree import copy_tree
from bakepy.worker.context import ExecContext
from bakepy.worker.oci import ContainerMount
from bakepy.worker.ref import Ref
from bakepy.worker.sshsocket import serve_agent

ROOT = "/"


@dataclass(slots=True)
class StepMounts:
    """The mounts of one step, in the making. `trees` and `passed` hold the outputs by their number: new trees, and
    inputs that are passed on as they are."""

    op: ExecOp
    inputs: Sequence[Ref]
    context: ExecContext
    mounts: list[ContainerMount] = field(default_factory=list)
    trees: dict[int, Active] = field(default_factory=dict)
    passed: dict[int, Ref] = field(default_factory=dict)
    root: Active | None = None
    _trees: list[str | None] = field(default_factory=list)
    _caches: dict[int, Path] = field(default_factory=dict)
    _sockets: dict[int, Path] = field(default_factory=dict)

    async def acquire(self, stack: AsyncExitStack) -> None:
        """Waits for what the mounts need: files of lazy inputs, locks of cache mounts, sockets of SSH agents."""
        for ref in self.inputs:
            # a folder of the user is never mounted itself: that would show files which its filters hide, owners that
            # mean nothing here, and let the step write into it
            from bakepy.worker.file.run import as_tree

            tree = await as_tree(ref, self.context.snapshots)
            if tree.snapshot is not None:
                await self.context.snapshots.materialize(tree.snapshot)
            self._trees.append(tree.snapshot)
        shared: dict[str, Path] = {}
        for index, mount in enumerate(self.op.mounts):
            if mount.type is MountType.CACHE:
                self._caches[index] = await self._acquire_cache(mount, shared, stack)
            elif mount.type is MountType.SSH:
                socket = await self._serve_ssh(mount.ssh or SecretOpt("default"), index, stack)
                if socket is not None:
                    self._sockets[index] = socket

    def build(self, files: Callable[[], Path], stack: ExitStack) -> None:
        """Mounts and makes everything; blocks. `files` gives a folder in memory that is removed after the step."""
        for index, mount in enumerate(self.op.mounts):
            if _destination(mount, self.op) == ROOT:
                self._build_root(mount, stack)
            else:
                self._build_mount(index, mount, files, stack)
        # parents first, whatever the order they are written in
        self.mounts.sort(key=lambda mount: mount.destination)
        if self.root is not None:
            self.mounts = [_with_mode(mount, self.root.path) for mount in self.mounts]

    def _build_root(self, mount: Mount, stack: ExitStack) -> None:
        if mount.type is not MountType.BIND:
            raise BuildError(f"invalid mount type {mount.type.name.lower()} for /")
        # without cgroups nothing else denies access to devices that an image brings
        self.root = self._writable(mount, stack, devices=self.context.runtime.cgroups)
        if mount.output != NONE:
            self.trees[mount.output] = self.root

    def _build_mount(self, index: int, mount: Mount, files: Callable[[], Path], stack: ExitStack) -> None:
        destination = _destination(mount, self.op)
        match mount.type:
            case MountType.BIND:
                source = self._bind_source(mount, stack)
                options: tuple[str, ...] = ("rbind", "ro") if mount.readonly else ("rbind",)
                self._add(destination, "bind", source, options)
            case MountType.CACHE:
                source = _selected(self._caches[index], mount.selector, "open {}: no such file or directory")
                if mount.output != NONE and (ref := self._input(mount)) is not None:
                    self.passed[mount.output] = ref
                self._add(destination, "bind", source, ("rbind", "ro") if mount.readonly else ("rbind",))
            case MountType.TMPFS:
                options = ("nosuid", *(("ro",) if mount.readonly else ()))
                if mount.tmpfs_size:
                    options = (*options, f"size={mount.tmpfs_size}")
                self._add(destination, "tmpfs", Path("tmpfs"), options)
            case MountType.SECRET:
                self._build_secret(index, mount, destination, files)
            case MountType.SSH:
                if index in self._sockets:
                    self._add(destination, "bind", self._sockets[index], ("rbind",))

    def _add(self, destination: str, kind: str, source: Path, options: tuple[str, ...]) -> None:
        self.mounts.append(ContainerMount(destination, kind, str(source), options))

    def _bind_source(self, mount: Mount, stack: ExitStack) -> Path:
        ref = self._input(mount)
        if mount.readonly and ref is not None:
            if mount.output != NONE:
                self.passed[mount.output] = ref
            return _selected(self._readable(mount, stack), mount.selector)
        active = self._writable(mount, stack)
        if mount.output != NONE:
            self.trees[mount.output] = active
        return _selected(active.path, mount.selector)

    def _readable(self, mount: Mount, stack: ExitStack) -> Path:
        view = self.context.snapshots.open_view(self._tree(mount))
        stack.callback(view.close)
        return view.path

    def _writable(self, mount: Mount, stack: ExitStack, *, devices: bool = True) -> Active:
        active = self.context.snapshots.open_active(self._tree(mount), devices=devices)
        stack.callback(active.discard)
        return active

    def _tree(self, mount: Mount) -> str | None:
        return None if mount.input == NONE else self._trees[mount.input]

    def _input(self, mount: Mount) -> Ref | None:
        return None if mount.input == NONE else self.inputs[mount.input]

    def _build_secret(self, index: int, mount: Mount, destination: str, files: Callable[[], Path]) -> None:
        option = mount.secret
        if option is None or not option.id:
            raise BuildError("invalid secret mount options")
        value = self.context.secrets.get(option.id)
        if value is None:
            if option.optional:
                return
            raise missing_secret(option.id)
        path = files() / f"secret{index}"
        path.touch(mode=0o600)
        path.write_bytes(value)
        os.chown(path, option.uid, option.gid)
        path.chmod(option.mode & 0o777)
        noexec = () if option.mode & 0o111 else ("noexec",)
        self._add(destination, "bind", path, ("ro", "rbind", "nodev", "nosuid", *noexec))

    async def _acquire_cache(self, mount: Mount, shared: dict[str, Path], stack: AsyncExitStack) -> Path:
        if mount.cache is None:
            raise BuildError("missing cache mount options")
        ref = self._input(mount)
        key = mount.cache.id if ref is None else f"{mount.cache.id}:{ref.id}"
        if key not in shared:
            slot = await self.context.cache_mounts.acquire(key, mount.cache.sharing, partial(self._populate, mount))
            stack.callback(slot.release)
            shared[key] = slot.path
        return shared[key]

    def _populate(self, mount: Mount, folder: Path) -> None:
        with ExitStack() as stack:
            copy_tree(self._readable(mount, stack), folder)

    async def _serve_ssh(self, option: SecretOpt, index: int, stack: AsyncExitStack) -> Path | None:
        id = option.id or "default"
        agent = self.context.ssh.socket(id)
        if agent is None:
            if option.optional:
                return None
            raise BuildError(f"unset ssh forward key {id}", hint=f"lend an agent with --ssh {id}=SOCKET")
        path = self.context.volatile / f"{self.context.new_id()}.sock"
        await stack.enter_async_context(serve_agent(agent, path, option))
        return path


def missing_secret(id: str) -> BuildError:
    return BuildError(f"secret {id}: not found", hint=f"lend it with --secret id={id},src=FILE")


def _with_mode(mount: ContainerMount, rootfs: Path) -> ContainerMount:
    """A tmpfs takes the mode of the folder that it hides, 1777 where there is none: so runc does it, others not."""
    if mount.type != "tmpfs":
        return mount
    found = resolve(rootfs, mount.destination)
    hidden = not found.missing and not mount.destination.startswith("/dev/")
    mode = stat.S_IMODE(found.under(rootfs).stat().st_mode) if hidden else 0o1777
    return replace(mount, options=(*mount.options, f"mode={mode:o}"))


def _destination(mount: Mount, op: ExecOp) -> str:
    return posixpath.normpath("/" + posixpath.join(op.meta.cwd or "/", mount.dest).lstrip("/"))


def _selected(root: Path, selector: str, missing: str = '"{}": not found') -> Path:
    """What `selector` means in a tree; symlinks in it stay inside. BuildError in the words of `missing`."""
    path = posixpath.normpath("/" + selector.lstrip("/"))
    if path == "/":
        return root
    found = resolve(root, selector)
    if found.missing:
        raise BuildError(missing.format(path))
    return found.under(root)
