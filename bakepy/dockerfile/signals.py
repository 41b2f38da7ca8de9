"""Signals that STOPSIGNAL may name: any number but 0, or a name of Linux with or without `SIG`."""

from __future__ import annotations

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.text import parse_int
from bakepy.errors import nearest

_NAMES = frozenset(
    ("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
     "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
     "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX")
) | {f"RTMIN+{n}" for n in range(1, 16)} | {f"RTMAX-{n}" for n in range(1, 15)}  # fmt: skip


NAMES = tuple(f"SIG{name}" for name in sorted(_NAMES))


def check_signal(text: str) -> None:
    """Raises DockerfileError."""
    number = parse_int(text)
    if not (number != 0 if number is not None else text.upper().removeprefix("SIG") in _NAMES):
        hint = nearest(text.upper(), NAMES) or "as in SIGTERM or 15"
        raise DockerfileError(f"invalid signal: {text}", hint=hint)
