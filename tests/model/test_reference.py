"""Names of images: the short form reads back as the same image."""

from __future__ import annotations

import pytest

from bakepy.model.reference import ImageReference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/a/b/c", "a/b/c"),
        ("docker.io/library/library", "library"),
        ("docker.io/library/a/b", "library/a/b"),
        ("docker.io/a.b/c", "docker.io/a.b/c"),
        ("docker.io/localhost/c", "docker.io/localhost/c"),
        (f"docker.io/library/{HEX}", f"library/{HEX}"),
        ("ghcr.io/library/a", "ghcr.io/library/a"),
    ],
)
def test_the_short_form_reads_back(full: str, short: str) -> None:
    reference = ImageReference.parse(full)
    assert (str(reference), reference.familiar()) == (full, short)
    assert ImageReference.parse(short) == reference
