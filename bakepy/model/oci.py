"""OCI content: descriptors, manifests and image indexes, as the image specification 1.1 defines them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is where: media type, digest and size (bytes) of a blob."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: FrozenMap[str, str] = field(default_factory=FrozenMap)
    artifact_type: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Descriptor:
        """Raises BakeError if a required member is missing or malformed."""
        try:
            size = value["size"]
            if not isinstance(size, int) or size < 0:
                raise ValueError("size")
            return cls(
                media_type=str(value["mediaType"]),
                digest=Digest.parse(value["digest"]),
                size=size,
                platform=platform_from_json(value["platform"]) if value.get("platform") else None,
                annotations=FrozenMap(value.get("annotations") or {}),
                artifact_type=value.get("artifactType", ""),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BakeError(f"malformed descriptor: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Members in the order in which the reference implementation writes them."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            value["platform"] = platform_to_json(self.platform)
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        return value

    def with_annotations(self, annotations: Mapping[str, str]) -> Descriptor:
        return replace(self, annotations=FrozenMap({**self.annotations, **annotations}))


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    annotations: FrozenMap[str, str] = field(default_factory=FrozenMap)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        value = parse_json_object(data)
        try:
            return cls(
                config=Descriptor.from_json(value["config"]),
                layers=tuple(Descriptor.from_json(layer) for layer in value.get("layers") or ()),
                media_type=value.get("mediaType") or OCI_MANIFEST,
                annotations=FrozenMap(value.get("annotations") or {}),
                artifact_type=value.get("artifactType", ""),
                subject=Descriptor.from_json(value["subject"]) if value.get("subject") else None,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BakeError(f"malformed manifest: {error}") from error

    def to_bytes(self) -> bytes:
        value: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        value["config"] = self.config.to_json()
        value["layers"] = [layer.to_json() for layer in self.layers]
        if self.subject:
            value["subject"] = self.subject.to_json()
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        return json.dumps(value, indent=2, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Several manifests under one name, one for each platform."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    annotations: FrozenMap[str, str] = field(default_factory=FrozenMap)

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageIndex:
        value = parse_json_object(data)
        try:
            return cls(
                manifests=tuple(Descriptor.from_json(entry) for entry in value.get("manifests") or ()),
                media_type=value.get("mediaType") or OCI_INDEX,
                annotations=FrozenMap(value.get("annotations") or {}),
            )
        except (TypeError, AttributeError) as error:
            raise BakeError(f"malformed image index: {error}") from error

    def to_bytes(self) -> bytes:
        value: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        value["manifests"] = [entry.to_json() for entry in self.manifests]
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        return json.dumps(value, indent=2, ensure_ascii=False).encode()


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Raises BakeError if `data` is not a JSON object."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BakeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BakeError("not a JSON object")
    return value


def platform_from_json(value: Mapping[str, Any]) -> Platform:
    return Platform(
        os=value.get("os", ""),
        architecture=value.get("architecture", ""),
        variant=value.get("variant", ""),
        os_version=value.get("os.version", ""),
        os_features=tuple(value.get("os.features") or ()),
    )


def platform_to_json(platform: Platform) -> dict[str, Any]:
    value: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        value["os.version"] = platform.os_version
    if platform.os_features:
        value["os.features"] = list(platform.os_features)
    if platform.variant:
        value["variant"] = platform.variant
    return value
