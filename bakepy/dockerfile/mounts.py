"""The values of `RUN --mount` and `RUN --device`."""

from __future__ import annotations

from collections.abc import Callable

from bakepy.dockerfile.duration import parse_size
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.flags import csv_fields
from bakepy.dockerfile.text import parse_bool, parse_unsigned, quote
from bakepy.errors import nearest
from bakepy.model.value import dataclass

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_KEYS = ("type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw",
         "required", "size", "id", "sharing", "mode", "uid", "gid", "env")  # fmt: skip


@dataclass(slots=True)
class MountOptions:
    """As given; `mode`, `uid`, `gid`, `env` and `readonly` are None where nothing is said."""

    type: str = "bind"
    stage: str = ""
    source: str = ""
    target: str = ""
    readonly: bool | None = None
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    @property
    def has_owner(self) -> bool:
        return self.mode is not None or self.uid is not None or self.gid is not None


def parse_mount(text: str, expand: Callable[[str], str]) -> MountOptions:
    """Keys are read in order: `required` and `size` need the `type` before them. Raises DockerfileError."""
    mount = MountOptions()
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        try:
            if equals:
                _assign(mount, key, expand(value), field)
            else:
                _flag(mount, key, field)
        except DockerfileError as error:
            raise error.about(field) from error.__cause__
    try:
        _check(mount)
    except DockerfileError as error:
        raise error.about(text) from None
    return mount


def _flag(mount: MountOptions, key: str, field: str) -> None:
    match key:
        case "readonly" | "ro":
            mount.readonly = True
        case "readwrite" | "rw":
            mount.readonly = False
        case "required":
            _only(mount, key, "secret", "ssh")
            mount.required = True
        case _ if key in _KEYS:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair", hint=f"write {key}=VALUE")
        case _:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair", hint=nearest(key, _KEYS))


def _assign(mount: MountOptions, key: str, value: str, field: str) -> None:
    match key:
        case "type":
            if value.lower() not in _TYPES:
                raise DockerfileError(f"unsupported mount type {quote(value)}",
                                      hint=nearest(value, _TYPES) or "types are " + ", ".join(_TYPES))  # fmt: skip
            mount.type = value.lower()
        case "from":
            mount.stage = value
        case "source" | "src":
            mount.source = value
        case "target" | "dst" | "destination":
            mount.target = value
        case "readonly" | "ro":
            mount.readonly = _bool(key, value)
        case "readwrite" | "rw":
            mount.readonly = not _bool(key, value)
        case "required":
            _only(mount, key, "secret", "ssh")
            mount.required = _bool(key, value)
        case "size":
            _only(mount, key, "tmpfs")
            try:
                mount.size = parse_size(value)
            except ValueError as error:
                raise DockerfileError(f"invalid value for {key}: {value}", hint="as in 64m or 1.5g") from error
        case "id":
            mount.id = value
        case "sharing":
            if value.lower() not in _SHARING:
                raise DockerfileError(f"unsupported sharing value {quote(value)}",
                                      hint=nearest(value, _SHARING) or "modes are " + ", ".join(_SHARING))  # fmt: skip
            mount.sharing = value.lower()
        case "mode":
            mount.mode = _number(key, value, 8)
        case "uid":
            mount.uid = _number(key, value, 10)
        case "gid":
            mount.gid = _number(key, value, 10)
        case "env":
            mount.env = value
        case _:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'", hint=nearest(key, _KEYS))


def _only(mount: MountOptions, key: str, *types: str) -> None:
    if mount.type not in types:
        raise DockerfileError(f"unexpected key '{key}' for mount type '{mount.type}'",
                              hint=f"type={types[0]} must stand before it")  # fmt: skip


def _bool(key: str, value: str) -> bool:
    flag = parse_bool(value)
    if flag is None:
        raise DockerfileError(f"invalid value for {key}: {value}", hint="it is true or false")
    return flag


def _number(key: str, value: str, base: int) -> int:
    number = parse_unsigned(value, base)
    if number is None:
        kind = "an octal number" if base == 8 else "a number"
        raise DockerfileError(f"invalid value {value} for {key}", hint=f"it is {kind}")
    return number


def _check(mount: MountOptions) -> None:
    if mount.type not in ("secret", "ssh", "cache"):
        for key in ("mode", "uid", "gid"):
            if getattr(mount, key) is not None:
                raise DockerfileError(f"{key} not allowed for {quote(mount.type)} type mounts",
                                      hint="it is for cache, secret and ssh")  # fmt: skip
    if mount.readonly is None:
        mount.readonly = mount.type not in ("cache", "tmpfs")
    if mount.type == "secret":
        if mount.stage:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required",
                                  hint="or an id, as in --mount=type=secret,id=token")  # fmt: skip
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set", hint="they mean the same")
    if mount.sharing and mount.type != "cache":
        raise DockerfileError(f"invalid cache sharing set for {mount.type} mount", hint="sharing is for type=cache")


def parse_device(text: str) -> tuple[str, bool]:
    """Name, and whether it is required. Raises DockerfileError."""
    try:
        fields = csv_fields(text)
    except ValueError as error:
        raise DockerfileError(f"failed to parse csv devices: {error}") from error
    name, required = "", False
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _bool(key, value) if equals else True
        elif equals and key == "name":
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif equals:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'", hint=nearest(key, ("name", "required")))
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
    return name, required
