"""Layers that want to get out, and overlayfs's marks for what layers delete."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import stat
import tarfile
from pathlib import Path

import pytest

from bakepy.content.layer import LayerReader
from bakepy.errors import BuildError
from bakepy.snapshot.unpack import Unpacker
from tests.support.trees import Member, file_member, member, tar_bytes

pytestmark = pytest.mark.runtime

Members = list[Member]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def unpack(root: Path, members: Members, *, mark: bool = True) -> list[bytes]:
    with LayerReader(io.BytesIO(tar_bytes(members))) as reader, Unpacker(root, mark=mark) as unpacker:
        unpacker.apply(reader)
        return unpacker.implied


def is_whiteout(path: Path) -> bool:
    facts = path.lstat()
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_facts_of_every_kind_are_kept(root: Path) -> None:
    unpack(
        root,
        [
            member("d", tarfile.DIRTYPE, mode=0o2755, mtime=11, uid=1, gid=2),
            file_member("d/f", b"text", mode=0o4711),
            member("d/l", tarfile.SYMTYPE, link="f", mtime=12, uid=3, gid=4),
            member("d/h", tarfile.LNKTYPE, link="d/f"),
            member("d/p", tarfile.FIFOTYPE, mode=0o600, mtime=13),
        ],
    )
    folder, file, link = (root / "d").stat(), (root / "d/f").stat(), (root / "d/l").lstat()
    assert (folder.st_mode & 0o7777, folder.st_uid, folder.st_gid, folder.st_mtime) == (0o2755, 1, 2, 11)
    assert (file.st_mode & 0o7777, file.st_nlink, file.st_mtime) == (0o4711, 2, 1000)
    assert (link.st_uid, link.st_gid, link.st_mtime) == (3, 4, 12)
    assert stat.S_ISFIFO((root / "d/p").stat().st_mode)


@pytest.mark.parametrize(
    "members",
    [
        [file_member("../outside/f", b"evil")],
        [file_member("/../../outside/f", b"evil")],
        [member("s", tarfile.SYMTYPE, link="../outside"), file_member("s/f", b"evil")],
        [member("s", tarfile.SYMTYPE, link="/../outside"), file_member("s/f", b"evil")],
        [
            member("a", tarfile.SYMTYPE, link="b"),
            member("b", tarfile.SYMTYPE, link=".."),
            file_member("a/outside/f", b"evil"),
        ],
        [member("f", tarfile.SYMTYPE, link="../outside/f"), file_member("f", b"evil")],
        [member("d", tarfile.DIRTYPE), member("d", tarfile.SYMTYPE, link="../outside"), file_member("d/f", b"evil")],
        [member("s", tarfile.SYMTYPE, link="../outside"), member("s/.wh.kept")],
    ],
)
@pytest.mark.parametrize("mark", [True, False])
def test_nothing_is_written_or_deleted_outside(root: Path, members: Members, mark: bool) -> None:
    outside = root.parent / "outside"
    (outside / "kept").write_text("kept")
    with contextlib.suppress(BuildError):  # refusing is as good as keeping it inside
        unpack(root, members, mark=mark)
    assert names(outside) == ["kept"]
    assert (outside / "kept").read_text() == "kept"


def test_hard_link_does_not_reach_outside(root: Path) -> None:
    secret = root.parent / "outside/secret"
    secret.write_text("secret")
    with pytest.raises(BuildError, match="layer can not be unpacked: h: No such file or directory"):
        unpack(root, [member("h", tarfile.LNKTYPE, link="../outside/secret")])
    with pytest.raises(BuildError, match="layer can not be unpacked: i: No such file or directory"):
        unpack(
            root,
            [
                member("s", tarfile.SYMTYPE, link="../outside"),
                member("i", tarfile.LNKTYPE, link="s/secret"),
            ],
        )
    assert secret.stat().st_nlink == 1


def test_file_in_place_of_a_folder_is_an_error_for_what_is_below(root: Path) -> None:
    with pytest.raises(BuildError, match="layer can not be unpacked: f/g: Not a directory"):
        unpack(root, [file_member("f", b""), file_member("f/g", b"")])


def test_whiteout_becomes_a_mark(root: Path) -> None:
    assert unpack(root, [member("d", tarfile.DIRTYPE), member("d/.wh.gone"), member(".wh.x")]) == []
    assert is_whiteout(root / "d/gone")
    assert is_whiteout(root / "x")


def test_whiteout_does_not_hide_what_the_layer_brings_itself(root: Path) -> None:
    unpack(root, [file_member("f", b"new"), member(".wh.f"), member(".wh.g"), file_member("g", b"new")])
    assert (root / "f").read_text() == (root / "g").read_text() == "new"


def test_folder_that_replaces_a_deleted_one_is_opaque(root: Path) -> None:
    unpack(root, [member(".wh.d"), member("d", tarfile.DIRTYPE, mode=0o755), file_member("d/f", b"")])
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"


def test_opaque_marker_becomes_an_attribute(root: Path) -> None:
    unpack(root, [member("d", tarfile.DIRTYPE, mode=0o755), file_member("d/f", b""), member("d/.wh..wh..opq")])
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"
    assert names(root) == ["d", "d/f"]


def test_without_marks_deletions_take_effect(root: Path) -> None:
    for name in ("d/old", "d/sub/deep", "x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    unpack(root, [member(".wh.x"), file_member("d/new", b""), member("d/.wh..wh..opq")], mark=False)
    assert names(root) == ["d", "d/new"]


def test_overlay_attributes_of_a_layer_are_not_taken_over(root: Path) -> None:
    info = member("d", tarfile.DIRTYPE)
    info.pax_headers = {
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.note": "kept",
    }
    unpack(root, [info])
    assert os.listxattr(root / "d") == ["user.note"]


def test_missing_parents_are_told(root: Path) -> None:
    assert unpack(root, [file_member("a/b/f", b""), member("a", tarfile.DIRTYPE, mode=0o711)]) == [b"a/b"]
    assert [(root / name).stat().st_mode & 0o7777 for name in ("a", "a/b")] == [0o711, 0o755]


def test_folder_replaced_by_a_link_inside_leads_there(root: Path) -> None:
    unpack(
        root,
        [
            member("real", tarfile.DIRTYPE, mode=0o755),
            member("d", tarfile.DIRTYPE, mode=0o755),
            file_member("d/one", b"1"),
            member("d", tarfile.SYMTYPE, link="real"),
            file_member("d/two", b"2"),
        ],
    )
    assert names(root) == ["d", "real", "real/two"]


def test_what_the_machine_refuses_is_no_fault_of_a_layer(root: Path) -> None:
    layer = io.BytesIO(tar_bytes([file_member("f", b"text")]))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LayerReader(layer) as reader, Unpacker(root, mark=True) as unpacker:
        lowest = os.dup(0)
        os.close(lowest)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            with pytest.raises(OSError, match="Too many open files"):
                unpacker.apply(reader)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
