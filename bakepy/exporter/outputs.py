"""A target's outputs, checked: `type=…,attribute=…` becomes one typed value for each exporter.

Attribute names, defaults and the meaning of an empty value: BuildKit `exporter/*/`, `util/compression/attrs.go`;
what buildx adds to them (tags become names, `registry`, stdout): buildx `build/opt.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import Literal

from bakepy.content import compression
from bakepy.content.compression import Compression
from bakepy.errors import DefinitionError, nearest
from bakepy.exporter.annotations import Annotation, annotation_attribute, parse_annotation
from bakepy.model.reference import ImageReference
from bakepy.model.target import OutputEntry, Target
from bakepy.model.value import dataclass

TYPES = ("image", "registry", "oci", "docker", "local", "tar", "cacheonly")

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))

_IMAGE = frozenset(("name", "oci-mediatypes", "compression", "compression-level", "force-compression",
                    "source-date-epoch", "rewrite-timestamp", "prefer-nondist-layers", "oci-artifact",
                    "attestation-inline", "buildinfo", "buildinfo-attrs", "prefer-image-digest"))  # fmt: skip
_KNOWN: dict[str, frozenset[str]] = {
    "image": _IMAGE | {"push", "push-by-digest", "name-canonical", "store", "unpack", "registry.insecure",
                       "dangling-name-prefix", "danging-name-empty-only"},
    "oci": _IMAGE | {"tar"},
    "docker": _IMAGE | {"tar"},
    "local": frozenset(("platform-split", "source-date-epoch", "attestation-prefix", "mode")),
    "tar": frozenset(("source-date-epoch", "attestation-prefix")),
    "cacheonly": frozenset(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Epoch:
    """SOURCE_DATE_EPOCH given with the output, in seconds; None: given as empty, which means without."""

    seconds: int | None


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How an image is put together, whatever happens to it then.

    `names` are as written. `force`: layers of another compression are compressed anew. `rewrite`: file times newer
    than the epoch become the epoch, in layers that are not the base image's.
    """

    names: tuple[str, ...] = ()
    compression: Compression = field(default_factory=Compression)
    force: bool = False
    oci_types: bool = True
    annotations: tuple[Annotation, ...] = ()
    epoch: Epoch | None = None
    rewrite: bool = False

    def references(self) -> tuple[ImageReference, ...]:
        return tuple(ImageReference.parse(name).with_default_tag() for name in self.names)


@dataclass(frozen=True, slots=True)
class ImageOutput:
    """An image kept in the state root (`store`), and pushed. `insecure`: by plain http, whatever the host."""

    image: ImageOptions
    push: bool = False
    by_digest: bool = False
    store: bool = True
    canonical: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveOutput:
    """An OCI layout or an archive for `docker load`. `dest` `-` is stdout, empty a Docker Engine; `tar` False is a
    directory."""

    format: Literal["oci", "docker"]
    image: ImageOptions
    dest: str
    tar: bool = True


@dataclass(frozen=True, slots=True)
class LocalOutput:
    """A directory. `split`: a folder for each platform; None: if there is an image index. `delete`: what is there and
    not in the result goes."""

    dest: str
    split: bool | None = None
    epoch: Epoch | None = None
    delete: bool = False


@dataclass(frozen=True, slots=True)
class TarOutput:
    """The file tree as a tar; `dest` `-` is stdout."""

    dest: str
    epoch: Epoch | None = None


@dataclass(frozen=True, slots=True)
class CacheOnly:
    """Nothing is written."""


Output = ImageOutput | ArchiveOutput | LocalOutput | TarOutput | CacheOnly


@dataclass(frozen=True, slots=True)
class Parsed:
    """The outputs of one target, in order, and what should be said about their attributes."""

    outputs: tuple[Output, ...]
    warnings: tuple[str, ...] = ()


def parse_outputs(target: Target, *, multi_platform: bool = False) -> Parsed:
    """Checks the outputs, tags and annotations of `target`. Raises DefinitionError with the place in the file.

    Pure: to be called before anything is built as well as at export.
    """
    for number, tag in enumerate(target.tags):
        with _located(target, f"tags[{number}]"):
            check_name(tag, "tag")
    annotations: list[Annotation] = []
    for number, text in enumerate(target.annotations):
        with _located(target, f"annotations[{number}]"):
            annotations += parse_annotation(text) if text else ()
    outputs: list[Output] = []
    warnings: list[str] = []
    for number, entry in enumerate(target.outputs):
        with _located(target, f"output[{number}]"):
            outputs.append(_output(entry, target.tags, tuple(annotations)))
            if multi_platform and entry.type == "docker":
                raise DefinitionError(
                    "docker exporter does not currently support exporting manifest lists", hint="use type=oci"
                )
        warnings += [f"target.{target.name}.output[{number}]: {text}" for text in _unknown(entry)]
    return Parsed(tuple(outputs), tuple(warnings))


def check_name(text: str, word: str = "image name") -> ImageReference:
    """Reads an image name; what is wrong is said in the words of the reference grammar."""
    try:
        return ImageReference.parse(text)
    except DefinitionError as error:
        path = text.partition("@")[0]
        lower = path == path.lower()
        reason = "invalid reference format" if lower else "invalid reference format: repository name must be lowercase"
        raise DefinitionError(f'invalid {word} "{text}": {reason}', hint=error.hint) from error


@contextmanager
def _located(target: Target, path: str) -> Iterator[None]:
    """Adds the place in the bake file to what is raised inside."""
    try:
        yield
    except DefinitionError as error:
        raise DefinitionError(
            error.what,
            where=error.where or target.where(path),
            path=f"target.{target.name}.{path}",
            hint=error.hint,
            detail=error.detail,
        ) from error


