"""Shows nothing while the build runs."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bakepy.events import Event


class QuietDisplay:
    """Takes every event and says nothing."""

    def __call__(self, event: Event) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
