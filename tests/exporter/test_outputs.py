"""Reading `output`, `tags` and `annotations` of a target."""

from __future__ import annotations

from typing import Any

import pytest

from bakepy.content.compression import Compression
from bakepy.errors import DefinitionError
from bakepy.exporter.annotations import Annotation
from bakepy.exporter.outputs import (
    ArchiveOutput,
    CacheOnly,
    Epoch,
    ImageOptions,
    ImageOutput,
    LocalOutput,
    Output,
    TarOutput,
    parse_outputs,
)
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.target import Target
from tests.support.results import ARM64, output


def parsed(text: str, tags: tuple[str, ...] = (), annotations: tuple[str, ...] = ()) -> Output:
    (found,) = parse_outputs(Target("app", tags=tags, annotations=annotations, outputs=(output(text),))).outputs
    return found


def stdout(**options: Any) -> ArchiveOutput:
    return ArchiveOutput("oci", ImageOptions(**options), "-")


PLAIN = ImageOptions()
TYPES = "one of image, registry, oci, docker, local, tar, cacheonly"
TRUE_OR_FALSE = "hint: write true or false"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=image", ImageOutput(PLAIN)),
        ("type=registry,name=a", ImageOutput(ImageOptions(names=("a",)), push=True)),
        ("type=image,name=a,push=true,store=false", ImageOutput(ImageOptions(names=("a",)), push=True, store=False)),
        ("type=image,unpack,name-canonical=1", ImageOutput(PLAIN, canonical=True)),
        ("type=oci", stdout()),
        ("type=oci,dest=x,tar=false", ArchiveOutput("oci", PLAIN, "x", tar=False)),
        ("type=docker", ArchiveOutput("docker", PLAIN, "")),
        ("type=docker,dest=x", ArchiveOutput("docker", PLAIN, "x")),
        ("type=oci,compression=zstd,compression-level=9", stdout(compression=Compression("zstd", 9))),
        ("type=oci,force-compression", stdout(force=True)),
        ("type=oci,oci-mediatypes=f,rewrite-timestamp=T", stdout(oci_types=False, rewrite=True)),
        ("type=oci,source-date-epoch=5", stdout(epoch=Epoch(5))),
        ("type=oci,source-date-epoch=", stdout(epoch=Epoch(None))),
        ("type=local,dest=x", LocalOutput("x")),
        ("type=local,dest=x,platform-split=false,source-date-epoch=0", LocalOutput("x", False, Epoch(0))),
        ("type=local,dest=x,mode=delete", LocalOutput("x", delete=True)),
        ("type=tar", TarOutput("-")),
        ("type=cacheonly", CacheOnly()),
    ],
)
def test_outputs_are_read(text: str, expected: Output) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dest=x", f"type is required for output\nhint: {TYPES}"),
        ("type=nope", f'exporter "nope" could not be found\nhint: {TYPES}'),
        ("type=image,push=yes", f"non-bool value specified for push: yes\n{TRUE_OR_FALSE}"),
        ("type=oci,force-compression=maybe", f"non-bool value maybe specified for force-compression\n{TRUE_OR_FALSE}"),
        ("type=local,dest=x,platform-split=2", f"non-bool value for platform-split: 2\n{TRUE_OR_FALSE}"),
        ("type=oci,compression=gzp", "unsupported compression type gzp\nhint: did you mean 'gzip'?"),
        ("type=oci,compression=estargz", "compression type estargz is not supported\nhint: use gzip or zstd"),
        ("type=oci,compression-level=high", "non-integer value high specified for compression-level"),
        ("type=oci,compression-level=10", "gzip has no compression level 10"),
        ("type=oci,source-date-epoch=soon", "invalid source-date-epoch: 'soon' is not a number of seconds"),
        ("type=oci,tar=false", "dest is required for oci exporter\nhint: add dest=DIRECTORY"),
        ("type=local", "dest is required for local exporter\nhint: add dest=DIRECTORY"),
        ("type=local,dest=x,mode=move", "invalid local exporter mode 'move'\nhint: use copy or delete"),
        (
            "type=image,name=A/B",
            'invalid image name "A/B": invalid reference format: repository name must be lowercase',
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parsed(text)
    assert caught.value.render() == f"target.app.output[0]: {message}"


def test_the_place_in_the_file_is_shown() -> None:
    file = SourceFile("bake.toml", '[target.app]\noutput = ["type=nope"]\n')
    where = SourceRange.at(file, 2, 11, 11)
    target = Target("app", outputs=(output("type=ocii"),), locations=FrozenMap({"output[0]": where}))
    with pytest.raises(DefinitionError) as caught:
        parse_outputs(target)
    assert caught.value.render() == (
        'bake.toml:2:11: target.app.output[0]: exporter "ocii" could not be found\n'
        '    output = ["type=nope"]\n'
        "              ^^^^^^^^^^^\n"
        "hint: did you mean 'oci'?"
    )


def test_tags_win_over_the_name_of_an_output() -> None:
    assert parsed("type=image,name=other", tags=("a:1", "b")) == ImageOutput(ImageOptions(names=("a:1", "b")))


def test_a_bad_tag_is_named_with_its_place() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_outputs(Target("app", tags=("ok", "x/UPPER")))
    assert caught.value.render() == (
        'target.app.tags[1]: invalid tag "x/UPPER": invalid reference format: repository name must be lowercase'
    )


def test_attributes_without_effect_are_told() -> None:
    target = Target("app", outputs=(output("type=oci,compresion=zstd,annotation.a=b"), output("type=tar,unpack=true")))
    assert parse_outputs(target).warnings == (
        "target.app.output[0]: attribute 'compresion' has no effect on type=oci (did you mean 'compression'?)",
        "target.app.output[1]: attribute 'unpack' has no effect on type=tar",
    )


def test_annotations_come_from_the_target_and_from_attributes() -> None:
    found = parsed(
        "type=image,annotation.a=1,annotation-index-descriptor.b=2,annotation-manifest[linux/arm64].c=3",
        annotations=("d=4=5", "index,manifest-descriptor[linux/arm64]:e=6", ""),
    )
    assert isinstance(found, ImageOutput)
    assert found.image.annotations == (
        Annotation("manifest", "a", "1"),
        Annotation("index-descriptor", "b", "2"),
        Annotation("manifest", "c", "3", ARM64),
        Annotation("manifest", "d", "4=5"),
        Annotation("index", "e", "6"),
        Annotation("manifest-descriptor", "e", "6", ARM64),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key", 'invalid annotation "key", expected key=value'),
        ("manifst:a=b", "unknown annotation type \"manifst\"\nhint: did you mean 'manifest'?"),
        (
            "manifest[]:a=b",
            'invalid annotation type "manifest[]", expected type and optional platform in square brackets',
        ),
    ],
)
def test_bad_annotations(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_outputs(Target("app", annotations=(text,)))
    assert caught.value.render() == f"target.app.annotations[0]: {message}"
