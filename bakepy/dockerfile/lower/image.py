"""The image config while a stage is lowered, and the lines of its history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from bakepy.dockerfile.duration import format_duration
from bakepy.dockerfile.text import quote
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ContainerConfig, Healthcheck, HistoryEntry, ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

COMMENT = "buildkit.dockerfile.v0"
"""Marks history entries that a Dockerfile frontend wrote; other tools look for exactly this text."""
UNIX_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WINDOWS_PATH = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"
NO_PLATFORM = Platform("", "")


RunLine: TypeAlias = tuple[str, str, str]
"""The line of a RUN in a stage with build arguments, which come second, after the time it was created. Most are never
seen, as another stage is the result."""


@dataclass(slots=True)
class ImageDraft:
    """A mutable image config; `base` keeps what no instruction changes."""

    base: ImageConfig
    user: str = ""
    working_dir: str = ""
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    shell: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, None] = field(default_factory=dict)
    volumes: dict[str, None] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] = field(default_factory=list)
    author: str = ""
    history: list[HistoryEntry | RunLine] = field(default_factory=list)

    @classmethod
    def of(cls, image: ImageConfig) -> ImageDraft:
        config = image.config
        env: dict[str, str] = {}
        for entry in config.env:
            name, _, value = entry.partition("=")
            env.setdefault(name, value)
        return cls(
            base=replace(image, created=""),
            user=config.user,
            working_dir=config.working_dir,
            env=env,
            entrypoint=config.entrypoint,
            cmd=config.cmd,
            shell=config.shell,
            labels=dict(config.labels),
            ports=dict.fromkeys(config.exposed_ports),
            volumes=dict.fromkeys(config.volumes),
            stop_signal=config.stop_signal,
            args_escaped=config.args_escaped,
            healthcheck=config.healthcheck,
            on_build=list(config.on_build),
            author=image.author,
            history=list(image.history),
        )

    def copy(self, *, with_triggers: bool = False) -> ImageDraft:
        """A draft to change. Triggers do not carry over to a stage on top."""
        return ImageDraft(
            self.base,
            self.user,
            self.working_dir,
            self.env.copy(),
            self.entrypoint,
            self.cmd,
            self.shell,
            self.labels.copy(),
            self.ports.copy(),
            self.volumes.copy(),
            self.stop_signal,
            self.args_escaped,
            self.healthcheck,
            self.on_build.copy() if with_triggers else [],
            self.author,
            self.history.copy(),
        )

    @property
    def os(self) -> str:
        return self.base.platform.os

    def finish(self, platform: Platform, labels: FrozenMap[str, str]) -> ImageConfig:
        """The config, for `platform`; `labels` win over those of the Dockerfile."""
        base = self.base
        config = ContainerConfig(
            self.user,
            tuple(self.ports),
            tuple([f"{name}={value}" for name, value in self.env.items()]),
            self.entrypoint,
            self.cmd,
            tuple(self.volumes),
            self.working_dir,
            FrozenMap({**self.labels, **labels}),
            self.stop_signal,
            self.args_escaped,
            self.healthcheck,
            tuple(self.on_build),
            base.config.stop_timeout,
            self.shell,
            base.config.extra,
        )
        history = tuple([_run_line(*line) if isinstance(line, tuple) else line for line in self.history])
        return ImageConfig(
            platform, config, base.created, self.author, base.diff_ids, history, base.extra, base.rootfs_type
        )


def _run_line(created: str, arguments: str, text: str) -> HistoryEntry:
    return HistoryEntry(created, f"RUN {arguments}{text}", comment=COMMENT)


def history_line(text: str, *, layer: bool = False, step: bool = False, epoch: int | None = None) -> HistoryEntry:
    """A line of the history; `step` marks those of RUN, COPY and ADD."""
    return HistoryEntry(
        created_at(epoch),
        text + " # buildkit" if step else text,
        "",
        COMMENT,
        not layer,
    )


def created_at(epoch: int | None) -> str:
    """The time in a line of the history; empty if it is that of the build."""
    return "" if epoch is None else rfc3339(epoch)


def no_image() -> ImageDraft:
    """For stages that have no image config (yet)."""
    return ImageDraft(_NOTHING)


_NOTHING = ImageConfig(NO_PLATFORM, rootfs_type="")


def empty_image(platform: Platform) -> ImageConfig:
    """The config that FROM scratch begins with."""
    image = ImageConfig(platform)
    env = () if platform.os == "windows" else (f"PATH={UNIX_PATH}",)
    return replace(image, config=replace(image.config, working_dir="/", env=env))


def default_path(os: str) -> str:
    return WINDOWS_PATH if os == "windows" else UNIX_PATH


def default_shell(os: str) -> tuple[str, ...]:
    return ("cmd", "/S", "/C") if os == "windows" else ("/bin/sh", "-c")


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def quoted_list(values: Iterable[str]) -> str:
    """`["a" "b"]`, as Go prints lists of quoted strings."""
    return f"[{' '.join(map(quote, values))}]"


def plain_list(values: Iterable[str]) -> str:
    """`[a b]`, as Go prints lists."""
    return f"[{' '.join(values)}]"


def healthcheck_text(check: Healthcheck) -> str:
    """As Go prints the structure."""
    durations = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    middle = " ".join(f"{name}:{format_duration(value)}" for name, value in durations)
    return f"{{Test:{plain_list(check.test)} {middle} Retries:{check.retries}}}"
