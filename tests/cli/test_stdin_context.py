"""What `bakepy build -` reads."""

from __future__ import annotations

import gzip
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bakepy.cli.stdin_context import context_from
from bakepy.errors import UsageError


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize("data", [archive(a="x"), gzip.compress(archive(a="x"))], ids=["tar", "gzip"])
def test_an_archive_is_lent_for_as_long_as_the_build_takes(data: bytes, tmp_path: Path) -> None:
    with context_from(io.BytesIO(data), file="a", empty=tmp_path / "empty") as (context, text):
        with urllib.request.urlopen(context) as answer:
            assert (text, answer.read()) == (None, data)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(context + "x")
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(context)


def test_what_is_no_archive_is_the_dockerfile_of_an_empty_context(tmp_path: Path) -> None:
    empty = tmp_path / "root" / "empty"
    with context_from(io.BytesIO(b"FROM scratch\n"), file="", empty=empty) as (context, text):
        assert (context, list(empty.iterdir()), text) == (str(empty), [], "FROM scratch\n")


@pytest.mark.parametrize(
    ("data", "file", "message"),
    [
        (b"", "", "the context '-': standard input is empty\nhint: pipe an archive or a Dockerfile into it"),
        (
            b"FROM scratch",
            "x",
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles\n"
            "hint: without -f, the Dockerfile is the one on standard input",
        ),
    ],
)
def test_standard_input_that_makes_no_sense(data: bytes, file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught, context_from(io.BytesIO(data), file=file, empty=tmp_path):
        pass
    assert caught.value.render() == message
