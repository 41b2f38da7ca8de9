"""A seccomp profile compiled to the kernel's filter program, once instead of for every container.

crun spends two thirds of a container's start on compiling the profile, and takes a compiled one as an annotation. The
compiler is libseccomp, the same library that crun uses; where it is not found, the profile is handed over as it is.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

ANNOTATION = "run.oci.seccomp_bpf_data"

# seccomp.h
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_OPTIMIZE = 8
_BINARY_TREE = 2
_COMPARE = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_UNKNOWN_CALL = -1


class _Argument(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


@functools.cache
def compiled(profile: str, kept: Path) -> str | None:
    """The program of a profile (JSON text of an OCI configuration's `seccomp`) in base64; None if libseccomp is not
    here or can not do it. Programs are kept in the folder `kept`, for the library's version and with a digest."""
    library = _library()
    if library is None:
        return None
    version = library.seccomp_version().contents
    subject = f"{version.major}.{version.minor}.{version.micro} {os.uname().machine} {profile}"
    path = kept / hashlib.sha256(subject.encode()).hexdigest()
    try:
        digest, _, program = path.read_text().partition(" ")
        if digest == hashlib.sha256(program.encode()).hexdigest():
            return program
    except (OSError, ValueError):
        pass  # not there yet, or damaged: it is made (anew)
    made = _compile(library, json.loads(profile))
    if made is not None:
        with contextlib.suppress(OSError):  # a full disk: the step will tell, if it writes anything
            kept.mkdir(parents=True, exist_ok=True)
            whole = path.with_name(f"{path.name}.{os.urandom(4).hex()}")  # threads and processes may do this at once
            whole.write_text(f"{hashlib.sha256(made.encode()).hexdigest()} {made}")
            whole.replace(path)
    return made


def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Argument),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _compile(library: ctypes.CDLL, profile: dict[str, Any]) -> str | None:
    context = library.seccomp_init(_ERRNO | profile["defaultErrnoRet"])
    if not context:
        return None
    try:
        # a tree over the numbers instead of a list: fewer steps for each call; older libraries do not know it
        library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)
        for name in profile.get("architectures", ()):
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if library.seccomp_arch_add(context, token) not in (0, -errno.EEXIST):
                return None
        for rule in profile["syscalls"]:
            if not _add(library, context, rule):
                return None
        memory = os.memfd_create("seccomp")
        try:
            if library.seccomp_export_bpf(context, memory) != 0:
                return None
            size = os.lseek(memory, 0, os.SEEK_END)
            return base64.b64encode(os.pread(memory, size, 0)).decode()
        finally:
            os.close(memory)
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, rule: dict[str, Any]) -> bool:
    allowed = rule["action"] == "SCMP_ACT_ALLOW"
    action = _ALLOW if allowed else _ERRNO | rule["errnoRet"]
    arguments = [
        _Argument(item["index"], _COMPARE[item["op"]], item["value"], item["valueTwo"]) for item in rule.get("args", ())
    ]
    array = (_Argument * len(arguments))(*arguments)
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN_CALL:
            continue  # newer than the library: stays forbidden, as with any runtime on this machine
        result = library.seccomp_rule_add_array(context, action, number, len(arguments), array)
        # calls that one of the architectures does not have are left out there
        if result not in (0, -errno.EDOM, -errno.EEXIST):
            return False
    return True