def _output(entry: OutputEntry, tags: tuple[str, ...], annotations: tuple[Annotation, ...]) -> Output:
    attrs = entry.attrs
    match entry.type:
        case "image" | "registry":
            return _image_output(entry, tags, annotations)
        case "oci" | "docker":
            tar = _flag(attrs, "tar", default=True)
            if not tar and entry.dest in ("", "-"):
                reason = "dest cannot be stdout" if entry.dest else "dest is required"
                raise DefinitionError(f"{reason} for {entry.type} exporter", hint="add dest=DIRECTORY")
            dest = entry.dest or ("-" if entry.type == "oci" else "")
            return ArchiveOutput(entry.type, _image_options(attrs, tags, annotations), dest, tar)
        case "local":
            if entry.dest in ("", "-"):
                reason = "dest cannot be stdout" if entry.dest else "dest is required"
                raise DefinitionError(f"{reason} for local exporter", hint="add dest=DIRECTORY")
            mode = attrs.get("mode", "")
            if mode not in ("", "copy", "delete"):
                raise DefinitionError(f"invalid local exporter mode '{mode}'", hint="use copy or delete")
            split = _flag(attrs, "platform-split", form="non-bool value for {name}: {value}") if (
                "platform-split" in attrs) else None  # fmt: skip
            return LocalOutput(entry.dest, split, _epoch(attrs), delete=mode == "delete")
        case "tar":
            return TarOutput(entry.dest or "-", _epoch(attrs))
        case "cacheonly":
            return CacheOnly()
        case "":
            raise DefinitionError("type is required for output", hint=f"one of {', '.join(TYPES)}")
    raise DefinitionError(
        f'exporter "{entry.type}" could not be found', hint=nearest(entry.type, TYPES) or f"one of {', '.join(TYPES)}"
    )


def _image_output(entry: OutputEntry, tags: tuple[str, ...], annotations: tuple[Annotation, ...]) -> ImageOutput:
    attrs = entry.attrs
    image = _image_options(attrs, tags, annotations)
    output = ImageOutput(
        image,
        push=entry.type == "registry" or _flag(attrs, "push"),
        by_digest=_flag(attrs, "push-by-digest"),
        store=_flag(attrs, "store", default=True),
        canonical=_flag(attrs, "name-canonical"),
        insecure=_flag(attrs, "registry.insecure"),
    )
    if output.push and not image.names:
        raise DefinitionError("tag is needed when pushing to registry", hint="add tags, or name=… to the output")
    if output.push and output.by_digest:
        for name in image.names:
            reference = ImageReference.parse(name)
            if reference.tag or reference.digest:
                raise DefinitionError(
                    f"can't push tagged ref {name} by digest", hint=f"name it {reference.repository}, without a tag"
                )
    return output


def _image_options(
    attrs: Mapping[str, str], tags: tuple[str, ...], annotations: tuple[Annotation, ...]
) -> ImageOptions:
    own = [annotation_attribute(name, value) for name, value in attrs.items()]
    names = tags or tuple(name.strip() for name in attrs.get("name", "").split(",") if name.strip())
    for name in names:
        check_name(name)
    return ImageOptions(
        names=names,
        compression=_compression(attrs),
        force=_flag(attrs, "force-compression", form="non-bool value {value} specified for {name}"),
        oci_types=_flag(attrs, "oci-mediatypes", default=True),
        annotations=(*(annotation for annotation in own if annotation), *annotations),
        epoch=_epoch(attrs),
        rewrite=_flag(attrs, "rewrite-timestamp"),
    )


def _compression(attrs: Mapping[str, str]) -> Compression:
    kind = attrs.get("compression", "gzip")
    if kind == "estargz":
        raise DefinitionError("compression type estargz is not supported", hint="use gzip or zstd")
    if kind not in compression.TYPES:
        raise DefinitionError(f"unsupported compression type {kind}", hint=nearest(kind, compression.TYPES))
    level = attrs.get("compression-level")
    if level is not None and not re.fullmatch(r"[+-]?\d+", level):
        raise DefinitionError(f"non-integer value {level} specified for compression-level")
    return Compression.parse(kind, level)


def _epoch(attrs: Mapping[str, str]) -> Epoch | None:
    text = attrs.get("source-date-epoch")
    return None if text is None else Epoch(parse_epoch(text, "source-date-epoch"))


def parse_epoch(text: str, name: str = "SOURCE_DATE_EPOCH") -> int | None:
    """Seconds since 1970; None for an empty text. Raises DefinitionError for what is no whole number."""
    if not text:
        return None
    try:
        return int(text, 10)
    except ValueError:
        raise DefinitionError(f"invalid {name}: '{text}' is not a number of seconds") from None


def _flag(
    attrs: Mapping[str, str],
    name: str,
    *,
    default: bool = False,
    form: str = "non-bool value specified for {name}: {value}",
) -> bool:
    """A boolean in Go's spellings; an attribute without a value is true."""
    value = attrs.get(name)
    if value is None:
        return default
    if value == "" or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise DefinitionError(form.format(name=name, value=value), hint="write true or false")


def _unknown(entry: OutputEntry) -> Iterator[str]:
    """BuildKit passes over attributes that it does not know; so do we, but not in silence."""
    known = _KNOWN.get("image" if entry.type == "registry" else entry.type, frozenset())
    for name in entry.attrs:
        if name not in known and annotation_attribute(name, "") is None:
            hint = nearest(name, known)
            yield f"attribute '{name}' has no effect on type={entry.type}" + (f" ({hint})" if hint else "")
