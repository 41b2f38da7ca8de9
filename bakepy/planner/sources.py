"""What targets read: Dockerfiles, ignore files, folders, OCI layouts. Each is read once, whoever asks."""

from __future__ import annotations

import posixpath
from dataclasses import field

from bakepy.dockerfile.compile import ParsedDockerfile, parse
from bakepy.dockerfile.options import LayoutContext, LocalContext
from bakepy.errors import BakeError, DefinitionError, nearest
from bakepy.model.digest import Digest
from bakepy.model.oci import ImageIndex
from bakepy.model.value import dataclass
from bakepy.planner import contexts as c
from bakepy.planner.files import FileReader
from bakepy.planner.remote import RemoteContext, RemoteMemory

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"


@dataclass(slots=True)
class Sources:
    """The memory of one planning: what was read, and which names were given to folders and layouts."""

    files: FileReader
    locals: dict[str, str] = field(default_factory=dict)
    """Absolute folder by local name."""
    layouts: dict[str, str] = field(default_factory=dict)
    """Absolute folder by store name."""
    remote: RemoteMemory = field(default_factory=RemoteMemory)
    read: dict[tuple[str, str, str | None], tuple[LocalContext | RemoteContext, ParsedDockerfile]] = field(
        default_factory=dict
    )
    """Context and Dockerfile of targets, by how they name them."""
    _names: dict[str, str] = field(default_factory=dict)
    _dockerfiles: dict[str, ParsedDockerfile] = field(default_factory=dict)
    _inline: dict[str, ParsedDockerfile] = field(default_factory=dict)
    _folders: dict[LocalContext, LocalContext] = field(default_factory=dict)
    _texts: dict[str, str | None] = field(default_factory=dict)
    _digests: dict[tuple[str, str], Digest] = field(default_factory=dict)

    def dockerfile(self, path: str) -> ParsedDockerfile:
        """Reads and parses a Dockerfile. Raises DefinitionError if it can not be read; what is wrong in it is told
        by `ParsedDockerfile.require`."""
        if path not in self._dockerfiles:
            self._dockerfiles[path] = parse(self._dockerfile_text(path), path)
        return self._dockerfiles[path]

    def inline_dockerfile(self, text: str, name: str) -> ParsedDockerfile:
        """Parses a Dockerfile that stands in the bake file; `name` is how messages call it."""
        if text not in self._inline:
            self._inline[text] = parse(text, name)
        return self._inline[text]

    def _dockerfile_text(self, path: str) -> str:
        """`Dockerfile` may also be spelled in lower case; without one, a `Containerfile` will do."""
        folder, name = posixpath.split(path)
        names = (name, "dockerfile", "Containerfile") if name == "Dockerfile" else (name,)
        for candidate in (posixpath.join(folder, other) for other in names):
            try:
                return self.files.read(candidate).decode("utf-8", "surrogateescape")
            except FileNotFoundError:
                continue
            except NotADirectoryError:
                break
            except IsADirectoryError as error:
                raise DefinitionError(f"the Dockerfile '{path}' is a folder") from error
            except OSError as error:
                raise DefinitionError(f"the Dockerfile '{path}' can not be read: {error.strerror}") from error
        if folder and not self.files.is_directory(folder):
            near = self._near(*posixpath.split(folder))
            raise DefinitionError(f"the Dockerfile '{path}' does not exist: there is no folder '{folder}'", hint=near)
        raise DefinitionError(
            f"the Dockerfile '{path}' does not exist (open {name}: no such file or directory)",
            hint=self._near(folder, name),
        )

    def _near(self, folder: str, name: str) -> str:
        return nearest(name, self.files.names(folder or "."))

    def ignore(self, dockerfile: str | None, context: str) -> tuple[str | None, str]:
        """Text and name of the ignore file of a main context: the one beside the Dockerfile wins, even if empty."""
        if dockerfile is not None:
            beside = f"{dockerfile}.dockerignore"
            if (text := self._text(beside)) is not None:
                return text, beside
        return self.own_ignore(context)

    def own_ignore(self, context: str) -> tuple[str | None, str]:
        """Text and name of the ignore file in a folder."""
        path = ".dockerignore" if context == "." else posixpath.join(context, ".dockerignore")
        return self._text(path), path

    def _text(self, path: str) -> str | None:
        if path not in self._texts:
            try:
                self._texts[path] = self.files.read(path).decode("utf-8", "surrogateescape")
            except (FileNotFoundError, NotADirectoryError):
                self._texts[path] = None
            except OSError as error:
                raise DefinitionError(f"the ignore file '{path}' can not be read: {error.strerror}") from error
        return self._texts[path]

    def folder(self, path: str, preferred: str, ignore: tuple[str | None, str]) -> LocalContext:
        """The local source of a folder. One folder has one name in all targets: the first that was asked for, made
        different from others' by its path. Raises DefinitionError if it is no folder."""
        absolute = self.files.absolute(path)
        name = self._names.get(absolute)
        if name is None:
            self.require_folder(path)
            name = preferred if preferred not in self.locals else f"{preferred}:{path}"
            self._names[absolute] = name
            self.locals[name] = absolute
        context = LocalContext(name=name, ignore=ignore[0], ignore_name=ignore[1])
        return self._folders.setdefault(context, context)  # one object for all targets is compared faster

    def require_folder(self, path: str) -> None:
        """Raises DefinitionError if there is no such folder."""
        if self.files.absolute(path) not in self._names and not self.files.is_directory(path):
            parent, name = posixpath.split(path.rstrip("/"))
            if name in self.files.names(parent or "."):
                raise DefinitionError(f"the folder '{path}' can not be used: it is no folder")
            raise DefinitionError(
                f"the folder '{path}' can not be used: no such file or directory", hint=self._near(parent, name)
            )

    def layout(self, context: c.LayoutContext) -> LayoutContext:
        """An image in an OCI layout, pinned. Raises DefinitionError if there is none."""
        absolute = self.files.absolute(context.path)
        digest = context.digest or self._layout_digest(absolute, context)
        store = f"layout-{Digest.of(absolute.encode()).short}"
        self.layouts[store] = absolute
        return LayoutContext(f"{store}@{digest}")

    def _layout_digest(self, absolute: str, context: c.LayoutContext) -> Digest:
        """By image name or reference name; failing both, the only image there is (buildx: resolveDigest)."""
        key = (absolute, context.tag)
        if key in self._digests:
            return self._digests[key]
        try:
            index = ImageIndex.from_bytes(self.files.read(posixpath.join(context.path, "index.json")))
        except OSError as error:
            raise DefinitionError(
                f"the OCI layout '{context.path}' could not be resolved: its index.json can not be read",
                hint="" if self.files.is_directory(context.path) else f"there is no folder '{context.path}'",
            ) from error
        except BakeError as error:
            raise DefinitionError(f"the OCI layout '{context.path}' could not be resolved: {error.what}") from error
        found = [
            entry
            for annotation in (_IMAGE_NAME, _REF_NAME)
            for entry in index.manifests
            if entry.annotations.get(annotation) == context.tag
        ]
        if not found and len(index.manifests) == 1:
            found = list(index.manifests)
        if not found:
            tags = [entry.annotations.get(_REF_NAME, "") for entry in index.manifests]
            raise DefinitionError(
                f"the OCI layout '{context.path}' could not be resolved: it has no image tagged '{context.tag}'",
                hint=nearest(context.tag, filter(None, tags)),
            )
        self._digests[key] = found[0].digest
        return found[0].digest
