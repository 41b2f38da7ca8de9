"""The last checks and touches of resolved targets: what buildx does between reading the files and printing them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from bakepy.bakefile.config import TargetDraft, is_remote
from bakepy.bakefile.places import nearest_place
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.remote import HERE, Origin, git_secrets, host_of, is_git_ssh
from bakepy.bakefile.resolve import Selection, clean_context, raise_all
from bakepy.errors import BakeError, DefinitionError
from bakepy.model.platform import Platform
from bakepy.model.target import OutputEntry, SecretEntry, SSHEntry

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtpKMGTP]?)i?[bB]?\Z")
_ANNOTATION: Final = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z")
_ANNOTATED: Final = ("index", "index-descriptor", "manifest", "manifest-descriptor")
ULIMITS: Final = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
]


class Finisher:
    """Checks what can be checked without building, target by target."""

    def __init__(self, environment: Mapping[str, str], reader: Reader | None, origin: Origin | None = None) -> None:
        self.environment = environment
        self.reader = reader
        self.origin = origin
        self._keys: dict[str, str] = {}
        self._good_platforms: set[str] = set()

    def finish(self, selection: Selection) -> None:
        """Raises DefinitionError(s)."""
        errors: list[BakeError] = []
        for name in sorted(selection.targets):
            try:
                self._target(selection.targets[name])
            except DefinitionError as error:
                errors.append(error)
        raise_all(errors)

    def _error(self, target: TargetDraft, field: str, what: str, hint: str = "") -> DefinitionError:
        """`field` may lead to an element: `platforms[1]`."""
        place = nearest_place(target.places, field)
        return DefinitionError(what, where=place, path=f"target.{target.name}.{field}", hint=hint)

    def _target(self, target: TargetDraft) -> None:
        values = target.values
        if values["context"] == "-":
            raise self._error(target, "context", "a context can not come from standard input in a bake file")
        if values["dockerfile"] == "-":
            raise self._error(target, "dockerfile", "a Dockerfile can not come from standard input in a bake file")
        written = values["context"]
        values["context"] = clean_context(written)
        if self.origin is not None:
            self._place(target, self.origin, written)
        git_over_ssh = is_git_ssh(values["context"]) or (self.origin is not None and is_git_ssh(self.origin.url))
        if (size := values.get("shm-size")) is not None and not _SIZE.match(size):
            raise self._error(target, "shm-size", f"{size!r} is no size", "such as 64m or 1g")
        for position, each in enumerate(values.get("platforms") or ()):
            self._platform(target, each, f"platforms[{position}]")
        for secret in values.get("secret") or ():
            self._secret(target, secret)
        agents = values.get("ssh") or ()
        if git_over_ssh and not agents:
            agents = target.built["ssh"] = (SSHEntry("default"),)
        for agent in agents:
            self._ssh(target, agent)
        if outputs := values.get("output"):
            values["output"] = self._outputs(target, outputs)
        for each in values.get("annotations") or ():
            self._annotation(target, each)
        for each in values.get("ulimits") or ():
            self._ulimit(target, each)
        self._resources(target, values.get("resources") or {})

    def _place(self, target: TargetDraft, origin: Origin, written: str) -> None:
        """The contexts of a far definition: relative paths are folders where it is (of these only `.` is printed so),
        `cwd://` is the folder of the command."""
        values, built = target.values, target.built
        if written.startswith(HERE):
            self._refuse_mixed(target, values["context"])
        elif values["context"] == ".":
            values["context"] = origin.url
        else:
            built["context"] = origin.placed(values["context"])
        if contexts := values.get("contexts"):
            built["contexts"] = {name: origin.placed(path) for name, path in contexts.items()}
        context = built.get("context", values["context"])
        if is_remote(context) and host_of(context) == host_of(origin.url):
            lent = git_secrets(origin.url, self.environment)
            if lent:
                built["secret"] = (*(values.get("secret") or ()), *lent)

    def _refuse_mixed(self, target: TargetDraft, folder: str) -> None:
        """The Dockerfile of a context that is here would be looked for here, not where the definition is."""
        dockerfile = target.values["dockerfile"]
        if target.values.get("dockerfile-inline") or dockerfile.startswith((HERE, "/")) or is_remote(dockerfile):
            return
        path = posixpath.normpath(posixpath.join(folder, dockerfile))
        if self.reader is not None and self.reader.kind(path):
            raise self._error(
                target,
                "dockerfile",
                "the definition is far away, but this context is here: whose Dockerfile is meant?",
                f'write "{HERE}{path}" for the one that is here',
            )

    def _platform(self, target: TargetDraft, text: str, path: str) -> None:
        if text in self._good_platforms:
            return
        for each in text.split(","):
            if each.strip() != "local" and (problem := _platform_problem(each.strip())):
                raise self._error(target, path, problem)
        self._good_platforms.add(text)

    # -- secrets and keys

    def _secret(self, target: TargetDraft, secret: SecretEntry) -> None:
        if not secret.id:
            raise self._error(target, "secret", "a secret needs an id")
        if self.reader is None or (secret.env and not secret.src):
            return
        path = secret.src
        if not path:
            if secret.id in self.environment:
                return
            path = secret.id
        if not self.reader.kind(path):
            hint = "" if secret.src else f"there is no variable {secret.id!r} either"
            raise self._error(
                target, "secret", f"the secret {secret.id!r} needs the file {path!r}, which is not there", hint
            )

    def _ssh(self, target: TargetDraft, agent: SSHEntry) -> None:
        if self.reader is None:
            return
        paths = agent.paths
        if not paths or paths == ("",):
            socket = self.environment.get("SSH_AUTH_SOCK", "")
            if not socket:
                raise self._error(target, "ssh", f"the SSH agent {agent.id!r} needs SSH_AUTH_SOCK, which is not set")
            paths = (socket,)
        from bakepy.bakefile.ssh_keys import key_problem

        sockets = 0
        for path in paths:
            kind = self.reader.kind(path)
            if not kind:
                raise self._error(target, "ssh", f"there is no file {path!r}")
            if kind == "socket":
                sockets += 1
                continue
            if kind != "file":
                what = "a folder, not a key" if kind == "dir" else "neither the socket of an agent nor a key"
                raise self._error(target, "ssh", f"{path!r} is {what}")
            if path not in self._keys:
                self._keys[path] = key_problem(self.reader.read(path))
            if problem := self._keys[path]:
                raise self._error(target, "ssh", f"{path!r} is no key that can be used: {problem}")
        if sockets and len(paths) > 1:
            raise self._error(target, "ssh", "there is one socket, or there are keys, not both")

    # -- outputs

    def _outputs(self, target: TargetDraft, outputs: tuple[OutputEntry, ...]) -> tuple[OutputEntry, ...]:
        checked: list[OutputEntry] = []
        standard_output = 0
        for each in outputs:
            tar = each.attrs.get("tar", "") not in ("0", "f", "F", "FALSE", "false", "False")
            folder = each.type == "local" or (each.type in ("oci", "docker") and not tar)
            file = each.type == "tar" or (each.type in ("oci", "docker") and tar)
            dest = each.dest
            if not each.type:
                raise self._error(target, "output", "an output needs a type")
            if folder and dest in ("", "-"):
                raise self._error(target, "output", f"an output of type {each.type!r} into a folder needs dest")
            if file and not dest and each.type != "docker":
                dest = "-"
            if file and dest == "-":
                standard_output += 1
                if standard_output > 1:
                    raise self._error(target, "output", "only one output can go to standard output")
            kind = self.reader.kind(dest) if self.reader is not None and dest not in ("", "-") else ""
            if folder and kind not in ("", "dir"):
                raise self._error(target, "output", f"{dest!r} is a file: a folder is needed")
            if file and kind == "dir":
                raise self._error(target, "output", f"{dest!r} is a folder: a file is needed")
            checked.append(OutputEntry(each.type, dest, each.attrs))
        return tuple(checked)

    # -- other texts

    def _annotation(self, target: TargetDraft, text: str) -> None:
        key, equals, _ = text.partition("=")
        if not equals:
            raise self._error(target, "annotations", f"expected key=value, found {text!r}")
        types, colon, _ = key.partition(":")
        if not colon:
            return
        for each in types.split(","):
            found = _ANNOTATION.match(each)
            if not found or found[1] not in _ANNOTATED:
                levels = ", ".join(_ANNOTATED)
                raise self._error(target, "annotations", f"{each!r} is no level of annotations: expected {levels}")
            if found[2] and (problem := _platform_problem(found[2])):
                raise self._error(target, "annotations", problem)

    def _ulimit(self, target: TargetDraft, text: str) -> None:
        name, equals, limits = text.partition("=")
        if not equals:
            raise self._error(target, "ulimits", f"expected name=soft:hard, found {text!r}")
        if name not in ULIMITS:
            raise self._error(target, "ulimits", f"there is no limit {name!r}: expected {', '.join(sorted(ULIMITS))}")
        parts = limits.split(":")
        if len(parts) > 2 or not all(re.fullmatch(r"[+-]?\d+", each) for each in parts):
            raise self._error(target, "ulimits", f"expected one number or two, found {limits!r}")
        numbers = [int(each) for each in parts]
        if len(numbers) == 2 and numbers[1] != -1 and (numbers[0] > numbers[1] or numbers[0] == -1):
            raise self._error(target, "ulimits", f"the soft limit of {name!r} is above the hard one")

    def _resources(self, target: TargetDraft, limits: Mapping[str, Any]) -> None:
        for name in ("memory", "memory-swap"):
            text = limits.get(name)
            if text is not None and not (name == "memory-swap" and text == "-1") and not _SIZE.match(text):
                raise self._error(target, f"resources.{name}", f"{text!r} is no size", "such as 512m or 2g")


def _platform_problem(text: str) -> str:
    """What is wrong with a platform; empty if nothing is."""
    try:
        Platform.parse(text)
    except DefinitionError as error:
        return f"{error.what}{'; ' + error.hint if error.hint else ''}"
    return ""
