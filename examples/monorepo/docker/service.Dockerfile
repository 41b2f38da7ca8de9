# One Dockerfile for all services and tools. `base`, `deps` and `build` are the same for all of them.
FROM busybox AS base
RUN echo app:x:1000:1000::/srv:/bin/sh >> /etc/passwd && echo app:x:1000: >> /etc/group
WORKDIR /srv
ENV LIB=/srv/lib

FROM base AS deps
COPY libs/ lib/
RUN for f in lib/*.sh; do sh -n "$f" || exit 1; done; \
    sha256sum lib/*.sh > lib/SUMS

FROM deps AS build
COPY services/ src/
RUN --mount=type=cache,target=/var/cache/shop <<EOT
set -e
mkdir -p out
for dir in src/*; do
  name=$(basename "$dir")
  sum=$(cat lib/*.sh "$dir"/* | sha256sum | cut -c1-16)
  if [ ! -f /var/cache/shop/"$name-$sum" ]; then
    { echo '#!/bin/sh'; sed -e '/^#/d' -e '/^$/d' lib/*.sh "$dir"/main.sh; } > /var/cache/shop/"$name-$sum"
  fi
  cp /var/cache/shop/"$name-$sum" out/"$name"
  chmod 755 out/"$name"
done
EOT

FROM base AS tool
ARG TOOL
COPY --chmod=755 tools/${TOOL}.sh /usr/bin/tool
ENTRYPOINT ["/usr/bin/tool"]

FROM base AS service
ARG SERVICE
ARG VERSION=0
COPY --from=build --chown=app:app /srv/out/${SERVICE} /srv/service
RUN /srv/service --self-test && echo "${SERVICE} ${VERSION}" > /srv/VERSION
USER app
EXPOSE 8080
ENTRYPOINT ["/srv/service"]
