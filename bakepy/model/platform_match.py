"""Which of an image index's platforms serves the one that is wanted (containerd: `platforms.Only`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bakepy.model.platform import Platform

_VERSION = re.compile(r"v(\d+)(?:\.(\d+))?\Z")


def acceptable(wanted: Platform) -> tuple[Platform, ...]:
    """Platforms whose programs run on `wanted`, the best first.

    amd64/v3 takes v2, v1 and 386; arm/v7 takes v6 and v5; arm64 takes its lower versions, then 32-bit arm. An
    arm64/v9.N has all that v8.(N+5) has.
    """
    wanted = wanted.normalized()
    match wanted.architecture:
        case "amd64":
            lower = [f"v{number}" for number in range(_major(wanted.variant, 1) - 1, 0, -1)]
            variants = [wanted, *(replace(wanted, variant=variant) for variant in lower)]
            return (*variants, replace(wanted, architecture="386", variant=""))
        case "arm":
            lower = [f"v{number}" for number in range(_major(wanted.variant, 0) - 1, 4, -1)]
            return (wanted, *(replace(wanted, variant=variant) for variant in lower))
        case "arm64":
            return _acceptable_arm64(wanted)
    return (wanted,)


def _acceptable_arm64(wanted: Platform) -> tuple[Platform, ...]:
    found = _VERSION.match(wanted.variant or "v8")
    if not found or int(found[1]) not in (8, 9):
        return (wanted,)
    minor = int(found[2] or 0)
    versions = [(int(found[1]), number) for number in range(minor, -1, -1)]
    if found[1] == "9":
        versions += [(8, number) for number in range(minor + 5, -1, -1)]
    variants = [f"v{major}.{number}" if number else f"v{major}" for major, number in versions]
    arm = replace(wanted, architecture="arm", variant="v8")
    return (*(replace(wanted, variant=variant) for variant in variants), *acceptable(arm))


def matches(pattern: Platform, offered: Platform) -> bool:
    """Whether `offered` is `pattern`, both normalised; features that are offered must be wanted."""
    pattern, offered = pattern.normalized(), offered.normalized()
    same = (pattern.os, pattern.architecture, pattern.variant) == (offered.os, offered.architecture, offered.variant)
    if not same or not set(offered.os_features) <= set(pattern.os_features):
        return False
    # an image for another Windows does not run
    return pattern.os != "windows" or not pattern.os_version or _same_windows(pattern.os_version, offered.os_version)


def rank(wanted: Platform, offered: Platform) -> int | None:
    """The place of `offered` among what is acceptable, 0 being best; None if it is not acceptable."""
    for place, pattern in enumerate(acceptable(wanted)):
        if matches(pattern, offered):
            return place
    return None


def choose(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """The position of the best of `offered`, the earlier of equals; None if none will do.

    Entries without a platform are passed over, and so are attestations, whose platform is unknown/unknown.
    """
    ranked = [
        (place, -len(platform.os_features), position)
        for position, platform in enumerate(offered)
        if platform is not None and (place := rank(wanted, platform)) is not None
    ]
    return min(ranked)[2] if ranked else None


def _major(variant: str, default: int) -> int:
    found = _VERSION.match(variant)
    return int(found[1]) if found and not found[2] else default


def _same_windows(wanted: str, offered: str) -> bool:
    """Major, minor and build must be equal; revisions need not."""
    return not offered or wanted.split(".")[:3] == offered.split(".")[:3]
