"""Programs of foreign machines: which of them the kernel hands to an emulator (binfmt_misc)."""

from __future__ import annotations

import re
from pathlib import Path

from bakepy.errors import EngineError
from bakepy.model.platform import Platform

_FOLDER = Path("/proc/sys/fs/binfmt_misc")

# ELF's e_machine (gABI), and OCI's names for the same machines
_MACHINES = {
    3: "386",
    20: "ppc",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
_PPC64, _MIPS = 21, 8
_NATIVE = {"amd64": ("386",), "arm64": ("arm",)}
"""Older machines whose programs the same processors run."""


def foreign_machines(folder: Path = _FOLDER) -> frozenset[str]:
    """The architectures with an emulator that also works inside containers (flag F: opened when registered)."""
    found = set()
    if not folder.is_dir():
        return frozenset()
    for entry in folder.iterdir():
        if entry.name in ("register", "status"):
            continue
        try:
            text = entry.read_text()
        except OSError:
            continue  # taken out just now
        flags = re.search(r"^flags: (\w*)$", text, re.MULTILINE)
        magic = re.search(r"^magic ([0-9a-f]+)$", text, re.MULTILINE)
        if text.startswith("enabled") and flags and "F" in flags[1] and magic:
            architecture = _architecture(bytes.fromhex(magic[1]))
            if architecture:
                found.add(architecture)
    return frozenset(found)


def _architecture(magic: bytes) -> str | None:
    if len(magic) < 20 or magic[:4] != b"\x7fELF":
        return None
    little = magic[5] == 1
    machine = int.from_bytes(magic[18:20], "little" if little else "big")
    if machine == _PPC64:
        return "ppc64le" if little else "ppc64"
    if machine == _MIPS:
        return ("mips64" if magic[4] == 2 else "mips") + ("le" if little else "")
    return _MACHINES.get(machine)


def check_runnable(platform: Platform, host: Platform, foreign: frozenset[str]) -> None:
    """Raises EngineError if programs of `platform` can not be run on `host`."""
    wanted = platform.architecture
    if platform.os != "linux":
        raise EngineError(f"programs for {platform} can not be run on {host}")
    if wanted == host.architecture or wanted in _NATIVE.get(host.architecture, ()) or wanted in foreign:
        return
    raise EngineError(
        f"programs for {platform} can not be run on {host}: no emulator is registered",
        hint="install one: `apt-get install qemu-user-static binfmt-support` (or register QEMU in binfmt_misc, flag F)",
    )
