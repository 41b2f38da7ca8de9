"""Small trees for tests: a busybox root, and layers written by hand."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.store import ContentStore
from bakepy.model.digest import Digest
from bakepy.model.oci import OCI_LAYER, Descriptor

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nsvc:x:1001:2000::/srv:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1000:\nsvc:x:2000:\nextra:x:3000:app\nmore:x:3001:svc,app\n"
APPLETS = (
    "sh", "cat", "chmod", "chown", "cut", "dd", "df", "env", "false", "grep", "head", "hostname", "id", "ln",
    "ls", "mkdir", "mknod", "mount", "mv", "nc", "ping", "ps", "pwd", "readlink", "rm", "rmdir", "seq", "sleep", "sort",
    "stat", "tail", "tee", "touch", "tr", "true", "umount", "unshare", "wc", "yes",
)  # fmt: skip
Member = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def busybox_root(root: Path) -> None:
    """Fills `root` with busybox, /etc with two users, /tmp, and nothing else."""
    (root / "bin").mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def summary(entries: Iterable[LayerEntry]) -> list[str]:
    """One line for each entry: what it is, with what tells it from others."""
    lines = []
    for entry in entries:
        line = f"{entry.kind} {entry.path.decode(errors='backslashreplace')} {entry.mode:o} {entry.uid}:{entry.gid}"
        if entry.kind == "file" and entry.source is not None:
            line += f" {entry.source.read_text()!r}"
        elif entry.linkname:
            line += f" -> {entry.linkname.decode()}"
        lines.append(line)
    return lines


def tar_layer(content: ContentStore | None, members: Sequence[Member]) -> Layer:
    """An uncompressed layer of these members; its blob is put into `content`, if that is given."""
    data = tar_bytes(members)
    digest = Digest.of(data)
    if content is not None:
        content.put(data)
    return Layer(Descriptor(OCI_LAYER, digest, len(data)), digest)


def tar_bytes(members: Sequence[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str,
    kind: bytes = tarfile.REGTYPE,
    *,
    mode: int = 0o644,
    link: str = "",
    mtime: int = 1000,
    uid: int = 0,
    gid: int = 0,
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime, info.uid, info.gid = kind, mode, link, mtime, uid, gid
    return info


def file_member(name: str, data: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, mode=mode), data


def mount_points_below(folder: Path) -> list[str]:
    """What is mounted below `folder`, as this process sees it."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(os.fspath(folder) + "/")]
