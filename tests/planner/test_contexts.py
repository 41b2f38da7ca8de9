"""What a context says."""

import pytest

from bakepy.errors import DefinitionError
from bakepy.model.digest import Digest
from bakepy.planner.contexts import (
    Context,
    FolderContext,
    ImageContext,
    LayoutContext,
    RemoteContext,
    StdinContext,
    TargetContext,
    parse_context,
)

DIGEST = Digest("sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("text", "context"),
    [
        (".", FolderContext(".")),
        ("", FolderContext(".")),
        ("a/../b//c/", FolderContext("b/c")),
        ("/srv", FolderContext("/srv")),
        ("cwd://x", FolderContext("x")),
        ("cwd://", FolderContext(".")),
        ("-", StdinContext()),
        ("target:base", TargetContext("base")),
        ("docker-image://alpine:3", ImageContext("alpine:3")),
        ("oci-layout://a/../out", LayoutContext("out", "latest", None)),
        ("oci-layout:///srv/out:1.2", LayoutContext("/srv/out", "1.2", None)),
        (f"oci-layout://out@{DIGEST}", LayoutContext("out", "", DIGEST)),
        (f"oci-layout://out:1@{DIGEST}", LayoutContext("out", "1", DIGEST)),
        ("https://example.com/x.tar", RemoteContext("https://example.com/x.tar")),
        ("git@example.com:a/b.git", RemoteContext("git@example.com:a/b.git")),
        ("github.com/a/b", RemoteContext("github.com/a/b")),
        ("ssh://git@example.com/a", RemoteContext("ssh://git@example.com/a")),
        ("me@box:dir", RemoteContext("me@box:dir")),
        ("a@b/c", FolderContext("a@b/c")),
    ],
)
def test_forms(text: str, context: Context) -> None:
    assert parse_context(text) == context


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "oci-layout://:tag",
            "invalid OCI layout 'oci-layout://:tag': no folder\nhint: as in oci-layout://./image:latest",
        ),
        ("oci-layout://out@sha256:12", "invalid OCI layout 'oci-layout://out@sha256:12': bad digest"),
    ],
)
def test_malformed_layouts_are_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_context(text)
    assert str(caught.value) == message
