"""Pulling and unpacking an image of a gigabyte."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench import ENGINE, Bench
from tests.bench.measure import Result, compare

LAYERS = 5
_FILES = 4000
"""Small files in each layer; a quarter of its bytes. The others are files of 5 MB, half of them random."""


def pull(bench: Bench) -> Iterator[Result]:
    """From the registry on this machine to a step that runs on it. Neither side has any of it before."""
    image = bench.image("gigabyte", gigabyte(bench.place("gigabyte", {})))
    shutil.rmtree(bench.folder / "gigabyte")
    folder = bench.place(
        "pull",
        {
            "Dockerfile": f'FROM {image}\nRUN ["/bin/busybox", "true"]\n',
            "docker-bake.json": json.dumps({"target": {"default": {"output": ["type=cacheonly"], "network": "host"}}}),
        },
    )
    root = bench.folder / "pull-root"

    def forget_ours(_: int) -> None:
        shutil.rmtree(root, ignore_errors=True)
        forget_theirs(0)

    def forget_theirs(_: int) -> None:
        subprocess.run(
            [str(bench.peer.buildx), "prune", "--all", "--force"],
            env=bench.peer.environment,
            check=True,
            capture_output=True,
        )
        subprocess.run(["sync", "--file-system", str(bench.folder)], check=True)

    ours, theirs = bench.bakes(folder, cold=False, before=(forget_ours, forget_theirs), root=root)
    yield compare("pull and unpack of a 1 GB image", ours, theirs, goal=1, versus=ENGINE, pairs=bench.pairs)
    yield bench.memory(ours)
    shutil.rmtree(root)


def gigabyte(folder: Path) -> Path:
    """A context whose Dockerfile is a gigabyte in five layers."""
    generator = random.Random(11)
    words = [generator.randbytes(generator.randrange(2, 9)).hex() for _ in range(4096)]
    text = " ".join(generator.choices(words, k=1_000_000)).encode()
    shutil.copy("/bin/busybox", folder / "busybox")
    lines = ["FROM scratch", "COPY busybox /bin/busybox"]
    for layer in range(LAYERS):
        inside = folder / f"layer{layer}"
        for number in range(_FILES):
            path = inside / f"small/{number // 100}/{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = generator.randrange(25_000)
            at = generator.randrange(len(text) - size)
            path.write_bytes(text[at : at + size])
        for number in range(15):
            at = generator.randrange(len(text) - (5 << 20))
            (inside / f"text{number}").write_bytes(text[at : at + (5 << 20)])
            (inside / f"random{number}").write_bytes(generator.randbytes(5 << 20))
        lines.append(f"COPY layer{layer} /layer{layer}")
    (folder / "Dockerfile").write_text("\n".join(lines))
    return folder
