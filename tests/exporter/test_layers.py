"""When layers are written, and with which times."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bakepy.content.compression import Compression
from bakepy.content.entry import Layer
from bakepy.errors import BuildError
from bakepy.exporter.layers import LayerOptions, Layers
from bakepy.exporter.once import Once
from tests.support.results import NOON, NOON_TEXT, House, open_house, tar_of

pytestmark = pytest.mark.anyio

OLD, EPOCH, NEW = 1_500_000_000, 1_600_000_500, 1_700_000_000
GZIP = LayerOptions(Compression())


def layers(house: House) -> Layers:
    return Layers(house.content, house.snapshots, house.database, now_ns=lambda: NOON, wrote=house.compressed.append)


def times(house: House, layer: Layer) -> dict[str, float]:
    plain = gzip.decompress(house.content.read(layer.descriptor.digest))
    return {name: member.mtime for name, member in tar_of(plain).items()}


def old_and_new(root: Path) -> None:
    for name, time in (("old", OLD), ("new", NEW), (".wh.kept", NEW)):
        (root / name).write_text(name)
        os.utime(root / name, (time, time))


async def test_a_layer_is_written_once_in_a_run_and_once_for_good(house: House) -> None:
    await house.snapshot("s1", {"a": "1"})
    both = layers(house)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(both.of, "s1", GZIP, {})
    first = await both.of("s1", GZIP, {})
    assert await layers(house).of("s1", GZIP, {}) == first
    assert house.compressed == [first[0].layer]


async def test_each_compression_is_a_layer_of_its_own(house: House) -> None:
    await house.snapshot("s1", {"a": "1"})
    for compression in (Compression(), Compression("zstd"), Compression("gzip", 9), Compression("uncompressed")):
        await layers(house).of("s1", LayerOptions(compression), {})
    assert len({layer.descriptor.digest for layer in house.compressed}) == 4
    assert len({layer.diff_id for layer in house.compressed}) == 1


async def test_a_blob_that_went_away_is_written_again(house: House) -> None:
    await house.snapshot("s1", {"a": "1"})
    (first,) = await layers(house).of("s1", GZIP, {})
    house.content.delete(first.layer.descriptor.digest)
    assert await layers(house).of("s1", GZIP, {}) == (first,)
    assert len(house.compressed) == 2


async def test_newer_times_become_the_epoch_on_request(house: House) -> None:
    await house.snapshot("s1", old_and_new)
    (plain,) = await layers(house).of("s1", GZIP, {})
    (rewritten,) = await layers(house).of("s1", LayerOptions(Compression(), epoch=EPOCH), {})
    assert times(house, plain.layer) == {"old": OLD, "new": NEW, ".wh.kept": NEW}
    assert times(house, rewritten.layer) == {"old": OLD, "new": EPOCH, ".wh.kept": EPOCH}
    assert [plain.epoch, rewritten.epoch] == [None, EPOCH]


async def test_times_in_layers_of_the_base_are_never_rewritten(house: House) -> None:
    base = house.base_layer("base", {"bin": "x"})
    (found,) = await layers(house).of("base", LayerOptions(Compression(), epoch=5), {})
    assert (found.layer, found.epoch) == (base, None)


async def test_a_layer_keeps_its_date(state_root: Path) -> None:
    async with open_house(state_root) as house:
        await house.snapshot("s1", {"a": "1"})
        await house.snapshot("s2", {"b": "1"}, parent="s1")
        first = await layers(house).of("s1", GZIP, {})
    async with open_house(state_root) as house:
        later = Layers(house.content, house.snapshots, house.database, now_ns=lambda: NOON + 10**9)
        found = await later.of("s2", GZIP, {"s2": "RUN b"})
    assert [layer.created for layer in (*first, *found)] == [NOON_TEXT, NOON_TEXT, "2023-11-14T22:13:21Z"]
    assert [layer.step for layer in found] == ["", "RUN b"]


async def test_a_forced_layer_must_have_its_diff_id(house: House) -> None:
    layer = house.base_layer("base", {"bin": "x"})
    wrong = Layer(layer.descriptor, house.base_layer("other", {"bin": "y"}).diff_id)
    house.snapshots.add_lazy("bad", None, wrong, "docker-image://registry.test/base")
    with pytest.raises(BaseExceptionGroup) as caught:
        await layers(house).of("bad", LayerOptions(Compression("zstd"), force=True), {})
    (error,) = caught.value.exceptions
    assert isinstance(error, BuildError)
    assert error.what == (f"layer {layer.descriptor.digest} has diff ID {layer.diff_id}, {wrong.diff_id} was expected")


async def test_once_gives_everyone_the_same_error() -> None:
    once: Once[str, int] = Once()
    calls: list[str] = []

    async def fail() -> int:
        calls.append("fail")
        await anyio.lowlevel.checkpoint()
        raise BuildError("no")

    caught: list[str] = []

    async def ask() -> None:
        try:
            await once.get("key", fail)
        except BuildError as error:
            caught.append(error.what)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert (calls, caught) == (["fail"], ["no"] * 3)


async def test_once_goes_on_when_the_first_is_cancelled() -> None:
    once: Once[str, int] = Once()
    started = anyio.Event()
    results: list[int] = []

    async def slow() -> int:
        started.set()
        await anyio.sleep_forever()
        return 0

    async def quick() -> int:
        return 1

    async def second() -> None:
        results.append(await once.get("key", quick))

    async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
        inner.start_soon(once.get, "key", slow)
        await started.wait()
        outer.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
    assert results == [1]
