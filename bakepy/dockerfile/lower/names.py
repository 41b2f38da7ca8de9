"""The lines that displays show: `[stage 2/4] RUN make`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.text import SPACE
from bakepy.errors import DefinitionError
from bakepy.model.platform import Platform

INTERNAL = "[internal] "
_MAX_NAME = 1 << 16


def next_step(stage: StageState) -> int:
    """The number of the stage's next step."""
    return stage.step + (stage.steps > 0)


def step_name(stage: StageState, text: str, platform: Platform | None, env: Mapping[str, str], number: int) -> str:
    """The step with its number. `platform` is put in front if given."""
    if not stage.steps:
        return text
    out = "["
    if platform is not None:
        out += f"{platform}{_cross(platform, _target_of(env, platform))} "
    if stage.label:
        out += stage.label + " "
    width = int(1 + math.log10(stage.steps))
    out += f"{number:{width}d}/{stage.steps}] "
    return out + ("ONBUILD " if stage.in_trigger else "") + text


def shown(lexer: Lexer, code: str, env: Mapping[str, str]) -> str:
    """The instruction with its variables replaced, the keyword in upper case."""
    with suppress(ExpansionError):  # a name that can not be expanded is shown as it is
        if not lexer.is_plain(code):
            expanded = lexer.word(code, env)
            code = expanded if len(expanded) < max(_MAX_NAME, 2 * len(code)) else code
    keyword, blank, rest = code.partition(" ")
    return keyword.upper() + blank + rest


def first_line(document: str) -> str:
    """What stands for a here-document."""
    lines = document.strip(SPACE).replace("\r\n", "\n").split("\n")
    return lines[0] + ("..." if len(lines) > 1 else "")


def _target_of(env: Mapping[str, str], host: Platform) -> Platform | None:
    """The platform that the variables TARGET… name, if any is set."""
    os = architecture = variant = None
    for name, value in env.items():
        match name:
            case "TARGETPLATFORM":
                try:
                    return Platform.parse(value, host)
                except DefinitionError:
                    continue
            case "TARGETOS":
                os = value
            case "TARGETARCH":
                architecture = value
            case "TARGETVARIANT":
                variant = value
    if os is None and architecture is None and variant is None:
        return None
    return Platform(os or "", architecture or "", variant or "")


def _cross(base: Platform, target: Platform | None) -> str:
    """`->arm64` where the environment says that the step works for another platform."""
    if target is None:
        return ""
    target = Platform(
        target.os or base.os, target.architecture or base.architecture, target.variant, target.os_version
    ).normalized()
    if target.os != base.os:
        return f"->{target}"
    if target.architecture == base.architecture:
        return ""
    return "->" + "/".join(part for part in (target.architecture, target.variant) if part)
