"""Signals that STOPSIGNAL may name: any number but 0, or a name of Linux with or without `SIG`."""

from __future__ import annotations

from bakepy.dockerfile.text import parse_int

_NAMES = frozenset(
    ("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
     "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
     "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX")
) | {f"RTMIN+{n}" for n in range(1, 16)} | {f"RTMAX-{n}" for n in range(1, 15)}  # fmt: skip


NAMES = tuple(f"SIG{name}" for name in sorted(_NAMES))


def is_signal(text: str) -> bool:
    number = parse_int(text)
    return number != 0 if number is not None else text.upper().removeprefix("SIG") in _NAMES
