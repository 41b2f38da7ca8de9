"""A small base image for tests and the demo: busybox as an OCI layout, made without a network.

The same busybox gives the same bytes. With two platforms the second has the same files under another name (its
binaries are the first's), which is enough for builds that only copy.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bakepy.content.compression import Compression
from bakepy.content.layer import Layer, LayerEntry, write_layer
from bakepy.content.layout import reachable, write_layout_dir, write_layout_tar
from bakepy.content.store import ContentStore
from bakepy.model.image_config import ContainerConfig, HistoryEntry, ImageConfig
from bakepy.model.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, ImageIndex, Manifest
from bakepy.model.platform import Platform, host_platform
from tests.support.fake_registry import FakeRegistry

BUSYBOX = Path("/bin/busybox")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CREATED = "2024-01-01T00:00:00Z"
_TIME_NS = 1_704_067_200 * 10**9
_FOLDERS = {
    b"bin": 0o755, b"dev": 0o755, b"etc": 0o755, b"home": 0o755, b"home/app": 0o755, b"lib": 0o755, b"proc": 0o755,
    b"root": 0o700, b"sys": 0o755, b"tmp": 0o1777, b"usr": 0o755, b"usr/bin": 0o755, b"usr/sbin": 0o755,
    b"var": 0o755, b"var/tmp": 0o1777,
}  # fmt: skip
_FILES = {
    b"etc/group": b"root:x:0:\ndaemon:x:1:\nadm:x:4:app\napp:x:1000:\nnogroup:x:65534:\n",
    b"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"
    b"nobody:x:65534:65534:nobody:/:/bin/false\n",
    b"etc/hostname": b"busybox\n",
    b"etc/os-release": b'ID=busybox\nPRETTY_NAME="busybox for tests"\n',
}


def write_base_image(
    goal: Path, *, name: str = "", platforms: Sequence[Platform] | None = None, extra: dict[str, bytes] | None = None
) -> Descriptor:
    """Writes the layout folder `goal` (or tar, if it ends in `.tar`) with the tag `latest`, and `name` if given.

    One platform (by default this machine's): a manifest; several: an index. `extra` are further files, mode 0644.
    """
    store = ContentStore(goal.parent / f".{goal.name}.content")
    try:
        root = put_base_image(store, platforms or [host_platform()], extra)
        annotations = {"org.opencontainers.image.ref.name": "latest"}
        named = root.with_annotations({**annotations, **({"io.containerd.image.name": name} if name else {})})
        if goal.suffix == ".tar":
            with goal.open("wb") as out:
                write_layout_tar(out, store, [named])
        else:
            write_layout_dir(goal, store, [named])
        return named
    finally:
        shutil.rmtree(store.root, ignore_errors=True)


def put_base_image(
    store: ContentStore, platforms: Sequence[Platform], extra: dict[str, bytes] | None = None
) -> Descriptor:
    """Puts the image into `store`; returns the descriptor of its manifest, or of its index for several platforms."""
    layer = write_layer(_entries(extra or {}), store, compression=Compression("gzip"))
    manifests = [_put_manifest(store, layer, platform) for platform in platforms]
    if len(manifests) == 1:
        return manifests[0]
    data = ImageIndex(tuple(manifests)).to_bytes()
    return Descriptor(OCI_INDEX, store.put(data), len(data))


def _put_manifest(store: ContentStore, layer: Layer, platform: Platform) -> Descriptor:
    config = ImageConfig(
        platform=platform,
        config=ContainerConfig(env=(PATH,), cmd=("/bin/sh",)),
        created=_CREATED,
        diff_ids=(layer.diff_id,),
        history=(HistoryEntry(created=_CREATED, created_by="busybox-static of Debian", comment="bakepy test base"),),
    ).to_bytes()
    manifest = Manifest(Descriptor(OCI_CONFIG, store.put(config), len(config)), (layer.descriptor,)).to_bytes()
    return Descriptor(OCI_MANIFEST, store.put(manifest), len(manifest), platform)


def _entries(extra: dict[str, bytes]) -> Iterator[LayerEntry]:
    """In path order, each folder before what is in it."""
    entries = {path: LayerEntry(path, "dir", mode, mtime_ns=_TIME_NS) for path, mode in _FOLDERS.items()}
    for applet in _applets():
        entries[b"bin/" + applet] = LayerEntry(
            b"bin/" + applet, "symlink", 0o777, mtime_ns=_TIME_NS, linkname=b"busybox"
        )
    size = BUSYBOX.stat().st_size
    entries[b"bin/busybox"] = LayerEntry(
        b"bin/busybox", "file", 0o755, size=size, mtime_ns=_TIME_NS, source=BUSYBOX.resolve()
    )
    for path, data in (*_FILES.items(), *((key.encode(), data) for key, data in extra.items())):
        for folder in Path(path.decode()).parents[:-1]:
            entries.setdefault(str(folder).encode(), LayerEntry(str(folder).encode(), "dir", 0o755, mtime_ns=_TIME_NS))
        entries[path] = LayerEntry(path, "file", 0o644, size=len(data), mtime_ns=_TIME_NS, data=data)
    # users' ids as in etc/passwd
    home = entries[b"home/app"]
    entries[b"home/app"] = LayerEntry(home.path, "dir", home.mode, 1000, 1000, mtime_ns=_TIME_NS)
    return (entry for _, entry in sorted(entries.items()))


def _applets() -> list[bytes]:
    done = subprocess.run([BUSYBOX, "--list"], capture_output=True, check=True)
    return [name for name in done.stdout.split() if name != b"busybox"]


def main() -> None:
    """`python -m tests.support.base_image GOAL [--name NAME] [--platform P]…`"""
    parser = argparse.ArgumentParser(description="Writes a busybox base image as an OCI layout.")
    parser.add_argument("goal", type=Path)
    parser.add_argument("--name", default="")
    parser.add_argument("--platform", action="append", type=Platform.parse)
    arguments = parser.parse_args()
    arguments.goal.parent.mkdir(parents=True, exist_ok=True)
    print(write_base_image(arguments.goal, name=arguments.name, platforms=arguments.platform).digest)


if __name__ == "__main__":
    main()


def publish(fake: FakeRegistry, remote: ContentStore, root: Descriptor, tag: str = "1") -> None:
    """Serves an image of `remote` as `base`."""
    for blob in reachable(remote, [root]):
        data = remote.read(blob.digest)
        if blob.media_type in (OCI_MANIFEST, OCI_INDEX):
            fake.put_manifest("base", data, blob.media_type, tag if blob.digest == root.digest else "")
        else:
            fake.put_blob("base", data)
