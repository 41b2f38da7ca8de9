"""Bytes to vertices and back, with every kind of op."""

from __future__ import annotations

import pytest

from bakepy.errors import BakeError
from bakepy.llb import op as o
from bakepy.llb import wire
from bakepy.llb.definition import Definition
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.llb.unmarshal import read_op, unmarshal
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import Position, SourceFile, SourceRange
from bakepy.model.platform import Platform

LINUX = Platform("linux", "arm", "v7", "5.10", ("a", "b"))
OWNER = o.ChownOpt(o.UserOpt(name="app", input=0), o.UserOpt(0))
SOURCE = Vertex.make(
    o.SourceOp("docker-image://docker.io/library/alpine:latest", FrozenMap({"b": "2", "a": ""})),
    platform=LINUX,
    metadata=o.OpMetadata(description=FrozenMap({"llb.customname": "FROM alpine"}), caps=frozenset({"source.image"})),
)
OPS: list[o.Op] = [
    SOURCE.op,
    o.ExecOp(
        o.Meta(
            ("/bin/sh", "-c", "", "é"),
            ("A=1", "B="),
            "/w",
            "app:1",
            o.ProxyEnv("http", "https", "ftp", "no", "all"),
            (o.HostIP("db", "10.0.0.1"),),
            "host",
            (o.Ulimit("nofile", -1, 2**40),),
            "/parent",
            remove_mount_stubs_recursive=True,
            valid_exit_codes=(0, 3, -1),
        ),
        (
            o.Mount("/", 0),
            o.Mount("/c", o.NONE, "/x", o.NONE, type=o.MountType.CACHE, cache=o.CacheOpt("id", o.CacheSharing.LOCKED)),
            o.Mount("/t", o.NONE, output=o.NONE, type=o.MountType.TMPFS, tmpfs_size=0),
            o.Mount("/s", o.NONE, type=o.MountType.SECRET, secret=o.SecretOpt("id", 1, 2, 0o400, True)),
            o.Mount("/a", o.NONE, type=o.MountType.SSH, ssh=o.SecretOpt("", mode=0o600)),
        ),
        o.NetMode.HOST,
        o.SecurityMode.INSECURE,
        (o.SecretEnv("id", "NAME", True),),
        (o.CDIDevice("vendor.com/gpu=0"),),
    ),
    o.FileOp(
        (
            o.FileAction(
                o.CopyAction("/a", "/b/", OWNER, 0, True, True, True, True, True, True, -1, ("i",), ("e",), True, "u=r",
                             ("r",)), 0, 0, o.NONE),
            o.FileAction(o.MkFileAction("/f", 0o644, b"\x00\xff", OWNER, 5), 1, o.NONE, o.NONE),
            o.FileAction(o.MkDirAction("/d", 0o755, True, o.ChownOpt(None, o.UserOpt(7))), 2, o.NONE, o.NONE),
            o.FileAction(o.SymlinkAction("/o", "/n"), 3, o.NONE, o.NONE),
            o.FileAction(o.RmAction("/r", True, True), 4, o.NONE, 0),
        )
    ),
    o.MergeOp((0, 1)),
    o.DiffOp(o.NONE, 0),
]  # fmt: skip


@pytest.mark.parametrize("op", OPS, ids=lambda op: type(op).__name__)
def test_an_op_survives_the_wire(op: o.Op) -> None:
    inputs = () if isinstance(op, o.SourceOp) else (Edge(SOURCE.digest), Edge(SOURCE.digest, 1))
    vertex = Vertex.make(op, inputs, platform=LINUX)
    assert read_op(vertex.data) == (op, inputs, LINUX)


def test_fields_of_a_oneof_follow_all_others() -> None:
    """Platform is field 10 and constraints field 11, but the source (3) comes last."""
    assert SOURCE.data.startswith(b"\x52") and b"\x5a\x00\x1a" in SOURCE.data


def test_a_definition_survives_with_its_metadata_and_places() -> None:
    file = SourceFile("Dockerfile", "FROM alpine\nRUN a\n")
    place = SourceRange(file, Position(2, 1), Position(2, 1))
    run = Vertex.make(
        o.ExecOp(o.Meta(("a",)), (o.Mount("/"),)),
        [Edge(SOURCE.digest)],
        platform=LINUX,
        metadata=o.OpMetadata(
            ignore_cache=True,
            export_cache=False,
            progress_group=o.ProgressGroup("1", "g", True),
            linux_resources=o.LinuxResources(1, -1, 2, 3, 4, "0-1", "0"),
        ),
        locations=[(place,)],
    )
    definition = Definition.of(Graph([SOURCE, run]), Edge(run.digest))
    again = unmarshal(definition.marshal())
    assert again == definition
    assert [vertex.metadata for vertex in again.vertices] == [SOURCE.metadata, run.metadata]
    assert again.vertices[1].locations == ((place,),)
    assert again.vertices[1].locations[0][0].file.text == file.text
    assert again.marshal() == definition.marshal()


def test_empty_bytes_are_an_empty_definition() -> None:
    assert unmarshal(b"") == Definition((), None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "not an LLB definition"),
        (wire.message(1, b"\xff"), "not an LLB op"),
        (wire.message(1, SOURCE.data), "the LLB definition has no closing op"),
        (wire.message(1, wire.inputs([("sha256:" + "0" * 64, 0)])), "names no result"),
        (wire.message(1, wire.message(5, b"")), "LLB ops of the kind 'build' are not supported"),
    ],
)
def test_malformed_definitions_are_told(data: bytes, message: str) -> None:
    with pytest.raises(BakeError, match=message):
        unmarshal(data)
