"""The journal of a run: what is found in it after an end, a kill, and while the run lasts."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from bakepy.progress import journal
from bakepy.progress.journal import Journal, Past, last

HERE, ELSEWHERE = Path("/here"), Path("/elsewhere")


def _begin(root: Path, directory: Path = HERE, now: float = 1000.0, **facts: object) -> Journal:
    made = Journal(root, lambda: now)
    made.begin(directory=directory, request={"targets": ["web"]}, targets=["web", "api"], **facts)  # type: ignore[arg-type]
    return made


def test_a_run_that_ended(state_root: Path) -> None:
    with _begin(state_root) as run:
        run.target("web", "failed", error="no")
        run.target("web", "succeeded", size=7)
        run.target("api", "cancelled")
        run.published(["shop/web:1"])
        run.end(143)
    past = last(state_root, HERE)
    assert past == Past(
        id=run.id,
        directory="/here",
        request={"targets": ["web"]},
        withheld=(),
        began=1000.0,
        targets=("web", "api"),
        ended={
            "web": {"kind": "target", "time": 1000.0, "target": "web", "outcome": "succeeded", "size": 7},
            "api": {"kind": "target", "time": 1000.0, "target": "api", "outcome": "cancelled"},
        },
        status=143,
        alive=False,
    )
    assert past.succeeded == {"web"}


def test_the_last_run_of_a_folder_is_found(state_root: Path) -> None:
    for now, directory in ((1.0, HERE), (2.0, HERE), (3.0, ELSEWHERE)):
        with _begin(state_root, directory, now) as run:
            run.end(0)
    found = last(state_root, HERE)
    assert found is not None
    assert found.began == 2.0
    assert last(state_root, Path("/nowhere")) is None
    assert last(state_root / "none", HERE) is None


def test_a_line_that_a_kill_cut_is_passed_over(state_root: Path) -> None:
    with _begin(state_root) as run:
        run.target("web", "succeeded")
        run.target("api", "succeeded")
    path = state_root / "runs" / f"{run.id}.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    found = last(state_root, HERE)
    assert found is not None
    assert found.status is None
    assert found.succeeded == {"web"}


def test_a_run_that_lasts_is_alive(state_root: Path) -> None:
    with _begin(state_root):
        found = last(state_root, HERE)
        assert found is not None and found.alive
    found = last(state_root, HERE)
    assert found is not None and not found.alive


def test_what_is_carried_over_counts_as_of_this_run(state_root: Path) -> None:
    with _begin(state_root, now=1.0) as first:
        first.target("web", "succeeded", size=7)
    found = last(state_root, HERE)
    assert found is not None
    with _begin(state_root, now=2.0, began=1.0) as second:
        second.carry(found.ended["web"])
    found = last(state_root, HERE)
    assert found is not None
    assert (found.id, found.began, found.ended["web"]["size"]) == (second.id, 1.0, 7)


def test_a_line_that_has_no_room_is_an_error(state_root: Path) -> None:
    """A disk that becomes full takes the beginning of it and says nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with _begin(state_root) as run:
        size = (state_root / "runs" / f"{run.id}.jsonl").stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
            with pytest.raises(OSError, match="File too large"):
                run.target("web", "succeeded")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_nobody_else_may_read_it(state_root: Path) -> None:
    with _begin(state_root) as run:
        pass
    assert (state_root / "runs" / f"{run.id}.jsonl").stat().st_mode & 0o777 == 0o600


def test_old_ones_are_removed_but_none_that_is_written(state_root: Path) -> None:
    with _begin(state_root, now=1.0) as oldest:
        for number in range(journal.KEPT + 5):
            _begin(state_root, now=2.0 + number).__exit__(None, None, None)
        names = sorted(path.stem for path in (state_root / "runs").iterdir())
        assert len(names) == journal.KEPT + 1
        assert names[0] == oldest.id
