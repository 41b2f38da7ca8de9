"""The image config: what a container of the image runs by default, and how the image came about.

Members and their order: image-spec `config.md` and moby's `DockerOCIImage`; what is not known here is kept in
`extra`, so that a base image's config survives the round trip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.oci import parse_json_object, platform_from_json, platform_to_json
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Durations in nanoseconds; zero means inherit."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    _MEMBERS = (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start_period"),
                ("StartInterval", "start_interval"), ("Retries", "retries"))  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Healthcheck:
        numbers = {name: int(value.get(member) or 0) for member, name in cls._MEMBERS}
        return cls(test=tuple(value.get("Test") or ()), **numbers)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"Test": list(self.test)} if self.test else {}
        return value | {member: getattr(self, name) for member, name in self._MEMBERS if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of `docker history`. `created` is RFC 3339 text, filled in at export where it is empty."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HistoryEntry:
        return cls(
            created=value.get("created") or "",
            created_by=value.get("created_by", ""),
            author=value.get("author", ""),
            comment=value.get("comment", ""),
            empty_layer=bool(value.get("empty_layer", False)),
        )

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for member in ("created", "created_by", "author", "comment", "empty_layer"):
            if content := getattr(self, member):
                value[member] = content
        return value


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """The member `config` of an image config. `cmd` and `entrypoint` are None when unset, () when set to nothing."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: FrozenMap[str, str] = field(default_factory=FrozenMap)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    stop_timeout: int | None = None
    shell: tuple[str, ...] = ()
    extra: FrozenMap[str, str] = field(default_factory=FrozenMap)
    """Unknown members; the values are JSON text."""

    _KNOWN = frozenset({"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
                        "StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "StopTimeout", "Shell"})  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ContainerConfig:
        entrypoint, cmd = value.get("Entrypoint"), value.get("Cmd")
        return cls(
            user=value.get("User") or "",
            exposed_ports=tuple(value.get("ExposedPorts") or ()),
            env=tuple(value.get("Env") or ()),
            entrypoint=None if entrypoint is None else tuple(entrypoint),
            cmd=None if cmd is None else tuple(cmd),
            volumes=tuple(value.get("Volumes") or ()),
            working_dir=value.get("WorkingDir") or "",
            labels=FrozenMap(value.get("Labels") or {}),
            stop_signal=value.get("StopSignal") or "",
            args_escaped=bool(value.get("ArgsEscaped")),
            healthcheck=Healthcheck.from_json(value["Healthcheck"]) if value.get("Healthcheck") else None,
            on_build=tuple(value.get("OnBuild") or ()),
            stop_timeout=value.get("StopTimeout"),
            shell=tuple(value.get("Shell") or ()),
            extra=_extra(value, cls._KNOWN),
        )

    def to_json(self) -> dict[str, Any]:
        """Members in the reference implementation's order; empty ones left out, maps sorted."""
        value: dict[str, Any] = {}
        if self.user:
            value["User"] = self.user
        if self.exposed_ports:
            value["ExposedPorts"] = {port: {} for port in sorted(self.exposed_ports)}
        if self.env:
            value["Env"] = list(self.env)
        if self.entrypoint:
            value["Entrypoint"] = list(self.entrypoint)
        if self.cmd:
            value["Cmd"] = list(self.cmd)
        if self.volumes:
            value["Volumes"] = {volume: {} for volume in sorted(self.volumes)}
        if self.working_dir:
            value["WorkingDir"] = self.working_dir
        if self.labels:
            value["Labels"] = dict(sorted(self.labels.items()))
        if self.stop_signal:
            value["StopSignal"] = self.stop_signal
        if self.args_escaped:
            value["ArgsEscaped"] = True
        if self.healthcheck:
            value["Healthcheck"] = self.healthcheck.to_json()
        if self.on_build:
            value["OnBuild"] = list(self.on_build)
        if self.stop_timeout is not None:
            value["StopTimeout"] = self.stop_timeout
        if self.shell:
            value["Shell"] = list(self.shell)
        return value | {name: json.loads(text) for name, text in self.extra.items()}


LAYERS = "layers"
"""The only type of a root file system that there is."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """A whole image config. `diff_ids` and missing `created` dates are filled in at export."""

    platform: Platform
    config: ContainerConfig = field(default_factory=ContainerConfig)
    created: str = ""
    author: str = ""
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    extra: FrozenMap[str, str] = field(default_factory=FrozenMap)
    """Unknown members; the values are JSON text."""
    rootfs_type: str = LAYERS
    """Empty before export if the image is built on a tree that has no config (a folder in place of a stage)."""

    _KNOWN = frozenset({"created", "author", "architecture", "variant", "os", "os.version", "os.features",
                        "config", "rootfs", "history"})  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageConfig:
        """Raises BakeError if a member has the wrong shape."""
        try:
            return cls(
                platform=platform_from_json(value),
                config=ContainerConfig.from_json(value.get("config") or {}),
                created=value.get("created") or "",
                author=value.get("author") or "",
                diff_ids=tuple(Digest.parse(text) for text in (value.get("rootfs") or {}).get("diff_ids") or ()),
                history=tuple(HistoryEntry.from_json(entry) for entry in value.get("history") or ()),
                extra=_extra(value, cls._KNOWN),
                rootfs_type=(value.get("rootfs") or {}).get("type") or "",
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise BakeError(f"malformed image config: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageConfig:
        return cls.from_json(parse_json_object(data))

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        if self.created:
            value["created"] = self.created
        if self.author:
            value["author"] = self.author
        value |= platform_to_json(self.platform)
        value["config"] = self.config.to_json()
        value["rootfs"] = {"type": self.rootfs_type, "diff_ids": [str(digest) for digest in self.diff_ids]}
        if self.history:
            value["history"] = [entry.to_json() for entry in self.history]
        return value | {name: json.loads(text) for name, text in self.extra.items()}

    def to_bytes(self) -> bytes:
        """JSON; what was no text in a Dockerfile becomes U+FFFD, as JSON knows nothing but text."""
        return _NO_TEXT.sub("\ufffd", json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))).encode()

    def with_layers(self, diff_ids: tuple[Digest, ...]) -> ImageConfig:
        return replace(self, diff_ids=diff_ids)


_NO_TEXT = re.compile("[\ud800-\udfff]")


def _extra(value: Mapping[str, Any], known: frozenset[str]) -> FrozenMap[str, str]:
    return FrozenMap({name: json.dumps(content) for name, content in value.items() if name not in known})
