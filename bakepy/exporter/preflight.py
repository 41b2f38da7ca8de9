"""What can be known to go wrong with the outputs of a run before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bakepy.errors import BakeError, DefinitionError, DefinitionErrors
from bakepy.exporter.annotations import check_annotations
from bakepy.exporter.outputs import ArchiveOutput, ImageOutput, LocalOutput, Output, TarOutput, parse_outputs
from bakepy.model.platform import Platform
from bakepy.model.target import Target

DELETE = "buildx.local.delete"
"""The entitlement to empty any directory (buildx)."""


def check_outputs(
    targets: Iterable[Target], *, stdout_is_terminal: bool = False, delete_allowed: bool = False
) -> tuple[str, ...]:
    """Checks the outputs of targets; returns warnings.

    Raises DefinitionError (DefinitionErrors if several): attributes that make no sense, a directory where a file is to
    be written or the reverse, a file or standard output used twice, a terminal as standard output, `mode=delete` of a
    directory that is not below the current one (unless `delete_allowed`). Looks at the file system; writes nothing.
    """
    errors: list[BakeError] = []
    warnings: list[str] = []
    stdout = ""
    files: dict[Path, str] = {}
    for target in targets:
        try:
            parsed = parse_outputs(target)
        except DefinitionError as error:
            errors.append(error)
            continue
        warnings += parsed.warnings
        for number, output in enumerate(parsed.outputs):
            path = f"output[{number}]"
            problems = list(_problems(output, stdout_is_terminal))
            if isinstance(output, LocalOutput) and output.delete and not delete_allowed and not _is_below(output.dest):
                problems.append(
                    (
                        f"local output mode=delete for destination '{output.dest}' is not allowed",
                        f"--allow {DELETE} grants it, for a directory that is not below the current one",
                    )
                )
            if _is_stdout(output):
                if stdout:
                    problems.append(("multiple outputs configured to write to stdout", f"the other is {stdout}"))
                stdout = stdout or f"target.{target.name}.{path}"
            elif file := _file(output):
                if other := files.get(file):
                    problems.append(
                        (f"the file {file} is written by {other}, too", "give each output a file of its own")
                    )
                files.setdefault(file, f"target.{target.name}.{path}")
            for what, hint in problems:
                errors.append(
                    DefinitionError(what, where=target.where(path), path=f"target.{target.name}.{path}", hint=hint)
                )
    _raise(errors)
    return tuple(warnings)


def check_platforms(targets: Iterable[tuple[Target, Sequence[Platform], bool]]) -> None:
    """Checks the outputs of planned targets against their platforms; the third says whether the image is an index.

    Raises DefinitionError (DefinitionErrors if several): an output that takes no index, annotations that have no place.
    """
    errors: list[BakeError] = []
    for target, platforms, multi_platform in targets:
        try:
            outputs = parse_outputs(target, multi_platform=multi_platform).outputs
        except DefinitionError as error:
            errors.append(error)
            continue
        for number, output in enumerate(outputs):
            if isinstance(output, ImageOutput | ArchiveOutput):
                path = f"output[{number}]"
                options = output.image
                try:
                    check_annotations(
                        options.annotations, platforms, multi_platform=multi_platform, oci_types=options.oci_types
                    )
                except DefinitionError as error:
                    where, path = target.where(path), f"target.{target.name}.{path}"
                    errors.append(DefinitionError(error.what, where=where, path=path, hint=error.hint))
    _raise(errors)


def _raise(errors: Sequence[BakeError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)


def insecure_registries(targets: Iterable[Target]) -> frozenset[str]:
    """The registries that outputs say are to be spoken to by plain http (`registry.insecure=true`)."""
    return frozenset(
        reference.domain
        for target in targets
        for output in parse_outputs(target).outputs
        if isinstance(output, ImageOutput) and output.insecure
        for reference in output.image.references()
    )


def _is_stdout(output: Output) -> bool:
    return isinstance(output, ArchiveOutput | TarOutput) and output.dest == "-"


def _file(output: Output) -> Path | None:
    """The file that an output replaces, links on the way followed. None if it is no plain file: a device takes all."""
    match output:
        case TarOutput(dest=dest) | ArchiveOutput(dest=dest, tar=True) if dest and dest != "-":
            file = Path(dest).resolve()
            return file if file.is_file() or not file.exists() else None
    return None


def _problems(output: Output, stdout_is_terminal: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a destination, and what to do about it."""
    if _is_stdout(output):
        if stdout_is_terminal:
            yield "refusing to write an archive to the terminal", "add dest=FILE, or redirect stdout"
        return
    match output:
        case TarOutput(dest=dest) | ArchiveOutput(dest=dest, tar=True) if dest and Path(dest).is_dir():
            yield f"destination file {dest} is a directory", "give the name of a file"
        case LocalOutput(dest=dest) | ArchiveOutput(dest=dest, tar=False) if _is_no_directory(Path(dest)):
            yield f"destination directory {dest} is a file", "give the name of a directory"


def _is_below(dest: str) -> bool:
    """Whether `dest` is inside the current directory, and not that itself, after following symlinks."""
    here = Path.cwd().resolve()
    return here in Path(dest).resolve().parents


def _is_no_directory(path: Path) -> bool:
    return path.exists() and not path.is_dir()
