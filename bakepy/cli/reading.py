"""Reading the bake files that a command line names."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bakepy.bakefile.load import Definitions, LoadOptions, load, load_definitions
from bakepy.bakefile.lookup import names_from_environment, read_files
from bakepy.bakefile.remote import Invocation, Origin
from bakepy.bakefile.request import Request
from bakepy.model.location import SourceFile
from bakepy.model.platform import host_platform
from bakepy.model.target import BakeFile
from bakepy.model.value import dataclass


class Disk:
    """The disk as bake files ask for it; paths are meant from the directory of the command."""

    def read(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except ValueError:  # there is a NUL in it
            raise FileNotFoundError(2, "no such file or directory", path) from None

    def kind(self, path: str) -> str:
        try:
            mode = Path(path).stat().st_mode
        except (OSError, ValueError):
            return ""
        kinds = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFSOCK: "socket"}
        return kinds.get(stat.S_IFMT(mode), "other")


@dataclass(frozen=True, slots=True)
class BakeRequest:
    """The files of a run and what is asked of them. `far`: they came from elsewhere."""

    files: Sequence[SourceFile]
    options: LoadOptions
    far: bool = False

    def load(self) -> BakeFile:
        """Raises DefinitionError(s) or UsageError."""
        return load(self.files, self.options)

    def check_rights(self, bake_file: BakeFile, allowed: Sequence[str]) -> None:
        """Raises DefinitionError if targets reach more of this machine than a definition from there may."""
        if self.far or "BUILDX_BAKE_ENTITLEMENTS_FS" in os.environ:
            from bakepy.cli.rights import check_rights

            check_rights(bake_file, allowed, os.environ, far=self.far, directory=Path.cwd())

    def sensitive(self) -> frozenset[str]:
        """The names of the variables whose values are nobody else's business."""
        return frozenset(each.name for each in self.definitions().variables if each.sensitive)

    def definitions(self) -> Definitions:
        """Everything in the files. Raises DefinitionError(s)."""
        return load_definitions(self.files, self.options)

    def listed(self, what: str) -> str:
        """The text of `--list`."""
        from bakepy.bakefile.listing import render_list

        return render_list(what, self.definitions())


def read_request(
    *,
    targets: Sequence[str] | None,
    files: Sequence[str] | None,
    overrides: Sequence[str] | None,
    variables: Sequence[str] | None,
    root: Path | str | None = None,
    push: bool = False,
    load: bool = False,
    no_cache: bool | None = None,
    pull: bool | None = None,
    call: str = "build",
    sbom: str = "",
    provenance: str = "",
    policies: Sequence[str] | None = None,
) -> BakeRequest:
    """Reads the bake files, far ones with the state below `root`. Raises UsageError for flags and files that make no
    sense, BuildError and RegistryError if far ones can not be fetched."""
    invocation = Invocation.of(targets or ())
    request = Request(
        targets=invocation.targets,
        command_context=invocation.command_context,
        overrides=tuple(overrides or ()),
        variables=tuple(variables or ()),
        push=push,
        load=load,
        call=call,
        no_cache=no_cache,
        pull=pull,
        sbom=sbom,
        provenance=provenance,
        policies=tuple(policies or ()),
    )
    disk = Disk()
    names = tuple(files or ())
    standard_input = ("cwd://-",) if invocation.url else ("-", "cwd://-")
    wanted = names or names_from_environment(os.environ)
    stdin = sys.stdin.buffer.read() if any(name in standard_input for name in wanted) else b""
    origin: Origin | None = None
    if invocation.url:
        from bakepy.cli.definitions import read_far_files
        from bakepy.cli.options import state_root

        state = state_root(Path(root) if root else None, os.environ)
        found, origin = read_far_files(
            invocation.url, names, here=disk, environment=os.environ, root=state, stdin=stdin
        )
    else:
        found = read_files(names, os.environ, disk, stdin)
    options = request.options(os.environ, disk, str(host_platform()), origin)
    return BakeRequest(found, options, far=bool(invocation.url))


def printed(asked: Mapping[str, Any]) -> str:
    """What `--print` says; for `asked` and errors see `print_request`."""
    from bakepy.bakefile.render import render

    return render(read_request(**asked).load())


def print_request(asked: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """`--print`; `asked` are the arguments of `read_request`. Raises as that does, and DefinitionError(s)."""
    from bakepy.bakefile.render import render
    from bakepy.cli.supported import granted

    request = read_request(**asked)
    granted(allowed)
    print(render(request.load()))
