"""Platforms (`linux/arm64/v8`), normalised as containerd's `platforms` package does it."""

from __future__ import annotations

import os
import re

from bakepy.errors import DefinitionError, nearest
from bakepy.model.value import dataclass

_OSES = ("linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos", "android",
         "aix", "ios", "js", "nacl", "plan9", "zos", "hurd")  # fmt: skip
_ARCHITECTURES = ("amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "loong64", "mips", "mipsle",
                  "mips64", "mips64le", "riscv", "wasm", "sparc64", "s390", "ppc", "amd64p32", "arm64be", "armbe",
                  "mips64p32", "mips64p32le", "sparc")  # fmt: skip
_PART = re.compile(r"[A-Za-z0-9_.-]+\Z")
_OS_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?\Z")
_OS_ESCAPES = str.maketrans({"%": "%25", "+": "%2B", "(": "%28", ")": "%29", "/": "%2F"})


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a machine. `str()` gives the canonical text; version and features of the system
    stand in parentheses: `windows(10.0.17763+win32k)/amd64`."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.os:
            return "unknown"
        os_part = self.os
        options = [self.os_version.translate(_OS_ESCAPES)]
        options += [feature.translate(_OS_ESCAPES) for feature in sorted({*self.os_features} - {""})]
        if any(options):
            os_part += f"({'+'.join(options)})"
        return "/".join(part for part in (os_part, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str, host: Platform | None = None) -> Platform:
        """Reads `os/arch[/variant]`, or one word that is an OS or an architecture.

        The result is normalised, except that a missing variant stays missing for `linux/arm` and that the variant of
        `linux/arm64/v8` is kept (containerd: `platforms.Parse`). Raises DefinitionError with the nearest known name.
        """
        host = host or host_platform()
        parts = text.split("/")
        os_match = _OS_PART.match(parts[0])
        bad = [part for part in parts[1:] if not _PART.match(part)] if os_match else parts[:1]
        if len(parts) > 3 or bad or not os_match:
            component = "component" if os_match else "OS component"
            reason = f': "{bad[0]}" is an invalid {component} of "{text}"' if bad and text else ""
            raise DefinitionError(
                f"invalid platform '{text}'{reason}", hint="a platform is OS/ARCH[/VARIANT], as in linux/arm64"
            )
        os_name, os_version = _normal_os(os_match[1]), _decoded(os_match[2] or "")
        features = tuple(_decoded(feature) for feature in (os_match[3] or "").split("+") if feature)
        if len(parts) == 1 and os_name in _OSES:
            variant = host.variant if host.architecture == "arm" and host.variant != "v7" else ""
            return cls(os_name, host.architecture, variant, os_version, features)
        architecture, variant = _normal_architecture(*(parts[1:] or parts), *[""] * (len(parts) < 3))
        if architecture == "arm" and variant == "v7" and len(parts) < 3:
            variant = ""
        if architecture == "arm64" and not variant and len(parts) == 3:
            variant = "v8"
        if len(parts) == 1:
            if architecture not in _ARCHITECTURES:
                raise DefinitionError(f'"{text}": unknown operating system or architecture',
                                      hint=nearest(text, (*_OSES, *_ARCHITECTURES)))  # fmt: skip
            os_name = host.os
        return cls(os_name, architecture, variant, os_version, features)

    def normalized(self) -> Platform:
        """Aliases replaced and default variants filled in or dropped (containerd: `platforms.Normalize`)."""
        architecture, variant = _normal_architecture(self.architecture, self.variant)
        os = _normal_os(self.os) or "linux"
        if not self.os_features and (os, architecture, variant) == (self.os, self.architecture, self.variant):
            return self
        return Platform(os, architecture, variant, self.os_version, tuple(sorted({*self.os_features})))

    def is_known(self) -> bool:
        """Whether both parts are names that Go's toolchain knows."""
        return self.os in _OSES and self.architecture in _ARCHITECTURES

    def without_typos(self) -> Platform:
        """Itself; raises DefinitionError if one of its names is nearly, but not quite, a known one. Names that are
        like none are taken as they are, as BuildKit takes them."""
        for word, name, known in (
            ("operating system", self.os, _OSES),
            ("architecture", self.architecture, _ARCHITECTURES),
        ):
            if name not in known:
                import difflib  # late: start-up time

                near = difflib.get_close_matches(name, known, n=4)
                near.sort(key=lambda other: sorted(other) != sorted(name))  # letters that changed places
                parts = (near[0] if near and name == self.os else self.os,
                         near[0] if near and name == self.architecture else self.architecture)  # fmt: skip
                if near:
                    raise DefinitionError(f"unknown {word} '{name}'", hint=f"did you mean '{'/'.join(parts)}'?")
        return self


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # late: nobody should wait for it at start-up

    return unquote(text)


def _normal_os(name: str) -> str:
    lowered = name.lower()
    return "darwin" if lowered == "macos" else lowered


def _normal_architecture(architecture: str, variant: str) -> tuple[str, str]:
    """containerd `platforms/database.go`: normalizeArch."""
    architecture, variant = architecture.lower(), variant.lower()
    match architecture:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            if variant in ("8", "v8", "v8.0"):
                return "arm64", ""
            return "arm64", "v9" if variant in ("9", "9.0", "v9.0") else variant
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            return "arm", "v7" if variant in ("", "7") else f"v{variant}" if variant in ("5", "6", "8") else variant
    return architecture, variant


def host_platform() -> Platform:
    """The platform of this machine."""
    return Platform("linux", *_normal_architecture(os.uname().machine, ""))
