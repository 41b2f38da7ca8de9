"""The exporter of one run: every output of every target, and the publishing of tags at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import anyio
import anyio.to_thread

from bakepy.content.database import Database
from bakepy.content.entry import Layer
from bakepy.content.layout import IMAGE_NAME, REF_NAME, write_layout_dir, write_layout_tar
from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, disk_hint
from bakepy.events import Emit
from bakepy.exporter.built import BuiltImage, ImageBuilder
from bakepy.exporter.files import replacing
from bakepy.exporter.groups import first_error
from bakepy.exporter.image import ExportLayer
from bakepy.exporter.kept import KeptImages
from bakepy.exporter.layers import Layers
from bakepy.exporter.metadata import image_metadata
from bakepy.exporter.outputs import (
    ArchiveOutput,
    CacheOnly,
    Epoch,
    ImageOutput,
    LocalOutput,
    Output,
    TarOutput,
    parse_outputs,
)
from bakepy.exporter.pipes import named_pipe, patient
from bakepy.exporter.progress import ExportProgress
from bakepy.exporter.push import PushedBlob, Pusher, Registry, Tag
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.oci import Descriptor
from bakepy.model.reference import ImageReference
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.threads import in_thread

if TYPE_CHECKING:
    from bakepy.exporter.trees import TreeExporter

NO_OUTPUT = "no output given: the result stays in the build cache (add output=…, --push or --load)"
_IMAGE_ORIGIN = "docker-image://"


class Exporter:
    """Exports the results of one run. Make one for each run; targets may be exported side by side.

    `registry` may be None where nothing is pushed. `environ` is where DOCKER_HOST is looked for. `now_ns` dates layers
    that were never exported before. `wrote` is told of every layer that was compressed.
    """

    def __init__(
        self,
        *,
        content: ContentStore,
        snapshots: SnapshotStore,
        database: Database,
        registry: Registry | None = None,
        emit: Emit = lambda event: None,
        environ: Mapping[str, str] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        stdout: BinaryIO | None = None,
        wrote: Callable[[Layer], None] = lambda layer: None,
    ) -> None:
        self._content = content
        self._snapshots = snapshots
        self._kept = KeptImages.open(database)
        self._emit = emit
        self._environ = environ if environ is not None else os.environ
        self._stdout = stdout
        now = now_ns()
        self._layers = Layers(content, snapshots, database, now_ns=lambda: now, wrote=wrote)
        self._images = ImageBuilder(content, self._layers)
        self._pusher = Pusher(registry, content) if registry is not None else None

    @cached_property
    def _trees(self) -> TreeExporter:
        from bakepy.exporter.trees import TreeExporter  # late: start-up time

        return TreeExporter(self._snapshots, self._stdout_or_file)

    async def export(self, result: TargetResult) -> Exported:
        """Writes all outputs of a target, side by side; tags wait for `publish`.

        Raises DefinitionError for outputs that make no sense, BuildError and RegistryError for what can not be
        written. What other outputs of the target wrote by then stays.
        """
        parsed = parse_outputs(result.target, multi_platform=result.multi_platform)
        done: dict[int, Exported] = {}

        async def one(number: int, output: Output) -> None:
            with ExportProgress(self._emit, result.name, number, _title(output)) as progress:
                for warning in parsed.warnings if number == 0 else ():
                    progress.warn(warning)
                try:
                    with first_error():
                        done[number] = await self._one(result, output, progress)
                except BrokenPipeError:
                    raise  # who reads our output has gone: nothing is to be said
                except OSError as error:
                    dest = getattr(output, "dest", "")
                    place = os.fsdecode(error.filename or dest or "the output")
                    raise BuildError(
                        f"can not write {place}: {error.strerror or error}", hint=disk_hint(error.errno, str(dest))
                    ) from error

        with first_error():
            async with anyio.create_task_group() as group:
                for number, output in enumerate(parsed.outputs):
                    if not isinstance(output, CacheOnly):
                        group.start_soon(one, number, output)
        if not parsed.outputs:
            return Exported(written=(NO_OUTPUT,))
        return _together([done[number] for number in sorted(done)])

    async def publish(self, targets: Collection[str] | None = None) -> tuple[str, ...]:
        """The second phase: moves the tags of `targets` (None: of all), all together; returns their names.

        To be called when everything that the run was to publish was exported. RegistryError if a tag could not be
        set; it tells which were.
        """
        with first_error():
            return await self._pusher.publish(targets) if self._pusher else ()

    async def _one(self, result: TargetResult, output: Output, progress: ExportProgress) -> Exported:
        match output:
            case ImageOutput():
                return await self._image(result, output, progress)
            case ArchiveOutput():
                return await self._archive(result, output, progress)
            case LocalOutput():
                return await self._trees.local(result, output, _epoch_of(result, output.epoch), progress)
            case TarOutput():
                return await self._trees.tar(result, output, _epoch_of(result, output.epoch), progress)
            case CacheOnly():
                return Exported()

    # ---- images

    async def _image(self, result: TargetResult, output: ImageOutput, progress: ExportProgress) -> Exported:
        with progress.step("exporting layers"):
            built = await self._images.get(result, output.image, _epoch_of(result, output.image.epoch))
        references = output.image.references()
        written = []
        if output.store:
            names = tuple(str(reference) for reference in references)
            if output.canonical:
                names += tuple(f"{reference.repository}@{built.top.descriptor.digest}" for reference in references)
            self._kept.put(names, built.top.descriptor)
            written += [f"image {reference.familiar()}" for reference in references]
            if not references:
                written.append(f"image {built.top.descriptor.digest}")
        if output.push:
            await self._push(result, output, built, references, progress)
            # that a tag was set is for `publish` to say
            verb = "pushed" if output.by_digest else "uploaded"
            places = dict.fromkeys(reference.repository for reference in references)
            written = [f"{verb} {place}@{built.top.descriptor.digest}" for place in places]
        return self._exported(built, built.descriptor, ",".join(output.image.names), written)

    async def _push(
        self,
        result: TargetResult,
        output: ImageOutput,
        built: BuiltImage,
        references: tuple[ImageReference, ...],
        progress: ExportProgress,
    ) -> None:
        if self._pusher is None:
            raise BuildError("this run can not push: it has no registry client")
        blobs = self._pushed_blobs(built)
        with progress.step("pushing layers"):
            async with anyio.create_task_group() as group:
                for reference in {reference.repository: reference for reference in references}.values():
                    group.start_soon(
                        self._pusher.upload, reference, blobs, built.manifests, built.top, progress.transfer
                    )
        if not output.by_digest:
            for reference in references:
                self._pusher.tag_later(Tag(reference, built.top, result.name))

    def _pushed_blobs(self, built: BuiltImage) -> tuple[PushedBlob, ...]:
        """Layers with where they can be had from, and configs."""
        layers = [
            PushedBlob(layer.layer.descriptor, self._origin(layer), partial(self._layers.fetch, (layer,)))
            for layer in built.layers
        ]
        return (*layers, *(PushedBlob(image.config.descriptor) for image in built.images))

    def _origin(self, layer: ExportLayer) -> ImageReference | None:
        """The repository that a base image's layer was pulled from."""
        origin = self._snapshots.origin(layer.snapshot)
        if not origin.startswith(_IMAGE_ORIGIN):
            return None
        return ImageReference.parse(origin.removeprefix(_IMAGE_ORIGIN))

    async def _archive(self, result: TargetResult, output: ArchiveOutput, progress: ExportProgress) -> Exported:
        with progress.step("exporting layers"):
            built = await self._images.get(result, output.image, _epoch_of(result, output.image.epoch))
            await self._layers.fetch(built.layers)
        references = output.image.references()
        descriptor = built.dated()
        with progress.step("sending tarball"):
            if not output.tar:
                line = await anyio.to_thread.run_sync(self._write_layout, output, built, references)
            elif not output.dest:
                from bakepy.exporter.daemon import Connection, DockerEngine  # late: http.client is slow to import

                engine = DockerEngine.from_environment(self._environ)
                write = partial(self._write_archive, output, built, references)
                connection = Connection()
                messages = await in_thread(lambda stop: engine.load(write, connection), connection.give_up)
                line = "; ".join(messages) or f"loaded into the Docker Engine at {engine.host}"
            else:
                line = await anyio.to_thread.run_sync(self._write_file, output, built, references)
        return self._exported(built, descriptor, ",".join(str(reference) for reference in references), [line])

    def _write_layout(self, output: ArchiveOutput, built: BuiltImage, references: tuple[ImageReference, ...]) -> str:
        roots = (
            named(built.dated(), references) if references else [built.dated().with_annotations({REF_NAME: "latest"})]
        )
        write_layout_dir(Path(output.dest), self._content, roots)
        return f"OCI layout {output.dest}"

    def _write_file(self, output: ArchiveOutput, built: BuiltImage, references: tuple[ImageReference, ...]) -> str:
        from bakepy.exporter.trees import size_text

        with self._stdout_or_file(output.dest) as out:
            self._write_archive(output, built, references, out)
        place = "stdout" if output.dest == "-" else f"{output.dest} ({size_text(Path(output.dest).stat().st_size)})"
        return f"{'OCI' if output.format == 'oci' else 'Docker'} archive {place}"

    def _write_archive(
        self, output: ArchiveOutput, built: BuiltImage, references: tuple[ImageReference, ...], out: BinaryIO
    ) -> None:
        roots = named(built.dated(), references)
        if output.format == "docker":
            from bakepy.content.docker_archive import write_docker_archive

            write_docker_archive(out, self._content, roots, built.manifest(), references)
        else:
            write_layout_tar(out, self._content, roots)

    def _exported(self, built: BuiltImage, descriptor: Descriptor, names: str, written: list[str]) -> Exported:
        config = None if built.is_index else built.images[0].config.descriptor.digest
        return Exported(
            descriptor=built.descriptor,
            written=tuple(written),
            metadata=image_metadata(descriptor, config=config, names=names),
            size=built.size,
        )

    @contextmanager
    def _stdout_or_file(self, dest: str) -> Iterator[BinaryIO]:
        """Standard output for `-`, else a file that replaces what `dest` was once it is complete."""
        if dest == "-":
            out = self._stdout or sys.stdout.buffer
            if out.isatty():
                raise BuildError(
                    "refusing to write an archive to the terminal", hint="add dest=FILE, or redirect stdout"
                )
            with patient(out) as stream:
                yield stream
            return
        if Path(dest).is_dir():
            raise BuildError(f"destination file {dest} is a directory")
        if Path(dest).is_fifo():
            with named_pipe(Path(dest)) as stream:
                yield stream
            return
        with replacing(Path(dest)) as fd, os.fdopen(fd, "wb", 1 << 18, closefd=False) as file:
            yield file


