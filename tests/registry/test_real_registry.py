"""Against Debian's docker-registry, read back by skopeo."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bakepy.content.layout import reachable
from bakepy.content.store import ContentStore
from bakepy.model.oci import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from bakepy.registry.registry import Registry
from bakepy.registry.transport import Refused
from bakepy.session.credentials import Credentials
from tests.support.base_image import put_base_image
from tests.support.registry import RegistryServer, registry_server, running_registry

__all__ = ["registry_server"]
pytestmark = [pytest.mark.anyio, pytest.mark.registry]

PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))
# bcrypt of "s3cret", cost 5
HTPASSWD = "ann:$2b$05$f1S7zCAm65pUMMEOwj3iOe7m1JOil2qGeYYwJLkyDrkq6u0Hc81ry\n"


async def push(registry: Registry, ref: ImageReference, root: Descriptor, store: ContentStore) -> None:
    """Everything that `root` reaches, its tag last."""
    for blob in reachable(store, [root]):
        if blob.media_type in MANIFEST_TYPES | INDEX_TYPES:
            name = ref if blob.digest == root.digest else ImageReference(ref.domain, ref.path)
            await registry.push_manifest(name, store.read(blob.digest), blob.media_type)
        else:
            await registry.push_blob(ref, blob, store)


def skopeo(*arguments: str) -> str:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


async def test_pushed_index_is_what_skopeo_reads(
    registry_server: RegistryServer, store: ContentStore, tmp_path: Path
) -> None:
    root = put_base_image(store, PLATFORMS)
    ref = ImageReference.parse(f"{registry_server.host}/team/base:1")

    async with Registry(Credentials({})) as registry:
        await push(registry, ref, root, store)

    copied = tmp_path / "copied"
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{ref}", f"oci:{copied}:1")
    names = {path.name for path in (copied / "blobs" / "sha256").iterdir()}
    assert names == {blob.digest.hex for blob in reachable(store, [root])}
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", "--override-arch=arm64", f"docker://{ref}"))
    assert inspected["Architecture"] == "arm64"
    assert inspected["RepoTags"] == ["1"]


async def test_what_was_pushed_comes_back(registry_server: RegistryServer, store: ContentStore, tmp_path: Path) -> None:
    root = put_base_image(store, PLATFORMS)
    ref = ImageReference.parse(f"{registry_server.host}/team/base:1")
    fresh = ContentStore(tmp_path / "fresh")

    async with Registry(Credentials({})) as registry:
        await push(registry, ref, root, store)
        found = await registry.resolve(ref)
        assert await registry.manifest(ref, found.digest) == store.read(root.digest)
        for blob in reachable(store, [root]):
            if blob.media_type not in MANIFEST_TYPES | INDEX_TYPES:
                await registry.fetch(ref, blob, fresh)
                assert fresh.read(blob.digest) == store.read(blob.digest)


async def test_tags_move_only_when_told(registry_server: RegistryServer, store: ContentStore) -> None:
    root = put_base_image(store, PLATFORMS[:1])
    bare = ImageReference.parse(f"{registry_server.host}/team/base")

    async with Registry(Credentials({})) as registry:
        await push(registry, bare, root, store)
        assert registry_server.tags("team/base") == []
        for tag in ("1", "latest"):
            ref = ImageReference.parse(f"{bare}:{tag}")
            assert await registry.push_manifest(ref, store.read(root.digest), root.media_type) == root.digest

    assert registry_server.tags("team/base") == ["1", "latest"]


async def test_blob_is_mounted_across_repositories(
    registry_server: RegistryServer, store: ContentStore, tmp_path: Path
) -> None:
    root = put_base_image(store, PLATFORMS[:1])
    layer = max(reachable(store, [root]), key=lambda blob: blob.size)
    one, two = (ImageReference.parse(f"{registry_server.host}/team/{name}") for name in ("one", "two"))

    async with Registry(Credentials({})) as registry:
        await registry.push_blob(one, layer, store)
        # there is nothing in this store that could be uploaded
        await registry.push_blob(two, layer, ContentStore(tmp_path / "empty"), mount_from=one)
        await registry.fetch(two, layer, ContentStore(tmp_path / "fresh"))


async def test_login_is_needed_and_used(store: ContentStore) -> None:
    root = put_base_image(store, PLATFORMS[:1])
    with running_registry(HTPASSWD) as server:
        ref = ImageReference.parse(f"{server.host}/team/base:1")
        async with Registry(Credentials({})) as registry:
            with pytest.raises(Refused, match="access denied"):
                await push(registry, ref, root, store)
        async with Registry(Credentials({"auths": {server.host: {"username": "ann", "password": "s3cret"}}})) as known:
            await push(known, ref, root, store)
        assert server.tags("team/base") == ["1"]
