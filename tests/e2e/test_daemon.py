"""What `bakepy llb` writes is solved by the BuildKit of a real Docker Engine, and is what buildx would ask for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bakepy, write
from tests.support.base_image import write_base_image
from tests.support.buildkit_client import solve
from tests.support.docker_engine import DockerEngine, docker_engine
from tests.support.registry import RegistryServer, registry_server

__all__ = ["docker_engine", "registry_server"]

pytestmark = pytest.mark.docker

DOCKERFILE = """\
ARG BASE
FROM $BASE AS build
ARG WHO=world
WORKDIR /src
COPY src/ ./
COPY --chown=1000:1000 <<EOF note
for $WHO
EOF
RUN --network=none --mount=type=cache,target=/tmp/cache cat a.txt note > out && echo "$WHO" >> out
FROM $BASE
ENV MODE=final
COPY --from=build --chmod=0600 /src/out /srv/
ADD --link src/b /linked/
RUN --network=none cat /srv/out
"""


def steps(vertexes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The vertices that come from instructions."""
    return [vertex for vertex in vertexes if vertex["name"].startswith("[") and "[internal]" not in vertex["name"]]


def instruction(vertex: dict[str, Any]) -> str:
    """Its first two words."""
    return " ".join(str(vertex["name"]).partition("] ")[2].split()[:2])


def not_cached(vertexes: list[dict[str, Any]]) -> list[str]:
    """The instructions that were run. FROM is not among them: BuildKit looks at every source in every build."""
    return [
        instruction(vertex)
        for vertex in steps(vertexes)
        if not vertex.get("cached") and not instruction(vertex).startswith("FROM")
    ]


@pytest.fixture
def base(registry_server: RegistryServer, tmp_path: Path) -> str:
    """The busybox base image, pushed."""
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    write_base_image(tmp_path / "layout")
    reference = f"{registry_server.host}/base:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:latest", f"docker://{reference}"],
        check=True,
        timeout=60,
    )
    return reference


@pytest.fixture
def project(base: str, tmp_path: Path) -> Path:
    bake = f'[target.app]\nargs = {{ BASE = "{base}" }}\n'
    files = {"Dockerfile": DOCKERFILE, "bake.toml": bake, "src/a.txt": "a\n", "src/b/c": "c\n"}
    return write(tmp_path / "project", files)


@pytest.mark.registry
def test_a_definition_is_solved_and_buildx_then_finds_every_step(
    docker_engine: DockerEngine, bakepy: Bakepy, project: Path, base: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = bakepy.run("llb", "app", "-o", "app.pb", cwd=project).stderr.splitlines()
    assert told == [f"--local context={project}"]
    definition = (project / "app.pb").read_bytes()
    (project / "app.pb").unlink()

    solve(docker_engine.socket, definition, {"context": project}, tmp_path_factory.mktemp("solve"))

    found = docker_engine.build(project, f"--build-arg=BASE={base}")
    assert sorted(instruction(vertex).split()[0] for vertex in steps(found)) == [
        "ADD", "COPY", "COPY", "COPY", "FROM", "LINK", "RUN", "RUN", "WORKDIR",
    ]  # fmt: skip
    assert not_cached(found) == []

    other = docker_engine.build(project, f"--build-arg=BASE={base}", "--build-arg=WHO=you")
    assert sorted(not_cached(other)) == [
        "COPY --chown=1000:1000",
        "COPY --from=build",
        "LINK ADD",
        "RUN --network=none",
        "RUN --network=none",
    ]


LOOKED_AT = """\
# base what others build on
FROM scratch as base
# version the one to take
ARG version=1
ARG token_secret=$version
env A b
WORKDIR there
FROM base AS Final
COPY --from=base /x /y
RUN --mount=type=secret,id=key,required --mount=type=ssh echo $version
MAINTAINER me
"""


@pytest.mark.parametrize("method", ["check", "outline", "targets"])
def test_calls_give_the_json_of_buildx(
    method: str, docker_engine: DockerEngine, bakepy: Bakepy, tmp_path: Path
) -> None:
    folder = write(tmp_path / "project", {"Dockerfile": LOOKED_AT})
    call = f"--call={method},format=json"
    done = bakepy.run("build", ".", call, cwd=folder, status=None)
    theirs = docker_engine.buildx_run(folder, "build", call, ".")
    assert done.returncode == theirs.returncode
    assert comparable(json.loads(done.stdout)) == comparable(json.loads(theirs.stdout))


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what is worded or found in another way: descriptions of rules, the source op of the Dockerfile, order."""
    for warning in answer.get("warnings", ()):
        del warning["description"]
    if "warnings" in answer:
        answer["warnings"].sort(key=lambda warning: (warning["ruleName"], warning["detail"]))
        for source in answer["sources"]:
            source.pop("definition", None)
    return answer