def named(descriptor: Descriptor, names: tuple[ImageReference, ...]) -> list[Descriptor]:
    """The entries of an archive's `index.json`: one for each name; one without a name if there is none."""
    if not names:
        return [descriptor]
    return [descriptor.with_annotations({IMAGE_NAME: str(name), REF_NAME: _reference_name(name)}) for name in names]


def _reference_name(name: ImageReference) -> str:
    """The tag, or what else OCI's grammar allows here (containerd: `core/images/archive/reference.go`)."""
    return name.tag + (f"@{name.digest}" if name.digest else "") if name.tag else str(name)


def _epoch_of(result: TargetResult, given: Epoch | None) -> int | None:
    """The output's own, else the build's."""
    return result.epoch if given is None else given.seconds


def _title(output: Output) -> str:
    """What BuildKit calls its vertices."""
    match output:
        case ImageOutput():
            return "exporting to image"
        case ArchiveOutput():
            return f"exporting to {output.format} image format"
        case LocalOutput():
            return "exporting to client directory"
        case TarOutput():
            return "exporting to client tarball"
        case CacheOnly():
            return "no export"


def _together(parts: list[Exported]) -> Exported:
    """The outputs of one target as one: an image counts before a tree, later metadata before earlier."""
    metadata: dict[str, Any] = {}
    for part in parts:
        metadata |= part.metadata
    image = next((part for part in reversed(parts) if part.descriptor), None)
    return Exported(
        descriptor=image.descriptor if image else None,
        written=tuple(line for part in parts for line in part.written),
        metadata=metadata,
        size=image.size if image else sum(part.size for part in parts),
    )
