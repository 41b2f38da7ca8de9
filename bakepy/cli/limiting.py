"""The limits of a run: what `--pool` and `--memory-budget` say, over what the bake file says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bakepy.errors import DefinitionError, DefinitionErrors, UsageError, nearest
from bakepy.model.size import parse_size
from bakepy.model.target import BakeFile

BUILT_IN: Final = ("exec", "bytes", "network")
"""Pools that every step of that kind is in: processes, work on files, transfers."""


def pool_limits(bake: BakeFile, flags: Iterable[str]) -> Mapping[str, int]:
    """The places of each pool. Raises UsageError for flags that can not be read, DefinitionError(s) for targets in a
    pool that has no number."""
    limits = dict(bake.pools)
    for text in flags:
        name, equals, number = text.partition("=")
        if not name or not equals or not (number.isascii() and number.isdecimal()) or int(number) < 1:
            raise UsageError(f"--pool {text}: expected NAME=N", hint="as in --pool link=2")
        limits[name] = int(number)
    errors = [
        DefinitionError(
            f"the pool '{name}' has no number of places",
            where=target.where(f"pools[{position}]"),
            path=f"target.{target.name}.pools",
            hint=nearest(name, limits) or f"write [pools] {name} = 2 in bake.toml, or give --pool {name}=2",
        )
        for target in bake.targets.values()
        for position, name in enumerate(target.pools)
        if name not in limits and name not in BUILT_IN
    ]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)
    return limits


def idle_pools(bake: BakeFile, flags: Iterable[str]) -> Iterator[str]:
    """What to say of flags that limit nothing in this run."""
    used = {name for target in bake.targets.values() for name in target.pools}
    for text in flags:
        name = text.partition("=")[0]
        if name not in used and name not in bake.pools and name not in BUILT_IN:
            yield f"--pool {text}: no target of this run is in that pool"


def memory_budget(text: str) -> int | None:
    """Bytes of `--memory-budget`; None if it is empty. Raises UsageError."""
    if not text:
        return None
    try:
        budget = parse_size(text)
    except ValueError:
        budget = 0
    if budget < 1:
        raise UsageError(f"--memory-budget {text}: expected a size", hint="as in 8g or 512m")
    return budget
