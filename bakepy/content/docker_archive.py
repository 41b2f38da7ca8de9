"""Archives for `docker load`: an OCI layout in a tar, with the `manifest.json` that older Dockers read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import BinaryIO

from bakepy.content.layout import write_layout_tar
from bakepy.content.store import ContentStore
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor, Manifest
from bakepy.model.reference import ImageReference


def manifest_json(manifest: Manifest, names: Sequence[ImageReference]) -> bytes:
    """`manifest.json` for one image; RepoTags is null without `names`, as the reference implementation has it."""
    value = {
        "Config": _blob(manifest.config.digest),
        "RepoTags": [name.familiar() for name in names] or None,
        "Layers": [_blob(layer.digest) for layer in manifest.layers],
    }
    return json.dumps([value], separators=(",", ":")).encode()


def write_docker_archive(
    out: BinaryIO,
    store: ContentStore,
    roots: Sequence[Descriptor],
    manifest: Manifest,
    names: Sequence[ImageReference],
) -> None:
    """Writes the image `manifest` under `names` to `out`. `roots` are the entries of `index.json`."""
    write_layout_tar(out, store, roots, {"manifest.json": manifest_json(manifest, names)})


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
