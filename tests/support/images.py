"""An image resolver that knows images from a dict and counts what it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import anyio

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.errors import RegistryError
from bakepy.model.digest import Digest
from bakepy.model.image_config import ContainerConfig, ImageConfig
from bakepy.model.platform import host_platform
from bakepy.model.target import Target


class MemoryImages:
    """Every image of `names` exists for every platform; `most` tells how many were asked for at the same time."""

    def __init__(self, *names: str, config: ContainerConfig | None = None) -> None:
        self._names = {f"docker.io/library/{name}:latest" for name in names}
        self._config = config or ContainerConfig(env=("PATH=/bin",))
        self._now = 0
        self.most = 0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.layouts: dict[str, str] = {}

    async def __call__(
        self, request: ImageRequest, layouts: Mapping[str, str], targets: Sequence[Target]
    ) -> ResolvedImageConfig:
        self._now += 1
        self.most = max(self.most, self._now)
        platform = request.platform or host_platform()
        self.asked[request.reference, str(platform)] += 1
        self.layouts |= layouts
        await anyio.lowlevel.checkpoint()
        self._now -= 1
        if not request.store and request.reference not in self._names:
            raise RegistryError(f"{request.reference}: not found")
        digest = Digest.of(request.reference.encode())
        return ResolvedImageConfig(digest, ImageConfig(platform, self._config, diff_ids=(digest,)))
