"""Durations, sizes, numbers, paths, modes, ports and git URLs as the language reads them."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakepy.dockerfile import paths
from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.chmod import check_mode
from bakepy.dockerfile.duration import format_duration, parse_duration, parse_size
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.flags import csv_fields
from bakepy.dockerfile.frontend import parse_ulimit
from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.ignore import parse_ignore
from bakepy.dockerfile.ports import parse_ports
from bakepy.dockerfile.text import parse_int, parse_unsigned, quote
from bakepy.dockerfile.url import Url
from bakepy.llb.op import Ulimit

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "value"),
    [("1h2m3.5s", 3723.5), ("0", 0), ("-1.5ms", -0.0015), (".5s", 0.5), ("5.s", 5), ("100µs", 0.0001), ("3ns", 3e-9)],
)
def test_durations(text: str, value: float) -> None:
    assert parse_duration(text) == round(value * SECOND)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'invalid duration ""'),
        ("1", 'missing unit in duration "1"'),
        ("s", 'invalid duration "s"'),
        ("1x", 'unknown unit "x" in duration "1x"'),
        ("--1s", 'invalid duration "--1s"'),
        ("1s ", 'unknown unit "s " in duration "1s "'),
        ("1m1e3s", 'unknown unit "e" in duration "1m1e3s"'),
        ("9999999h", 'invalid duration "9999999h"'),
    ],
)
def test_malformed_durations(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_duration(text)
    assert str(error.value) == reason


@given(st.integers(-(2**62), 2**62))
def test_a_printed_duration_reads_back(value: int) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (90 * SECOND, "1m30s"), (3600 * SECOND, "1h0m0s"), (1500, "1.5µs"), (SECOND // 4, "250ms")],
)
def test_durations_are_printed_as_go_does(value: int, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("1k", 1024), ("1.5 KiB", 1536), ("2MB", 2 << 20), ("1e3b", 1000), (".5g", 1 << 29), ("1t", 1 << 40)],
)
def test_sizes(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1kbb", "1bb", "1 k b", "1 ki"])
def test_malformed_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=f"invalid size '{text}'"):
        parse_size(text)


def test_numbers_are_plain_digits() -> None:
    assert [parse_int(text) for text in ("+5", "-5", "1_0", "٣", "", "9" * 30)] == [5, -5, None, None, None, None]
    assert [parse_unsigned(text, 8) for text in ("755", "+1", "8")] == [493, None, None]


def test_text_is_quoted_as_go_does() -> None:
    assert quote('a"\\\n\x01\x7fé\u00a0\U0001f600') == '"a\\"\\\\\\n\\x01\\x7fé\\u00a0\U0001f600"'


@given(st.text(alphabet="ab./", max_size=12))
def test_clean_paths_are_shortest(path: str) -> None:
    expected = posixpath.normpath(path) if path else "."
    assert paths.clean(path) == (expected[1:] if expected.startswith("//") else expected)


@pytest.mark.parametrize(
    ("directory", "path", "dest"),
    [
        ("/w", "a", "/w/a"), ("/w", "a/", "/w/a/"), ("/w", ".", "/w/"), ("/w", "", "/w/"), ("/", "./", "/"),
        ("/w", "../../x/.", "/x/."), ("/w", "/a//b/", "/a/b/"),
    ],
)  # fmt: skip
def test_destinations(directory: str, path: str, dest: str) -> None:
    assert paths.in_op(paths.relative_to(directory, path, "linux"), keep_slash=True) == dest


def test_windows_paths_lose_their_drive() -> None:
    assert paths.workdir("\\a", "b", "windows") == "\\a\\b"
    assert paths.workdir("\\a", "C:\\x\\..\\y", "windows") == "\\y"
    for path in ("D:\\x", "C:", "\\\\host\\share"):
        with pytest.raises(DockerfileError):
            paths.workdir("", path, "windows")


@pytest.mark.parametrize("mode", ["u+x", "a=rX,go-w", "=", "ug+rw-x", "g=ur", "+t"])
def test_symbolic_modes(mode: str) -> None:
    check_mode(mode)


@pytest.mark.parametrize("mode", ["u", "u+x,", "9", "u+y", "u x", "+5"])
def test_malformed_modes(mode: str) -> None:
    with pytest.raises(DockerfileError) as error:
        check_mode(mode)
    number = f"invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777"
    assert error.value.what == (number if mode == "9" else f"invalid mode '{mode}' of --chmod: invalid syntax")


def test_csv_fields() -> None:
    assert csv_fields('a,"b,""c""",,d=e') == ["a", 'b,"c"', "", "d=e"]
    for text in ("", 'a"b', '"a', '"a"b'):
        with pytest.raises(ValueError, match=r"."):
            csv_fields(text)


