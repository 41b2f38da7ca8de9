"""Work that several ask for and that is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import field
from typing import Generic, TypeVar

import anyio

from bakepy.model.value import dataclass

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Flight(Generic[V]):
    landed: anyio.Event = field(default_factory=anyio.Event)
    values: list[V] = field(default_factory=list)
    error: Exception | None = None


class Once(Generic[K, V]):
    """By key: the first to ask does the work, those who ask meanwhile or later get its result or its error.

    If the one at work is cancelled, one of those who wait takes over.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def get(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.error is not None:
                raise flight.error
            if flight.values:
                return flight.values[0]
        flight = self._flights[key] = _Flight()
        try:
            flight.values.append(await work())
        except Exception as error:
            flight.error = error
            raise
        finally:
            if not flight.values and flight.error is None:
                del self._flights[key]
            flight.landed.set()
        return flight.values[0]
