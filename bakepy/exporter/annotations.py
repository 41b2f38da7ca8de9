"""Annotations on manifests, image indexes and their descriptors: `[TYPE[,TYPE][[PLATFORM]]:]KEY=VALUE`.

Two spellings: bake's `annotations = ["index:key=value"]`, and output attributes (`annotation-index.key=value`).
Where they go: buildx `docs/reference/buildx_build.md#annotation`, BuildKit `docs/annotations.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bakepy.errors import DefinitionError, nearest
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

TYPES = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_TYPE = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z")
_ATTRIBUTE = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)\Z")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One key and value; `platform` None means all of them."""

    type: str
    key: str
    value: str
    platform: Platform | None = None


def parse_annotation(text: str) -> tuple[Annotation, ...]:
    """Reads an entry of a target's `annotations`; several types give several annotations."""
    name, equals, value = text.partition("=")
    if not equals:
        raise DefinitionError(f'invalid annotation "{text}", expected key=value')
    types, colon, key = name.partition(":")
    if not colon:
        return (Annotation("manifest", name, value),)
    found = []
    for part in types.split(","):
        match = _TYPE.match(part)
        if not match:
            raise DefinitionError(
                f'invalid annotation type "{part}", expected type and optional platform in square brackets'
            )
        if match[1] not in TYPES:
            raise DefinitionError(f'unknown annotation type "{match[1]}"', hint=nearest(match[1], TYPES))
        found.append(Annotation(match[1], key, value, Platform.parse(match[2]) if match[2] else None))
    return tuple(found)


def annotation_attribute(name: str, value: str) -> Annotation | None:
    """Reads an output attribute; None if `name` is not that of an annotation."""
    match = _ATTRIBUTE.match(name)
    if not match:
        return None
    kind = match[1] or "manifest"
    if kind not in TYPES:
        raise DefinitionError(f"unrecognized annotation type {kind}", hint=nearest(kind, TYPES))
    return Annotation(kind, match[3], value, Platform.parse(match[2]) if match[2] else None)


def select(annotations: Iterable[Annotation], kind: str, platform: Platform | None = None) -> FrozenMap[str, str]:
    """The annotations of one type that hold for `platform`; what names the platform wins over what does not."""
    general, special = {}, {}
    for annotation in annotations:
        if annotation.type != kind:
            continue
        if annotation.platform is None:
            general[annotation.key] = annotation.value
        elif kind.startswith("index") or annotation.platform == platform:
            special[annotation.key] = annotation.value
    return FrozenMap({**general, **special})


def check_annotations(
    annotations: Iterable[Annotation], platforms: Iterable[Platform], *, multi_platform: bool, oci_types: bool
) -> None:
    """Raises DefinitionError if one of them has no place to go to."""
    known = tuple(platforms)
    for annotation in annotations:
        if annotation.platform is not None and annotation.platform not in known:
            raise DefinitionError(
                f"invalid annotation: no platform {annotation.platform} found in source",
                hint=nearest(str(annotation.platform), [str(platform) for platform in known]),
            )
        if not oci_types and annotation.type != "manifest":
            raise DefinitionError('cannot export annotations with "oci-mediatypes=false"')
        if not multi_platform and annotation.type.startswith("index"):
            raise DefinitionError(
                "index annotations not supported for single platform export",
                hint="build for several platforms, or annotate the manifest",
            )
