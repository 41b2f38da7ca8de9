"""What lowering must know about images, asked for and given as values: lowering itself never waits."""

from __future__ import annotations

from collections.abc import Iterable

from bakepy.model.digest import Digest
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Which image's config is wanted.

    `reference` is normalised and has a tag or a digest. `platform` None: the engine's own. `mode` is `default`, `pull`
    or `local`. `store` is not empty for OCI layouts: the name of the layout, `reference` then holds the digest.
    """

    reference: str
    platform: Platform | None
    mode: str = "default"
    store: str = ""

    @property
    def identifier(self) -> str:
        """As a source identifier."""
        return f"{'oci-layout' if self.store else 'docker-image'}://{self.reference}"


@dataclass(frozen=True, slots=True)
class ResolvedImageConfig:
    """`digest` is what the reference points to (an index or a manifest). `reference` replaces the one asked for."""

    digest: Digest | None
    config: ImageConfig
    reference: str = ""


class MissingImages(Exception):
    """These image configs are needed before the plan can be made."""

    def __init__(self, requests: Iterable[ImageRequest]) -> None:
        super().__init__()
        self.requests = tuple(dict.fromkeys(requests))
