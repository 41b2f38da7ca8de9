"""Registered devices: which ones a name means, who has to allow them, and what they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bakepy.errors import BuildError, EngineError
from bakepy.llb.op import CDIDevice
from bakepy.worker.cdi import Edits, chosen, registered

ALL = frozenset({"device"})
NONE: frozenset[str] = frozenset()


def write(path: Path, kind: str, *names: str, **more: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    devices = [{"name": name, "containerEdits": {"env": [f"D={name}"]}} for name in names]
    path.write_text(json.dumps({"cdiVersion": "0.8.0", "kind": kind, "devices": devices, **more}))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two devices of one kind, one with a class, and things that register none."""
    etc, run = tmp_path / "etc", tmp_path / "run"
    write(etc / "gpu.json", "v.com/gpu", "0", "1")
    write(etc / "class.yaml", "w.com/net", "a", annotations={"org.mobyproject.buildkit.device.class": "fast"})
    (etc / "broken.json").write_text("{")
    (etc / "broken.yaml").write_text("a: [")
    (etc / "list.json").write_text("[]")
    (etc / "notes.txt").write_text("")
    run.mkdir()
    return etc, run


def names(folders: tuple[Path, Path], *wanted: str, allowed: frozenset[str] = ALL, optional: bool = False) -> list[str]:
    devices = registered(folders)
    return [device.name for device in chosen([CDIDevice(name, optional) for name in wanted], allowed, devices)]


def test_what_is_registered(folders: tuple[Path, Path]) -> None:
    assert list(registered(folders)) == ["v.com/gpu=0", "v.com/gpu=1", "w.com/net=a"]
    assert registered([folders[0] / "nowhere"]) == {}


def test_a_later_folder_wins_and_a_name_twice_in_one_is_none(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "gpu.json", "v.com/gpu", "1")
    write(folders[1] / "one.json", "z.com/z", "1")
    write(folders[1] / "two.json", "z.com/z", "1")
    found = registered(folders)
    assert list(found) == ["v.com/gpu=0", "v.com/gpu=1", "w.com/net=a"]
    assert found["v.com/gpu=1"].file == folders[1] / "gpu.json"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("v.com/gpu", ["v.com/gpu=0"]),
        ("v.com/gpu=1", ["v.com/gpu=1"]),
        ("v.com/gpu=*", ["v.com/gpu=0", "v.com/gpu=1"]),
        ("fast", ["w.com/net=a"]),
    ],
)
def test_which_device_a_name_means(folders: tuple[Path, Path], wanted: str, found: list[str]) -> None:
    assert names(folders, wanted) == found


def test_a_device_that_is_not_registered(folders: tuple[Path, Path]) -> None:
    assert names(folders, "v.com/gpu=7", optional=True) == []
    with pytest.raises(BuildError) as raised:
        names(folders, "v.com/gpu=7")
    assert str(raised.value) == (
        'required device "v.com/gpu=7" is not registered\nhint: registered are v.com/gpu=0, v.com/gpu=1, w.com/net=a'
    )


def test_devices_have_to_be_allowed(folders: tuple[Path, Path]) -> None:
    with pytest.raises(BuildError) as raised:
        names(folders, "v.com/gpu=*", allowed=NONE)
    assert str(raised.value) == (
        "devices v.com/gpu=0, v.com/gpu=1 are requested by the build but not allowed\n"
        "hint: --allow device=v.com/gpu=0 --allow device=v.com/gpu=1"
    )
    with pytest.raises(BuildError, match=r"^device v.com/gpu=1 is requested by the build but not allowed\n"):
        names(folders, "v.com/gpu=*", allowed=frozenset({"device=v.com/gpu=0"}))
    assert names(folders, "v.com/gpu", allowed=frozenset({"device=v.com/gpu"})) == ["v.com/gpu=0"]
    assert names(folders, "mine", allowed=frozenset({"device=v.com/gpu=1,alias=mine"})) == ["v.com/gpu=1"]


def test_a_device_may_allow_itself(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "free.json", "f.com/f", "1", annotations={"org.mobyproject.buildkit.device.autoallow": "true"})
    assert names(folders, "f.com/f", allowed=NONE) == ["f.com/f=1"]


def config() -> dict[str, Any]:
    process = {"env": ["A=1", "D=x"], "user": {"uid": 5, "gid": 0, "additionalGids": [1]}}
    return {"process": process, "linux": {}, "mounts": [{"destination": "/m"}, {"destination": "/n"}]}


def applied(folder: Path, *devices: dict[str, Any], common: dict[str, Any] | None = None) -> dict[str, Any]:
    path = folder / "spec.json"
    listed = [{"name": str(number), "containerEdits": edits} for number, edits in enumerate(devices)]
    path.write_text(json.dumps({"kind": "v.com/x", "devices": listed, "containerEdits": common or {}}))
    changed = config()
    Edits.of(registered([folder]).values()).apply(changed)
    return changed


def test_what_is_common_to_devices_of_a_file_is_done_once(tmp_path: Path) -> None:
    changed = applied(
        tmp_path,
        {"env": ["D=0"], "mounts": [{"hostPath": "/h", "containerPath": "/m"}], "additionalGids": [1, 7]},
        {"env": ["E=1"]},
        common={"hooks": [{"hookName": "createContainer", "path": "/hook", "args": ["hook", "x"]}]},
    )
    assert changed["process"] == {
        "env": ["A=1", "D=0", "E=1"],
        "user": {"uid": 5, "gid": 0, "additionalGids": [1, 7]},
    }
    assert changed["mounts"] == [
        {"destination": "/n"},
        {"destination": "/m", "type": "bind", "source": "/h", "options": ["rbind"]},
    ]
    assert changed["hooks"] == {"createContainer": [{"path": "/hook", "args": ["hook", "x"]}]}


def test_nodes_are_as_they_are_written_or_else_as_the_machine_has_them(tmp_path: Path) -> None:
    changed = applied(
        tmp_path,
        {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null", "permissions": "r"}]},
        {"deviceNodes": [{"path": "/dev/b", "type": "c", "major": 9, "minor": 8, "fileMode": 0o600, "uid": 0}]},
    )
    assert changed["linux"] == {
        "devices": [
            {"path": "/dev/a", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 5},
            {"path": "/dev/b", "type": "c", "major": 9, "minor": 8, "fileMode": 0o600, "uid": 0},
        ],
        "resources": {
            "devices": [
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
                {"allow": True, "type": "c", "major": 9, "minor": 8, "access": "rwm"},
            ]
        },
    }


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"deviceNodes": [{"path": "/dev/nothing-here"}]}, "device /dev/nothing-here: no such file or directory"),
        ({"deviceNodes": [{"path": "/etc"}]}, "device /etc: it is none, or one of another type"),
        ({"mounts": [{}]}, "a device is registered in a way that makes no sense: KeyError('containerPath')"),
    ],
)
def test_devices_that_can_not_be_given(tmp_path: Path, edits: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError) as raised:
        applied(tmp_path, edits)
    assert raised.value.what == message
