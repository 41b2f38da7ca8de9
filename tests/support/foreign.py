"""A program for arm64, written here so that nothing has to be fetched, and the emulator that runs it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_NAME = "bakepy-test-aarch64"
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_BASE = 0x400000
_HEADERS = 64 + 56


def arm64_program(path: str, text: bytes) -> bytes:
    """An ELF file that writes `text` into the file `path`, whatever its arguments are."""
    name = path.encode() + b"\0"
    code: list[int] = []
    size = 15 * 4

    def move(register: int, value: int) -> None:
        code.append(0xD2800000 | value << 5 | register)

    def address(register: int, offset: int) -> None:
        ahead = offset - len(code) * 4
        code.append(0x10000000 | (ahead & 3) << 29 | ahead >> 2 << 5 | register)

    def call(number: int) -> None:
        move(8, number)
        code.append(0xD4000001)

    code.append(0x92800000 | 99 << 5)  # the folder: AT_FDCWD
    address(1, size)
    move(2, 0o101)  # O_WRONLY | O_CREAT
    move(3, 0o644)
    call(56)  # openat
    address(1, size + len(name))
    move(2, len(text))
    call(64)  # write
    move(0, 0)
    call(93)  # exit
    code += [0xD503201F] * (size // 4 - len(code))  # nop
    body = struct.pack(f"<{len(code)}I", *code) + name + text
    whole = _HEADERS + len(body)
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, whole, whole, 4096)
    return head + body


@contextmanager
def arm64_emulation() -> Iterator[str]:
    """Lets this kernel run arm64 programs. Yields why it can not, or nothing."""
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        yield "needs qemu-aarch64-static"
        return
    mounted = not (_BINFMT / "register").exists()
    if mounted and subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], check=False).returncode:
        yield "binfmt_misc can not be mounted here"
        return
    entry = _BINFMT / _NAME
    try:
        try:
            (_BINFMT / "register").write_text(f":{_NAME}:M::{_MAGIC}:{_MASK}:{qemu}:F")
        except OSError as error:
            yield f"QEMU can not be registered: {error.strerror}"
            return
        yield ""
    finally:
        if entry.exists():
            entry.write_text("-1")
        if mounted:
            subprocess.run(["umount", _BINFMT], check=True)
