"""A Debian base, made from the machine's own apt configuration, and packages installed on top of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench import ENGINE, Bench
from tests.bench.measure import Result, compare

PACKAGES = (
    "bc", "bind9-dnsutils", "bzip2", "curl", "file", "gawk", "git", "gnupg", "iproute2", "jq", "less", "lsof",
    "make", "nano", "netcat-openbsd", "openssh-client", "patch", "procps", "python3-minimal", "rsync", "socat",
    "sqlite3", "strace", "tmux", "tree", "unzip", "vim-tiny", "wget", "xz-utils", "zip",
)  # fmt: skip
_APT = Path("/etc/apt")


def debian(bench: Bench) -> Iterator[Result]:
    """One RUN with apt-get update and install; the network is the host's. The base is on both sides beforehand."""
    if shutil.which("mmdebstrap") is None:
        print("no mmdebstrap: debian is skipped", flush=True)
        return
    base = bench.image("debian", _base(bench.place("debian-base", {})))
    bakefile = {"target": {"default": {"output": ["type=cacheonly"], "network": "host"}}}
    folder = bench.place(
        "debian",
        {
            "Dockerfile": f"FROM {base}\nARG STAMP\n"
            f"RUN apt-get update && apt-get install --yes --no-install-recommends {' '.join(PACKAGES)}\n",
            "docker-bake.json": json.dumps(bakefile),
        },
    )
    first = bench.place(
        "debian-first",
        {"Dockerfile": f"FROM {base}\nRUN true\n", "docker-bake.json": json.dumps(bakefile)},
    )
    for command in bench.bakes(first, cold=False):
        command.run(0)
    ours, theirs = bench.bakes(folder, cold=True)
    name = f"`apt-get install` of {len(PACKAGES)} packages on Debian"
    yield compare(name, ours, theirs, goal=1, versus=ENGINE, pairs=bench.pairs, warm=0)
    yield bench.memory(ours)


def _base(folder: Path) -> Path:
    """A context whose Dockerfile is a minimal Debian with the apt configuration of this machine: its sources of
    Debian itself, the keys and credentials they may need, and what it says about downloading."""
    sources = _APT / "sources.list.d/debian.sources"
    if not sources.exists():
        sources = _APT / "sources.list"
    codename = subprocess.run(
        ["sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME"], check=True, capture_output=True, text=True
    ).stdout.strip()
    make = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "--skip=output/dev"]
    subprocess.run([*make, codename, str(folder / "base.tar"), str(sources)], check=True)
    extra = folder / "apt"
    for name in ("auth.conf.d", "keyrings", "trusted.gpg.d"):
        if (_APT / name).is_dir():
            shutil.copytree(_APT / name, extra / name)
    (extra / "apt.conf.d").mkdir()
    for path in (_APT / "apt.conf.d").glob("99*"):
        shutil.copy(path, extra / "apt.conf.d")
    (folder / "Dockerfile").write_text(
        "FROM scratch\nADD base.tar /\nCOPY apt /etc/apt\nENV DEBIAN_FRONTEND=noninteractive\n"
    )
    return folder