def test_ports() -> None:
    checker = Checker()
    assert parse_ports(["80", "53/UDP", "1.2.3.4:8080-8081:90-91", "[::1]::7"], (), checker) == [
        "80/tcp", "53/udp", "90/tcp", "91/tcp", "7/tcp",
    ]  # fmt: skip
    assert [warning.rule.name for warning in checker.warnings] == [
        "ExposeProtoCasing", "ExposeInvalidFormat", "ExposeInvalidFormat",
    ]  # fmt: skip


def test_ulimits() -> None:
    assert parse_ulimit("nofile=5") == Ulimit("nofile", 5, 5)
    assert parse_ulimit("core=1:-1") == Ulimit("core", 1, -1)
    for text in ("nofile", "nofiles=1", "core=2:1", "core=1:2:3", "core=-1:5"):
        with pytest.raises(DockerfileError):
            parse_ulimit(text)


def test_ignore_files() -> None:
    text = "\ufeff# no\n #yes\n  /a//b/ \n\n!  ./c \n!\n.\n/\n"
    assert parse_ignore(text) == ("#yes", "a/b", "!c", "!", ".", "/")


@pytest.mark.parametrize(
    "text", ["./x.git", "../x.git", "a/b", "https://h.test/x", "github.com/a/b", "ftp://h/x.git", "h.test:x.git", ""]
)
def test_what_is_no_git_source(text: str) -> None:
    assert parse_git(text) is None


def test_git_sources() -> None:
    source = parse_git("HTTPS://u@h.test:1/a%20b/x.git?branch=dev&subdir=s&commit=abc")
    assert source is not None
    assert (source.scheme, source.host, source.path) == ("https", "h.test:1", "/a b/x.git")
    assert (source.remote, source.ref) == ("https://u@h.test:1/a%20b/x.git", "refs/heads/dev")
    assert (source.subdir, source.checksum) == ("s", "abc")
    github = parse_git("github.com/a/b#v1:x/../y", bare_github=True)
    assert github is not None
    assert (github.remote, github.ref, github.subdir) == ("https://github.com/a/b", "v1", "y")


@pytest.mark.parametrize(
    "text",
    [
        "https://h^.test/x", "https://h t/x", "http://h:1:2/x", "http://h:x/x", "https://[1.2.3.4]/x", "https://[::1/x",
        "https://a[::1]/x", "https://h%41/x", "https://u^@h/x", "https://h/%zz", "https://h/x#%zz", "https://h/\x01",
        "/x", "h.test/x", "https:x",
    ],
)  # fmt: skip
def test_what_is_no_url(text: str) -> None:
    assert Url.parse(text) is None
    assert parse_git(text.replace("/x", "/x.git")) is None


@pytest.mark.parametrize(
    ("text", "host", "path", "base"),
    [
        ("HTTPS://H.test/a b", "H.test", "/a b", "https://H.test/a%20b"),
        ("ssh://u:p%40@h:a:22/%2e/x", "h:a:22", "/./x", "ssh://u:p%40@h:a:22/%2e/x"),
        ("git://[fe80::1%25a]:1", "[fe80::1%a]:1", "", "git://[fe80::1%25a]:1"),
        ("http://é.test/é?", "é.test", "/é", "http://%C3%A9.test/%C3%A9?"),
        ("http://h/x?a#b\x01", "h", "/x", "http://h/x"),
    ],
)
def test_urls(text: str, host: str, path: str, base: str) -> None:
    url = Url.parse(text)
    assert url is not None
    assert (url.host, url.path, url.base) == (host, path, base)


def test_what_is_no_pair_of_a_query_is_not_looked_at() -> None:
    source = parse_git("https://h.test/x.git?ref=a&ref=b;c&zip=%zz&&")
    assert source is not None
    assert source.ref == "a"
    assert parse_git("git@h.test:x.git?ref=b;c") is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("zip=1", 'unexpected query "zip" in a git URL'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("ref=a&tag=a", 'ref conflicts: "a" vs "refs/tags/a"'),
        ("mtime=now", 'invalid mtime value: "now" (must be "checkout" or "commit")'),
        ("submodules=x", 'invalid submodules value: "x"'),
    ],
)
def test_malformed_queries(query: str, message: str) -> None:
    with pytest.raises(DockerfileError) as error:
        parse_git(f"https://h.test/x.git?{query}")
    assert error.value.what == message
