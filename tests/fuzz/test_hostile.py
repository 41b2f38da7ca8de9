"""Large and deep input: an error or a result, within a bounded address space and time. Each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = 1024
SECONDS = 300
"""Generous: these take a second or two where nothing else runs."""

RUN = """
import sys
from bakepy.bakefile import LoadOptions, load
from bakepy.model.location import SourceFile
from tests.fuzz.targets import TARGETS
data = sys.stdin.buffer.read()
if sys.argv[1] == "evaluate":
    load([SourceFile("docker-bake.hcl", data.decode())], LoadOptions())
else:
    TARGETS[sys.argv[1]].run(data)
"""
"""`evaluate` reads a sound file once; the others look at it in every way, and take any error of bakepy's."""
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
    "YAML of lists in lists": ("compose", b"services:\n  " + b"- " * 100_000),
    "YAML of mappings in keys": ("compose", b"? " * 100_000),
    "five thousand documents": ("compose", b"--- {services: {a: {build: .}}}\n" * 5_000),
    "keys with a hundred thousand parts": ("toml", b"[locals]\n" + b".".join([b"a"] * 100_000) + b" = 1\n"),
    "a list of five million": ("hcl", b"x = [" + b"1," * 5_000_000 + b"]\n"),
    "a list of five million in YAML": ("compose", b"x-a: [" + b"1," * 5_000_000 + b"]\n"),
    "texts that double in base64": (
        "hcl",
        b'v0 = "xxxxxxxx"\n'
        + b"".join(b'v%d = base64decode(base64encode("${v%d}${v%d}"))\n' % (n, n - 1, n - 1) for n in range(1, 60)),
    ),
    "networks beyond all numbers": (
        "hcl",
        b'a = cidrsubnet("fd00::/8", 100, 1e17999)\nb = cidrhost("::/0", 1e17999)\n'
        b'c = cidrsubnets("10.0.0.0/8", [for i in range(1024): 24]...)\n',
    ),
    "ten thousand targets that inherit": (
        "evaluate",
        b'target "t0" {}\n'
        + b"".join(b'target "t%d" {\n inherits = ["t%d"]\n}\n' % (n, n - 1) for n in range(1, 10_000))
        + b'group "default" { targets = ["t9999"] }\n',
    ),
    "thousands of groups": (
        "evaluate",
        b'target "t" {}\ngroup "g0" { targets = ["t"] }\n'
        + b"".join(b'group "g%d" {\n targets = ["g%d"]\n}\n' % (n, n - 1) for n in range(1, 5_000))
        + b'group "default" { targets = ["g4999"] }\n',
    ),
    "fifty thousand attributes": (
        "evaluate",
        b"".join(b"v%d = 1\n" % n for n in range(50_000)) + b'target "default" {}\n',
    ),
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
    "a hundred thousand stages": ("compile", b"".join(b"FROM a AS s%d\n" % n for n in range(100_000))),
    "stages that copy from the one before": (
        "compile",
        b"FROM a AS s0\n" + b"".join(b"FROM a AS s%d\nCOPY --from=s%d /a /b\n" % (n, n - 1) for n in range(1, 9000)),
    ),
    "stages whose names are none": ("compile", b"".join(b"FROM a%d:: AS s%d\n" % (n, n) for n in range(9000))),
    "a third of a million comments": ("compile", b"# x\n" * 300_000 + b"FROM a\n"),
    "ten megabytes of an open document": ("compile", b"FROM a\nRUN <<E\n" + (b"x" * 99 + b"\n") * 100_000),
    "triggers times stages": (
        "compile",
        b"FROM a AS b\n"
        + b"ONBUILD RUN x\n" * 100
        + b"".join(b"FROM b AS s%d\n" % n for n in range(100))
        + b"FROM b\n"
        + b"".join(b"COPY --from=s%d / /\n" % n for n in range(100)),
    ),
    "stages that add a variable each": (
        "compile",
        b"FROM a AS s0\n" + b"".join(b"FROM s%d AS s%d\nENV A%d=1\n" % (n - 1, n, n) for n in range(1, 2000)),
    ),
    "ten thousand mounts": (
        "compile",
        b"FROM a\nRUN " + b"".join(b"--mount=type=cache,target=/%d \\\n" % n for n in range(10_000)) + b"x\n",
    ),
    "every port, a thousand times": ("compile", b"FROM a\n" + b"EXPOSE 1-65535\n" * 1000),
    "variables that nobody set": (
        "compile",
        b"FROM a\n" + b"".join(b"ENV VARIABLE_%d=$VARIABEL_%d\n" % (n, n) for n in range(4000)),
    ),
    "directories that multiply": ("ignore", b"a/" * 100 + b"c\n" + b"**/a/" * 30 + b"b\n"),
    "thousands of patterns": ("ignore", b"x/y/z\n" + b"".join(b"**/*a%d*\n" % n for n in range(2000))),
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
