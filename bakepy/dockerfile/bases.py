"""What stages begin with: images, the contexts that replace them, nothing."""

from __future__ import annotations

from collections.abc import Mapping

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, raise_all
from bakepy.dockerfile.images import ImageRequest, MissingImages, ResolvedImageConfig
from bakepy.dockerfile.lower.contexts import find_context, load_context
from bakepy.dockerfile.lower.image import ImageDraft, empty_image
from bakepy.dockerfile.lower.names import next_step, step_name
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.lower.sources import description, image_source
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.paths import join
from bakepy.dockerfile.reader import MAX_ERRORS
from bakepy.dockerfile.stages import StageTable
from bakepy.dockerfile.text import quote
from bakepy.errors import BakeError, nearest
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference

_SEARCHED = 1000
"""Stages at most among which the nearest name is looked for: each of a hundred errors may ask."""


class Bases:
    """Resolves the bases of the stages in `table`. `used` are the image configs that this rests on."""

    def __init__(
        self,
        table: StageTable,
        options: LowerOptions,
        target_platform: Platform,
        images: Mapping[ImageRequest, ResolvedImageConfig | BakeError],
        checker: Checker,
    ) -> None:
        self.table, self.options, self.target_platform = table, options, target_platform
        self.images, self.checker = images, checker
        self.references: dict[str, ImageReference] = {}
        self.used: dict[ImageRequest, ResolvedImageConfig | BakeError] = {}
        self.nothing = ImageDraft.of(empty_image(target_platform))

    def resolve(self, needed: Mapping[StageState, None]) -> None:
        """Finds the base of every stage that has none among the stages; checks the names of all. Raises MissingImages
        (call again when there are more of them), DockerfileError, DefinitionErrors."""
        missing: list[ImageRequest] = []
        errors: list[DockerfileError] = []
        put_off: list[tuple[StageState, str, int]] = []
        for state in self.table.states:
            if state.base is not None or state.dispatched or state.resolved:
                continue
            state.resolved = wanted = state in needed or self.options.all_stages
            if state.base_name == "scratch" and state.context is None:
                state.node = None
                # one for all those that no stage is built on, and there may be one for each cache mount
                state.image = self.nothing.copy() if state.registered else self.nothing
                state.platform = self.target_platform
                state.dispatched = not state.registered
                continue
            written, step = state.base_name, state.step
            if not wanted and state.registered:
                put_off.append((state, written, step))
            try:
                self._resolve_base(state, wanted)
            except MissingImages as asked:
                missing += asked.requests
                state.resolved, state.base_name = False, written
            except DockerfileError as error:
                state.resolved, state.base_name = False, written  # told again if nothing is missing
                if error.where is None and state.head:
                    error.where = state.head.statement.find(state.head.base)
                errors.append(error.at(state.location))
                if len(errors) >= MAX_ERRORS:
                    break
            else:
                state.dispatched = state.dispatched or not state.registered
        if not missing:
            raise_all(errors)
            return
        for state, written, step in put_off:  # all of this is done again
            state.base_name, state.step = written, step
        raise MissingImages(missing)

    def _resolve_base(self, state: StageState, wanted: bool) -> None:
        written = state.base_name
        try:
            reference = self._reference(written)
        except BakeError as error:
            names = [stage.label for stage in self.table.states[:_SEARCHED] if stage.label]
            what = f"failed to parse stage name {quote(written)}: {error.what}"
            same = [name for name in names if name.lower() == written.lower()]
            hint = f"the stage is called '{same[0].lower()}'" if same else nearest(written, names) or error.hint
            hint = hint or _image_hint(written)
            raise DockerfileError(what, hint=hint) from error
        platform = state.platform or self.target_platform
        state.base_name = str(reference)
        if not wanted:  # perhaps a trigger needs it later; its step has a number already then
            if state.registered:
                state.step += state.steps > 0
            else:  # nobody asks for an image of a `--from` again: whoever fetches it resolves its name
                state.node, state.state_platform = self._image_node(state, platform), platform.normalized()
            state.platform = platform
        elif state.context is not None:
            self._replace_stage(state)
        else:
            self._enter_base(state, reference, platform, written)

    def _reference(self, written: str) -> ImageReference:
        known = self.references.get(written)
        if known is None:
            known = self.references[written] = ImageReference.parse(written).with_default_tag()
        return known

    def _enter_base(self, state: StageState, reference: ImageReference, platform: Platform, written: str) -> None:
        """Begins the stage with its base image, or with the context that replaces the image."""
        found = find_context(self.options, state.base_name, platform)
        if found is not None:
            loaded = load_context(
                *found,
                options=self.options,
                platform=platform,
                target_platform=self.target_platform,
                owner=state,
                resolve=self._image,
            )
            image = loaded.image or empty_image(platform)
            state.base_image = image
            state.image = ImageDraft.of(image)
            state.node = loaded.node
            state.platform, state.state_platform = platform, platform.normalized()
            return
        if not self._resolve_image(state, reference, platform):
            state.platform = platform  # as FROM scratch, with the image's config
            return
        state.node = self._image_node(state, platform)
        state.state_platform = platform.normalized()
        if state.base_image is not None:
            self._check_platform(written, platform, state.base_image.platform, state)
        state.platform = platform

    def _replace_stage(self, state: StageState) -> None:
        """A context of the stage's name: what the Dockerfile says about the stage does not count."""
        assert state.context is not None
        loaded = load_context(
            *state.context,
            options=self.options,
            platform=state.context_platform or self.options.platform,
            target_platform=self.target_platform,
            owner=state,
            resolve=self._image,
        )
        state.dispatched = True
        state.node, state.state_platform = loaded.node, loaded.platform
        if (image := loaded.image) is not None:
            state.image = ImageDraft.of(image)
            for name, value in state.image.env.items():
                if name:
                    state.env.put(name, value)
            state.dir = image.config.working_dir or "/"
            if not state.dir.startswith("/"):
                state.dir = join("/", state.dir)
            if image.platform.os and image.platform.architecture:
                state.platform = image.platform

    def _image(self, request: ImageRequest) -> ResolvedImageConfig:
        found = self.images.get(request)
        if found is None:
            raise MissingImages([request])
        self.used[request] = found
        if isinstance(found, BakeError):
            raise DockerfileError(found.what, hint=found.hint, detail=found.detail) from found
        return found

    def _resolve_image(self, state: StageState, reference: ImageReference, platform: Platform) -> bool:
        """Takes over the image's config; False if there is nothing in the image."""
        resolved = self._image(ImageRequest(state.base_name, platform, self.options.resolve_mode))
        if resolved.reference:
            reference = ImageReference.parse(resolved.reference)
        if resolved.digest:
            reference = reference.with_digest(resolved.digest)
        state.base_name = str(reference)
        state.base_image = resolved.config
        state.image = ImageDraft.of(resolved.config)
        # images of the first manifest version tell no layers, but have a history
        return bool(resolved.config.diff_ids) or not all(entry.empty_layer for entry in resolved.config.history)

    def _image_node(self, state: StageState, platform: Platform) -> Node:
        state.step = next_step(state)
        text = f"FROM {state.base_name}"
        name = step_name(state, text, platform if self.options.multi_platform else None, {}, state.step)
        code = state.head.code if state.head else ""
        return image_source(
            state.base_name, platform, description(name, code), state.location, mode=self.options.resolve_mode
        )

    def _check_platform(self, name: str, wanted: Platform, given: Platform, state: StageState) -> None:
        if (wanted.os, wanted.architecture) != (given.os, given.architecture):
            message = (
                f'Base image {name} was pulled with platform "{given.normalized()}", '
                f'expected "{wanted.normalized()}" for current build'
            )
            self.checker.warn("InvalidBaseImagePlatform", message, state.location)


def _image_hint(written: str) -> str:
    if written != written.lower():
        return "names of images are lower case"
    if written.endswith(":"):
        return "the tag is empty; give the variable in it a default: ARG NAME=VALUE above FROM"
    return "as in alpine, alpine:3.20 or registry.test:5000/team/app@sha256:…"
