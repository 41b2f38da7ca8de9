"""The content store: whole blobs only, verified, and nothing left of dead writers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from bakepy.content.store import ContentStore, DamagedBlob
from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def test_blob_comes_back_under_its_digest(store: ContentStore) -> None:
    digest = store.put(b"hello")

    assert digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert (store.read(digest), store.size(digest)) == (b"hello", 5)
    assert store.path(digest) == store.root / "blobs" / "sha256" / digest.hex


def test_a_blob_cut_short_is_not_held_and_goes(store: ContentStore) -> None:
    digest = store.put(b"hello")
    descriptor = Descriptor("application/octet-stream", digest, 5)
    assert store.holds(descriptor)

    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"he")

    assert not store.holds(descriptor)
    assert not store.has(digest)
    assert not store.holds(descriptor)


def test_blob_is_invisible_until_it_is_committed(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.write(b"half")
        assert not store.has(Digest.of(b"half"))
        assert writer.commit() == (Digest.of(b"half"), 4)
        assert store.has(Digest.of(b"half"))


def test_writer_that_is_left_without_commit_leaves_nothing(store: ContentStore) -> None:
    with pytest.raises(ZeroDivisionError), store.writer() as writer:
        writer.write(b"half")
        raise ZeroDivisionError

    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize(
    ("digest", "size", "message"),
    [
        (Digest.of(b"other"), None, f"blob has digest {Digest.of(b'data')}, {Digest.of(b'other')} was expected"),
        (Digest.of(b"data"), 5, f"blob {Digest.of(b'data')} has 4 bytes, 5 were expected"),
    ],
)
def test_blob_that_is_not_what_was_expected_is_refused(
    store: ContentStore, digest: Digest, size: int | None, message: str
) -> None:
    with store.writer() as writer:
        writer.write(b"data")
        with pytest.raises(BakeError) as caught:
            writer.commit(digest, size)

    assert str(caught.value) == message
    assert not store.has(Digest.of(b"data"))


def test_restarted_writer_forgets_what_came_before(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.write(b"wrong and longer")
        writer.restart()
        writer.write(b"right")
        digest, _ = writer.commit()

    assert store.read(digest) == b"right"


def test_same_blob_may_be_committed_twice(store: ContentStore) -> None:
    with store.writer() as one, store.writer() as two:
        one.write(b"same")
        two.write(b"same")
        assert one.commit() == two.commit()

    assert list((store.root / "ingest").iterdir()) == []


def test_damaged_blob_is_an_error_and_is_removed(store: ContentStore) -> None:
    digest = store.put(b"hello")
    store.path(digest).write_bytes(b"hullo")

    with pytest.raises(BakeError) as caught:
        store.read(digest)

    assert caught.value.what == f"blob {digest} in the content store was damaged"
    assert not store.has(digest)


def test_a_blob_is_intact_until_it_is_damaged_and_is_looked_at_once(store: ContentStore) -> None:
    descriptor = Descriptor("application/octet-stream", store.put(b"hello"), 5)
    store.path(descriptor.digest).write_bytes(b"hullo")
    assert store.intact(descriptor)  # this store made it: it is not read again

    later = ContentStore(store.root)
    assert not later.intact(descriptor)
    assert not later.has(descriptor.digest)
    later.put(b"hello")
    assert later.intact(descriptor)
    later.delete(descriptor.digest)
    assert not later.intact(descriptor)


def test_a_blob_of_another_size_is_not_intact(store: ContentStore) -> None:
    digest = store.put(b"hello")
    assert not store.intact(Descriptor("application/octet-stream", digest, 6))
    assert not store.has(digest)


def test_right_bytes_take_the_place_of_damaged_ones(store: ContentStore) -> None:
    digest = store.put(b"hello")
    for mend in ("put", "writer"):
        store.path(digest).write_bytes(b"hullo")
        later = ContentStore(store.root)
        if mend == "put":
            later.put(b"hello")
        else:
            with later.writer() as writer:
                writer.write(b"hello")
                writer.commit(digest)
        assert store.path(digest).read_bytes() == b"hello"


def test_blob_of_the_wrong_size_is_replaced(store: ContentStore) -> None:
    digest = store.put(b"hello")
    store.path(digest).write_bytes(b"")

    with store.writer() as writer:
        writer.write(b"hello")
        writer.commit(digest)

    assert store.read(digest) == b"hello"


def test_a_folder_in_the_place_of_a_blob_is_a_damaged_blob(store: ContentStore) -> None:
    digest = store.put(b"hello")
    path = store.path(digest)
    descriptor = Descriptor("application/x", digest, 5)

    def damage() -> ContentStore:
        path.unlink()
        (path / "inside").mkdir(parents=True)
        return ContentStore(store.root)

    assert not damage().holds(descriptor)
    store.put(b"hello")
    assert not damage().verified(digest)
    store.put(b"hello")
    with pytest.raises(DamagedBlob):
        damage().read(digest)
    store.put(b"hello")
    assert damage().put(b"hello") == digest
    with damage().writer() as writer:
        writer.write(b"hello")
        writer.commit(digest)
    assert path.read_bytes() == b"hello"


def test_missing_blob_is_an_error(store: ContentStore) -> None:
    absent = Digest.of(b"absent")

    for ask in (store.read, store.size):
        with pytest.raises(BakeError) as caught:
            ask(absent)
        assert str(caught.value) == f"blob {absent} is not in the content store"
    store.delete(absent)


def test_other_algorithms_are_kept_apart(store: ContentStore) -> None:
    with store.writer("sha512") as writer:
        writer.write(b"data")
        digest, _ = writer.commit()

    assert digest == "sha512:" + hashlib.sha512(b"data").hexdigest()
    assert store.read(digest) == b"data"


def test_leftovers_of_killed_writers_are_swept_and_those_of_living_ones_are_not(store: ContentStore) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from bakepy.content.store import ContentStore\n"
        "writer = ContentStore(Path(sys.argv[1])).writer().__enter__()\n"
        "writer.write(b'half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, store.root], check=False)
    with store.writer() as alive:
        assert len(list((store.root / "ingest").iterdir())) == 1  # the first writer swept
        assert ContentStore(store.root).sweep() == 0
        alive.write(b"data")
        alive.commit()
