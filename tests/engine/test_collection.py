"""When a state root has become too large for its disk."""

from __future__ import annotations

import pytest

from bakepy.engine.collection import Disk, Limits

GB = 10**9


@pytest.mark.parametrize(
    ("disk", "held", "keep"),
    [
        (Disk(1000 * GB, 500 * GB), 90 * GB, 90 * GB),
        (Disk(1000 * GB, 500 * GB), 130 * GB, 100 * GB),  # no more than 100 GB
        (Disk(100 * GB, 30 * GB), 50 * GB, 50 * GB),
        (Disk(100 * GB, 20 * GB), 80 * GB, 80 * GB),
        (Disk(100 * GB, 5 * GB), 50 * GB, 35 * GB),  # a fifth is to be free
        (Disk(100 * GB, 0), 25 * GB, 10 * GB),  # a tenth is ours even so
        (Disk(100 * GB, 0), 8 * GB, 8 * GB),
    ],
)
def test_limits_by_default(disk: Disk, held: int, keep: int) -> None:
    limits = Limits.chosen({}, disk)
    assert limits is not None
    assert limits.keep(held, disk) == keep
    assert limits.may_be_exceeded(disk) or keep == held


def test_chosen_limits() -> None:
    disk = Disk(100 * GB, 0)
    limits = Limits.chosen({"BAKEPY_KEEP_STORAGE": "2m"}, disk)
    assert limits == Limits(2 << 20)
    assert limits.keep(GB, disk) == 2 << 20
    assert Limits.chosen({"BAKEPY_KEEP_STORAGE": "off"}, disk) is None
