"""What the speed cases work on: matrices of targets, and a Dockerfile of sixty lines for many targets."""

from __future__ import annotations

from collections.abc import Iterable

from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Group, Target

DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG BASE=debian:bookworm
ARG STAMP_EARLY=none

FROM ${BASE} AS base
ARG STAMP_EARLY
ENV LANG=C.UTF-8 \\
    LC_ALL=C.UTF-8 \\
    STAMP=${STAMP_EARLY}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
    apt-get update && \\
    apt-get install --yes --no-install-recommends ca-certificates curl
RUN useradd --create-home --uid 1000 app
WORKDIR /srv

FROM base AS tools
ARG TOOL_VERSION=1.2.3
ARG TARGETARCH
RUN curl -fsSL -o /usr/local/bin/tool https://example.com/${TOOL_VERSION}/tool-${TARGETARCH}
RUN chmod 0755 /usr/local/bin/tool
COPY scripts/ /usr/local/lib/scripts/

FROM base AS deps
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev
COPY patches patches
RUN for each in patches/*; do patch -p1 < $each; done

FROM deps AS build
ENV NODE_ENV=production
COPY --from=tools /usr/local/bin/tool /usr/local/bin/tool
COPY --chown=app:app src src
COPY tsconfig.json .
RUN npm run build
RUN --network=none npm test
RUN <<EOF
set -e
find dist -name '*.map' -delete
tool compress dist
EOF

FROM base AS final
LABEL org.opencontainers.image.title="service" \\
      org.opencontainers.image.vendor="example"
ENV PORT=8080
EXPOSE ${PORT}/tcp 9090/tcp
VOLUME /data
ENV PATH=/srv/bin:$PATH
COPY --from=deps /srv/node_modules node_modules
COPY --from=build --chown=1000:1000 /srv/dist dist
COPY --from=tools /usr/local/bin/tool bin/
COPY --link config/default.json config/
ARG STAMP=none
RUN echo "${STAMP}" > /srv/stamp
COPY --chmod=0644 banner banner-${STAMP}
USER app
HEALTHCHECK --interval=30s CMD ["curl", "-f", "http://localhost:8080/health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/server.js"]
CMD ["--port", "8080"]
"""
"""Sixty lines. STAMP_EARLY has a say in every RUN, STAMP in the last two steps."""


MATRIX = """\
variable "REGISTRY" { default = "registry.example.com" }
variable "TAG" { default = "latest" }
group "default" { targets = ["app"] }
target "_common" {
  dockerfile = "Dockerfile"
  labels = { "org.opencontainers.image.vendor" = "example" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "app" {
  name = "app-${a}-${b}"
  inherits = ["_common"]
  matrix = {
    a = [for i in range(ROWS) : "${i}"]
    b = [for i in range(COLUMNS) : "${i}"]
  }
  args = { A = a, B = b, NAME = upper("n-${a}") }
  tags = ["${REGISTRY}/app:${a}-${b}-${TAG}"]
  target = a == "0" ? "first" : "rest"
}
"""


def matrix(count: int) -> str:
    """A docker-bake.hcl with so many targets, a multiple of 100 above that, each of which inherits and interpolates."""
    columns = min(count, 100)
    return MATRIX.replace("ROWS", str(count // columns)).replace("COLUMNS", str(columns))


def differing(how: str, count: int) -> tuple[BakeFile, dict[str, str]]:
    """`count` targets over one Dockerfile that differ in `labels`, or in an argument: `STAMP`, `STAMP_EARLY`."""

    def one(number: int) -> Target:
        if how == "labels":
            return Target(f"t{number}", labels=FrozenMap({"number": f"n{number}"}))
        return Target(f"t{number}", args=FrozenMap({how: f"n{number}"}))

    return _file(one(number) for number in range(count)), {"Dockerfile": DOCKERFILE}


def distinct(count: int) -> tuple[BakeFile, dict[str, str]]:
    """`count` targets, each with a Dockerfile of its own."""
    files = {
        f"Dockerfile.{number}": DOCKERFILE.replace("set -e", f"set -e # {number}").replace("/home", f"/home{number}")
        for number in range(count)
    }
    return _file(Target(f"t{number}", dockerfile=name) for number, name in enumerate(files)), files


def _file(targets: Iterable[Target]) -> BakeFile:
    by_name = {target.name: target for target in targets}
    return BakeFile(FrozenMap(by_name), FrozenMap({"default": Group("default", tuple(by_name))}))
