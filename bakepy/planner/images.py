"""Images that are looked up one by one, several at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import anyio

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.errors import BakeError
from bakepy.model.target import Target

if TYPE_CHECKING:
    from bakepy.planner.compiling import ImageResolver, ResolvedImages


class OneImageResolver(Protocol):
    """Finds out what one image reference points to."""

    async def __call__(
        self, request: ImageRequest, layouts: Mapping[str, str], targets: Sequence[Target]
    ) -> ResolvedImageConfig:
        """The digest and the config. Raises BakeError (RegistryError, …)."""
        ...


def side_by_side(resolve: OneImageResolver) -> ImageResolver:
    """Asks `resolve` for all images at the same time."""

    async def all_of(wanted: Mapping[ImageRequest, Sequence[Target]], layouts: Mapping[str, str]) -> ResolvedImages:
        found: dict[ImageRequest, ResolvedImageConfig | BakeError] = {}

        async def one(request: ImageRequest, targets: Sequence[Target]) -> None:
            try:
                found[request] = await resolve(request, layouts, targets)
            except BakeError as error:
                found[request] = error

        async with anyio.create_task_group() as tasks:
            for request, targets in wanted.items():
                tasks.start_soon(one, request, targets)
        return found

    return all_of
