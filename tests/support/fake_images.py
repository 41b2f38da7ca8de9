"""An image resolver without a registry: every reference resolves, to a config that follows from its name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.errors import BakeError, RegistryError
from bakepy.model.digest import Digest
from bakepy.model.image_config import ImageConfig
from bakepy.model.oci import platform_to_json
from bakepy.model.platform import Platform

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ONBUILD = {
    "onbuild-from": ["COPY --from=builder /out /out", "RUN --mount=type=bind,from=tools,target=/t cp /t/x /x"],
    "onbuild-args": ["ARG APP_VERSION=1", "ENV APP=$APP_VERSION", "LABEL app.version=$APP_VERSION", "RUN echo $APP"],
    "onbuild-heredoc": ["RUN <<EOT\necho one\necho two\nEOT"],
    "onbuild-image": ["COPY --from=busybox:1.36 /bin/busybox /bin/bb", "USER nobody"],
    "onbuild-bad": ["FROBNICATE yes"],
    "onbuild-two": ["RUN a\nRUN b"],
}


def resolve(request: ImageRequest) -> ResolvedImageConfig | BakeError:
    """What the conformance cases' resolver answers."""
    name = request.reference
    if "missing" in name:
        return RegistryError(f"{name}: not found")
    platform = request.platform or Platform("linux", "amd64")
    if "windows" in name:
        platform = replace(platform, os="windows", architecture="amd64", variant="", os_version="10.0.20348.2340")
    if "amd64-only" in name:
        platform = replace(platform, os="linux", architecture="amd64", variant="", os_version="")
    digest = name.partition("@")[2] or "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    value: dict[str, Any] = {"created": "2024-01-02T03:04:05Z", **platform_to_json(platform)}
    value["config"] = _config(name, platform, value)
    layer = "sha256:" + hashlib.sha256(f"layer {name}".encode()).hexdigest()
    value["rootfs"] = {"type": "layers", "diff_ids": [] if "nodiff" in name else [layer]}
    value["history"] = _history(name)
    if not value["history"]:
        del value["history"]
    return ResolvedImageConfig(Digest(digest), ImageConfig.from_json(value))


def _config(name: str, platform: Platform, image: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if platform.os != "windows" and "no-path" not in name:
        config["Env"] = [PATH]
    if "with-env" in name:
        extra = ["LANG=C.UTF-8", "BASE_VERSION=1.2.3", "EMPTY=", "EQ=a=b", 'QUOTED=it\'s "q"']
        config["Env"] = config.get("Env", []) + extra
    if "with-user" in name:
        image["author"] = "Base Author"
        config |= {
            "User": "app:staff", "WorkingDir": "/srv/app", "Entrypoint": ["/entry.sh", "--flag"],
            "Cmd": ["serve", "-v"],
            "Labels": {"base.label": "one", "maintainer": "base"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Volumes": {"/data": {}}, "StopSignal": "SIGQUIT", "ArgsEscaped": True,
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000, "Retries": 3},
        }  # fmt: skip
    if "with-shell" in name:
        config["Shell"] = ["/bin/bash", "-o", "pipefail", "-c"]
    if "rel-workdir" in name:
        config["WorkingDir"] = "rel/dir"
    if "onbuild" in name:
        config["OnBuild"] = ["COPY . /usr/src/app", "RUN make -C /usr/src/app"]
        for key, triggers in _ONBUILD.items():
            if key in name:
                config["OnBuild"] = triggers
    return config


def _history(name: str) -> list[dict[str, Any]]:
    history = [{"created": "2024-01-02T03:04:05Z", "created_by": f"base layer of {name}"}]
    if "nodiff" in name:
        history = []
    if "nodiff-schema1" in name:
        history = [{"created": "2024-01-02T03:04:05Z", "created_by": "/bin/sh -c #(nop) ADD file in /"}]
    if "with-history" in name:
        history.append({"created": "2024-01-02T03:04:06Z", "created_by": 'CMD ["sh"]',
                        "comment": "buildkit.dockerfile.v0", "empty_layer": True})  # type: ignore[dict-item]  # fmt: skip
    return history
