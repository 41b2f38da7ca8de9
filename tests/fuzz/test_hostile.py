"""Large and deep input: an error or a result, within a bounded address space and time. Each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = 1024
SECONDS = 240
"""Generous: these take a second or two where nothing else runs."""

RUN = """
import sys
from tests.fuzz.targets import TARGETS
TARGETS[sys.argv[1]].run(sys.stdin.buffer.read())
"""
DEEP = b"[" * 10_000
CASES = {
    "ten megabytes of one bracket": ("hcl", b"x = " + b"[" * 10_000_000),
    "a string of half a megabyte": ("hcl", b'x = "' + b"a" * 500_000 + b'"\n'),
    "templates that double": (
        "hcl",
        b'v0 = "xxxxxxxx"\n' + b"".join(b'v%d = "${v%d}${v%d}"\n' % (n, n - 1, n - 1) for n in range(1, 60)),
    ),
    "JSON of ten thousand levels": ("json", b'{"x":' + DEEP),
    "TOML of ten thousand levels": ("toml", b"[locals]\nx = " + DEEP),
    "YAML of ten thousand levels": ("compose", b"services: " + DEEP),
    "anchors that multiply": (
        "compose",
        b"a0: &a0 [x, x, x, x, x, x, x, x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 8)) for n in range(1, 9))
        + b"services: {}\n",
    ),
    "a line of a megabyte": ("compile", b"FROM a\nRUN " + b"x" * 1_000_000 + b"\n"),
    "arguments that multiply": ("compile", b"FROM a\nARG A=aaaaaaaaaa\n" + b"ARG A=$A$A$A$A$A$A$A$A$A$A\n" * 12),
    "stages in a circle": ("compile", b"FROM a AS b\nCOPY --from=c / /\nFROM b AS c\n"),
    "nested expansions": ("compile", b"FROM a\nENV A=" + b"${A:-" * 10_000 + b"}" * 10_000 + b"\n"),
    "stars that multiply": ("ignore", b"a" * 4000 + b"\n" + b"*a" * 200 + b"b\n"),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))


@pytest.mark.parametrize("name", CASES)
def test_hostile_input_ends(name: str) -> None:
    target, data = CASES[name]
    done = subprocess.run(
        [sys.executable, "-c", RUN, target],
        cwd=Path(__file__).parent.parent.parent,
        input=data,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=limited,
    )
    assert (done.returncode, done.stderr.decode()[-2000:]) == (0, "")
