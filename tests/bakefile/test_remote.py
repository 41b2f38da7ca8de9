"""Addresses in front of targets, and the addresses of folders inside a far definition."""

from __future__ import annotations

import pytest

from bakepy.bakefile.remote import Invocation, Origin, git_secrets, is_git_ssh
from bakepy.model.target import SecretEntry


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("web",), Invocation("", "cwd://", ("web",))),
        (("https://h/r.git", "web"), Invocation("https://h/r.git", "cwd://", ("web",))),
        (("git@h:r.git", "https://h/c.git"), Invocation("git@h:r.git", "https://h/c.git", ())),
        (("web", "https://h/r.git"), Invocation("", "cwd://", ("web", "https://h/r.git"))),
    ],
)
def test_up_to_two_addresses_come_first(words: tuple[str, ...], expected: Invocation) -> None:
    assert Invocation.of(words) == expected


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://h/r.git", "sub", "https://h/r.git#:sub"),
        ("https://h/r.git#v1", "./sub/in/", "https://h/r.git#v1:sub/in"),
        ("https://h/r.git#v1:lib", "sub", "https://h/r.git#v1:lib/sub"),
        ("https://h/r.git#v1:lib", "../sub", "https://h/r.git#v1:lib/sub"),
        ("https://h/r.git?branch=b&subdir=lib", "sub", "https://h/r.git?branch=b&subdir=lib/sub"),
        ("https://h/r.git#v1", "..", "https://h/r.git#v1"),
        ("git@h:r.git", "/abs", "git@h:r.git#:abs"),
    ],
)
def test_a_folder_of_a_repository_has_an_address(url: str, path: str, expected: str) -> None:
    assert Origin(url).placed(path) == expected


@pytest.mark.parametrize("context", ["cwd://x", "target:a", "docker-image://a", "oci-layout://a", "https://h/r.git"])
def test_what_is_no_path_stays(context: str) -> None:
    assert Origin("https://h/r.git").placed(context) == context


def test_a_folder_of_an_archive_has_an_address() -> None:
    assert Origin("https://h/a.tar", archive=True).placed("sub") == "https://h/a.tar#:sub"


def test_tokens_are_lent_to_the_host_of_the_definition() -> None:
    environment = {"BUILDX_BAKE_GIT_AUTH_TOKEN": "x", "buildx_bake_git_auth_header": "y"}
    assert git_secrets("https://me@h:8080/r.git", environment) == (
        SecretEntry("GIT_AUTH_TOKEN.h:8080", env="BUILDX_BAKE_GIT_AUTH_TOKEN"),
        SecretEntry("GIT_AUTH_HEADER.h:8080", env="buildx_bake_git_auth_header"),
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [("git@h:r.git", True), ("ssh://h/r.git", True), ("https://me@h:80/r.git", False), ("./a@b:c", False)],
)
def test_ssh_is_known_by_the_address(url: str, expected: bool) -> None:
    assert is_git_ssh(url) is expected
