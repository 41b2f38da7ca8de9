"""Which platform of an index serves a wanted one, as containerd decides it."""

from __future__ import annotations

import pytest

from bakepy.model.platform import Platform
from bakepy.model.platform_match import choose


def platform(text: str) -> Platform:
    os, architecture, variant = [*text.split("/"), ""][:3]
    return Platform(os, architecture, variant)


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/386", "linux/386"),
        ("linux/amd64", "linux/amd64/v2 linux/386", "linux/386"),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2"),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm", "linux/arm"),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm/v7 linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64", "linux/arm64"),
        ("linux/arm64", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        ("linux/arm64/v9", "linux/arm64/v8.6 linux/arm64/v8.5 linux/arm64", "linux/arm64/v8.5"),
        ("linux/arm64/v8.1", "linux/arm64/v8.2", None),
        ("linux/amd64", "unknown/unknown linux/s390x", None),
        ("linux/riscv64", "linux/amd64 linux/riscv64", "linux/riscv64"),
        ("windows/amd64", "linux/amd64", None),
        ("linux/amd64", "linux/amd64 linux/x86_64", "linux/amd64"),
        ("linux/amd64", "linux/x86_64", "linux/x86_64"),
    ],
)
def test_best_that_runs_is_chosen(wanted: str, offered: str, chosen: str | None) -> None:
    candidates = [platform(text) for text in offered.split()]

    place = choose(platform(wanted), candidates)

    assert (None if place is None else candidates[place]) == (platform(chosen) if chosen else None)


def test_entries_without_a_platform_are_passed_over() -> None:
    assert choose(Platform("linux", "amd64"), [None, Platform("linux", "amd64")]) == 1


def test_other_windows_builds_do_not_run() -> None:
    offered = [Platform("windows", "amd64", "", "10.0.17763.1"), Platform("windows", "amd64", "", "10.0.20348.9")]

    assert choose(Platform("windows", "amd64", "", "10.0.20348.1"), offered) == 1
