"""What `bakepy llb` writes is solved by the BuildKit of a real Docker Engine, and is what buildx would ask for."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections import Counter
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
    other = ("[internal]", "[context ")
    return [
        vertex
        for vertex in vertexes
        if vertex["name"].startswith("[") and not any(mark in vertex["name"] for mark in other)
    ]


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
        timeout=240,
    )
    return reference


@pytest.fixture
def project(base: str, tmp_path: Path) -> Path:
    bake = f'[target.app]\nargs = {{ BASE = "{base}" }}\n'
    files = {"Dockerfile": DOCKERFILE, "bake.toml": bake, "src/a.txt": "a\n", "src/b/c": "c\n"}
    return write(tmp_path / "project", files)


EVERY_KIND = r"""# escape=`
ARG BASE
ARG WORD=shared
FROM $BASE AS parent
ONBUILD ARG WHEN=now
ONBUILD COPY src/a.txt /triggered/
ONBUILD RUN --network=none echo "$WHEN" `
    > /triggered/when
ONBUILD LABEL triggered=$WHEN

FROM parent AS child
SHELL ["/bin/sh", "-e", "-c"]
ARG WORD
ARG HOME_OF=${WORD:+/home/$WORD}
ENV PLACE=${HOME_OF#/} GREETING="hello ${WORD%d}"

WORKDIR $HOME_OF
USER 1000:1000
WORKDIR below
USER root
COPY --chown=1000 --chmod=0640 src/a.txt src/b ./
COPY --link --chown=5:5 src /linked/
COPY ["src/a b", "/with blank/"]
ADD src/tree.tar.gz /unpacked/
ADD --link src/tree.tar.gz /unpacked-above/
COPY <<-"literal.sh" <<expanded /documents/
	#!/bin/sh
	echo $0
	literal.sh
$GREETING `$WORD ${UNSET-none}
expanded
RUN --network=none <<EOF
test -e c
echo "$GREETING" > said
EOF
RUN --network=none <<script.sh
#!/bin/sh
cat /documents/expanded > heard
script.sh
RUN --network=none cat <<one /documents/literal.sh > cats
first
one
RUN --network=none --mount=type=bind,source=src,target=/ctx `
    --mount=type=bind,from=parent,source=/etc,target=parents,rw --mount=type=tmpfs,target=/scratch,size=1m `
    --mount=type=cache,target=made,uid=7,mode=0700,sharing=private,id=kept-$WORD `
    cp /ctx/a.txt /scratch/ && ls -ld made > owner
RUN --network=none ["/bin/sh", "-c", "echo exec form"]

FROM scratch AS last
COPY --from=child / /
COPY --from=0 /bin/busybox /first
COPY --from=alias / /other/
LABEL one=1 "two words"="a b"
EXPOSE 80 53/udp 7000-7002
VOLUME ["/data"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
USER nobody
ENTRYPOINT ["/first"]
CMD sh -c x
"""


@pytest.mark.registry
def test_every_kind_of_instruction_is_found_by_buildx(
    docker_engine: DockerEngine, bakepy: Bakepy, base: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bake = f'[target.app]\nargs = {{ BASE = "{base}" }}\ncontexts = {{ alias = "other" }}\n'
    files = {"Dockerfile": EVERY_KIND, "bake.toml": bake, "src/a.txt": "a\n", "src/b/c": "c\n", "src/a b": "blank\n",
             "other/kept": "k\n", ".dockerignore": "**/*.pb\nother\n"}  # fmt: skip
    project = write(tmp_path / "project", files)
    with tarfile.open(project / "src/tree.tar.gz", "w:gz") as archive:
        archive.add(project / "src/b", "tree")
    told = bakepy.run("llb", "app", "-o", "app.pb", cwd=project).stderr.splitlines()
    assert sorted(told) == [f"--local alias={project}/other", f"--local context={project}"]
    folders = {"context": project, "alias": project / "other"}
    solve(docker_engine.socket, (project / "app.pb").read_bytes(), folders, tmp_path_factory.mktemp("solve"))

    found = docker_engine.build(project, f"--build-arg=BASE={base}", "--build-context=alias=other")
    kinds = Counter(instruction(vertex).split()[0] for vertex in steps(found))
    assert kinds == {"FROM": 1, "ONBUILD": 2, "WORKDIR": 2, "COPY": 7, "LINK": 2, "ADD": 2, "RUN": 5}
    assert not_cached(found) == []


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
