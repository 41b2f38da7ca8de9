"""Paths in a build: always with slashes in ops, with backslashes in the config of Windows images.

Rules: buildkit `util/system/path.go`; a Windows path may only name drive C, which is removed.
"""

from __future__ import annotations

from bakepy.dockerfile.errors import DockerfileError


def clean(path: str) -> str:
    """Shortest equal path, as Go's `path.Clean`: `..` never leaves the root, an empty path is `.`."""
    if "//" not in path and "." not in path and (path == "/" or (path and not path.endswith("/"))):
        return path
    rooted = path.startswith("/")
    out: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and out and out[-1] != "..":
            out.pop()
        elif part != ".." or not rooted:
            out.append(part)
    return ("/" if rooted else "") + "/".join(out) or "."


def join(*parts: str) -> str:
    """As Go's `path.Join`: empty parts vanish, the rest is cleaned; nothing at all is empty."""
    joined = "/".join(part for part in parts if part)
    return clean(joined) if joined else ""


def base(path: str) -> str:
    """The last element, as Go's `path.Base`."""
    path = path.rstrip("/") if path.strip("/") else path[:1]
    return path.rpartition("/")[2] or path or "."


def to_slash(path: str, os: str) -> str:
    return path.replace("\\", "/") if os == "windows" else path


def from_slash(path: str, os: str) -> str:
    return path.replace("/", "\\") if os == "windows" else path


def without_drive(path: str, os: str, keep_slash: bool = False) -> str:
    """Raises DockerfileError for other drives and network paths. Does nothing for other systems than Windows."""
    if os != "windows":
        return path
    if len(path) == 2 and path[1] == ":":
        raise DockerfileError(f"removing drive letter: '{path}' names a drive but no path")
    if to_slash(path[:2], os) == "//":
        raise DockerfileError(f"removing drive letter: UNC paths are not supported: '{path}'")
    drive, colon, rest = path.partition(":")
    if colon and drive.lower() != "c":
        raise DockerfileError(f"removing drive letter: '{path}' is not on the system drive C:")
    slashed = to_slash(rest if colon else path, os)
    cleaned = clean(slashed)
    return cleaned + "/" if keep_slash and len(cleaned) > 1 and slashed.endswith("/") else cleaned


def is_absolute(path: str, os: str) -> bool:
    try:
        return to_slash(without_drive(path, os), os).startswith("/")
    except DockerfileError:
        return False


def normalize(parent: str, path: str, os: str, keep_slash: bool) -> str:
    """Absolute, relative paths counted from `parent`. `keep_slash` keeps a trailing `/` or `/.`."""
    path, parent = to_slash(path, os), to_slash(parent, os)
    written = path
    parent = without_drive(parent or "/", os, keep_slash)
    if not parent.startswith("/"):
        parent = join("/", parent)
    path = without_drive(path or parent, os, keep_slash)
    if not is_absolute(path, os):
        path = join(parent, path)
    return _with_slash(written, path) if keep_slash else path


def _with_slash(written: str, path: str) -> str:
    if written.endswith("/") and not path.endswith("/"):
        return path + "/"
    if written.endswith("/."):
        return (path if path == "/" else path + "/") + "."
    return path


def in_op(path: str, keep_slash: bool = False) -> str:
    """An absolute path as file actions hold it."""
    cleaned = clean(path)
    if not cleaned.startswith("/"):
        cleaned = join("/", cleaned)
    return _with_slash(path, cleaned) if keep_slash else cleaned


def workdir(current: str, path: str, os: str) -> str:
    """The new working directory, with the separators of the system."""
    return from_slash(normalize(current, path, os, False), os)


def relative_to(directory: str, path: str, os: str) -> str:
    """A COPY destination: absolute, a trailing slash kept; `.` and nothing mean the directory itself."""
    path = without_drive(path, os, True)
    if is_absolute(path, os):
        return normalize("/", path, os, True)
    return normalize(directory, "./" if path in ("", ".") else path, os, True)
