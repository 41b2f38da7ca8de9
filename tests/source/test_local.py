"""Contexts: what a scan finds through its filters, digests of it, and the index that spares reading files again."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bakepy.content.database import Database
from bakepy.errors import BuildError, DefinitionError
from bakepy.model.patterns import BadPattern
from bakepy.snapshot.contenthash import Selection, digest
from bakepy.snapshot.threads import Stopped
from bakepy.source import local
from bakepy.source.local import LocalSource, LocalTree
from tests.support.written_tree import OLD, make_tree, set_times

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture(autouse=True, params=["few", "many"])
def entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of many entries are remembered as a whole as well: everything is as with few."""
    if request.param == "many":
        monkeypatch.setattr(local, "_MANY", 0)


@pytest.fixture
def source(database: Database) -> LocalSource:
    return LocalSource(database)


def paths(tree: LocalTree) -> list[str]:
    return [path.decode("utf-8", "backslashreplace") for path, _ in tree.walk(b"", tree.top) if path]


SITE = {"a.txt": "a", "b/c.txt": "c", "b/d/e.txt": "e", "b/d/f.md": "f", "empty/": "", "node_modules/x/y.js": "y"}


async def test_all_entries_in_path_order(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a-b": "", "a/x": "", "a.b": "", "Z": "", "ä": "", "a/x-y": ""})
    tree = await source.open(root)
    assert paths(tree) == ["Z", "a", "a/x", "a/x-y", "a-b", "a.b", "ä"]
    assert tree.count == 7


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"exclude": ["b"]}, ["a.txt", "empty", "node_modules", "node_modules/x", "node_modules/x/y.js"]),
        ({"exclude": ["*", "!b/d"]}, ["b", "b/d", "b/d/e.txt", "b/d/f.md"]),
        ({"exclude": ["**/*.txt", "node_modules"]}, ["b", "b/d", "b/d/f.md", "empty"]),
        ({"exclude": ["*", "!empty"]}, ["empty"]),
        ({"exclude": ["*", "!**/*.md", "b/d/*"]}, []),
        ({"include": ["b/d"]}, ["b", "b/d", "b/d/e.txt", "b/d/f.md"]),
        ({"include": ["**/*.txt"]}, ["a.txt", "b", "b/c.txt", "b/d", "b/d/e.txt"]),
        ({"include": ["b"], "exclude": ["b/d/*.md"]}, ["b", "b/c.txt", "b/d", "b/d/e.txt"]),
        ({"follow": ["a.txt", "b/d"]}, ["a.txt", "b", "b/d", "b/d/e.txt", "b/d/f.md"]),
        ({"follow": ["*.txt"]}, ["a.txt"]),
        ({"follow": ["missing"]}, []),
    ],
)
async def test_filters(tmp_path: Path, source: LocalSource, filters: dict[str, list[str]], expected: list[str]) -> None:
    tree = await source.open(make_tree(tmp_path / "ctx", SITE), **filters)
    assert paths(tree) == expected


async def test_the_state_root_is_in_no_context(tmp_path: Path, database: Database) -> None:
    root = make_tree(tmp_path / "ctx", {"a.txt": "", "ci/state/state.db": "", "ci/b": ""})
    (tmp_path / "link").symlink_to(root / "ci")
    source = LocalSource(database, tmp_path / "link/state")
    for folder in (root, root / "ci", root / "ci/state"):
        with pytest.raises(BuildError) as caught:
            await source.open(folder)
        assert caught.value.what == f"the state root {root}/ci/state is in the context"
    assert paths(await source.open(root, exclude=["ci/state"])) == ["a.txt", "ci", "ci/b"]
    assert paths(await source.open(root, include=["a.txt"])) == ["a.txt"]
    assert paths(await source.open(root, include=["ci"], exclude=["ci/s*"])) == ["ci", "ci/b"]


async def test_followed_links_bring_what_they_lead_to(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(
        tmp_path / "ctx",
        {
            "l": "-> sub/m",
            "sub/m": "-> ../../../t/x",
            "t/x/y": "y",
            "t/z": "z",
            "other": "o",
            "up": "-> /t",
            "ring": "-> ring",
        },
    )
    assert paths(await source.open(root, follow=["l"])) == ["l", "sub", "sub/m", "t", "t/x", "t/x/y"]
    assert paths(await source.open(root, follow=["up/z"])) == ["t", "t/z", "up"]
    assert paths(await source.open(root, follow=["[lu]*"])) == ["l", "sub", "sub/m", "t", "t/x", "t/x/y", "t/z", "up"]
    assert paths(await source.open(root, follow=["ring"])) == ["ring"]
    assert len(paths(await source.open(root, follow=["."]))) == 10


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder with 1,100 others in each other: more than functions may call each other."""
    root = folder = tmp_path / "deep"
    folder.mkdir()
    for _ in range(1100):
        folder /= "d"
        folder.mkdir()
    yield root
    # Python's own removal goes down by recursion
    subprocess.run(["rm", "-rf", root], check=True)


async def test_a_very_deep_folder(deep: Path, source: LocalSource) -> None:
    tree = await source.open(deep)
    assert tree.count == 1100
    assert (await tree.digest()).startswith("sha256:")
    assert (await source.open(deep, exclude=["*", "!**/nothing"])).count == 0


async def test_a_name_that_is_not_utf8(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a": ""})
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    assert paths(await source.open(root, exclude=["a"])) == ["\\xff.txt"]


async def test_the_root_may_be_named_by_a_link(tmp_path: Path, source: LocalSource) -> None:
    make_tree(tmp_path / "ctx", {"a": ""})
    (tmp_path / "link").symlink_to("ctx")
    assert paths(await source.open(tmp_path / "link")) == ["a"]


async def test_roots_that_are_no_folders(tmp_path: Path, source: LocalSource) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DefinitionError, match=r"^can not read the folder .*/file: not a directory$"):
        await source.open(tmp_path / "file")
    with pytest.raises(DefinitionError, match=r"^can not read the folder .*/gone: no such file or directory$"):
        await source.open(tmp_path / "gone")


async def test_a_bad_ignore_pattern(tmp_path: Path, source: LocalSource) -> None:
    with pytest.raises(BadPattern, match=r'^invalid excludepatterns: \[a \[x\]: syntax error in pattern: "\[x"\n'):
        await source.open(make_tree(tmp_path / "ctx", {}), exclude=["a", "[x"])


async def digest_of(source: LocalSource, root: Path, *selections: Selection) -> str:
    tree = await source.open(root)
    return await tree.digest(selections or (Selection(),))


async def test_equal_content_has_an_equal_digest_wherever_it_is(tmp_path: Path, source: LocalSource) -> None:
    one = make_tree(tmp_path / "one", {"d/x": "x", "d/l": "-> x", "noise": "1"})
    two = make_tree(tmp_path / "two", {"e/f/x": "x", "e/f/l": "-> x", "other": "2"})
    set_times(two, OLD + 5)
    assert await digest_of(source, one, Selection("/d")) == await digest_of(source, two, Selection("/e/f"))
    filtered = await source.open(one, follow=["d"])
    assert await filtered.digest((Selection("/d"),)) == await digest_of(source, one, Selection("/d"))


@pytest.mark.parametrize(
    "change",
    [
        {"d/x": "y"},
        {"d/new": ""},
        {"d/x": "-> l"},
        {"d/e/": ""},
    ],
)
async def test_what_changes_a_digest(tmp_path: Path, source: LocalSource, change: dict[str, str]) -> None:
    entries = {"d/x": "x", "d/l": "-> x"}
    before = await digest_of(source, make_tree(tmp_path / "one", entries), Selection("/d"))
    assert await digest_of(source, make_tree(tmp_path / "two", entries | change), Selection("/d")) != before


async def test_attributes_count(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"d/x": "x"})
    found = {await digest_of(source, root)}
    for name, value in (("d", b"1"), ("d", b"2"), ("d/x", b"1"), ("d/x", b"2")):
        os.setxattr(root / name, "user.note", value)
        found.add(await digest_of(source, root))
    assert len(found) == 5


async def test_modes_count_and_times_do_not(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"d/x": "x"})
    before = await digest_of(source, root, Selection("/d"))
    set_times(root, OLD + 77)
    assert await digest_of(source, root, Selection("/d")) == before
    (root / "d/x").chmod(0o600)
    assert await digest_of(source, root, Selection("/d")) != before


async def test_a_selection_by_wildcard_takes_only_what_matches(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a.txt": "a", "b.txt": "b", "c.md": "c"})
    texts = Selection("/*.txt", wildcard=True)
    before = await digest_of(source, root, texts)
    (root / "c.md").write_text("changed")
    assert await digest_of(source, root, texts) == before
    (root / "b.txt").write_text("changed")
    assert await digest_of(source, root, texts) != before
    nothing = Selection("/*.none", wildcard=True)
    assert await digest_of(source, root, nothing) != before


async def test_excluded_files_do_not_count(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"d/x": "x", "d/log": "1"})
    selection = Selection("/d", exclude=("log",))
    before = await digest_of(source, root, selection)
    (root / "d/log").write_text("2")
    assert await digest_of(source, root, selection) == before


async def test_a_missing_source_names_the_nearest(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"src/main.py": ""})
    with pytest.raises(BuildError) as raised:
        await digest_of(source, root, Selection("/src/mian.py"))
    assert raised.value.render() == "\"/src/mian.py\": not found\nhint: did you mean 'main.py'?"


async def test_a_source_that_no_filter_let_in_has_its_nearest_too(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"src/main.py": "", "src/secret": ""})
    (root / "src/out").symlink_to("/etc")
    tree = await source.open(root, include=["src/mian.py", "src/secret", "src/out/hostnam"], exclude=["src/secret"])
    told = []
    for path in ("/src/mian.py", "/src/secret", "/src/out/hostnam"):
        with pytest.raises(BuildError) as raised:
            await tree.digest((Selection(path),))
        told.append((raised.value.what, raised.value.hint))
    assert told == [
        ('"/src/mian.py": not found', "did you mean 'main.py'?"),
        ('"/src/secret": not found', "it is there, but an ignore file leaves it out"),
        ('"/src/out/hostnam": not found', ""),
    ]


async def test_a_missing_source_of_a_filtered_copy(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"src/main.py": "", "l": "-> src", "gone": "-> nowhere"})
    told = []
    for path, pattern in [
        ("/l/mian.py", "log"), ("/src/main.py/x", "log"), ("/none/x", "log"), ("/gone", "log"), ("/gone", "*"),
    ]:  # fmt: skip
        with pytest.raises(BuildError) as raised:
            await digest_of(source, root, Selection(path, exclude=(pattern,)))
        told.append((raised.value.what, raised.value.hint))
    assert told == [
        ("lstat /src/mian.py: no such file or directory", "did you mean 'main.py'?"),
        ("lstat /src/main.py/x: no such file or directory", ""),
        ("lstat /none/x: no such file or directory", ""),
        ('"/gone": not found', ""),
        ("lstat /nowhere: no such file or directory", ""),
    ]


async def test_a_missing_source_below_another(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"src/main.py": "", "src/gone": "-> /nowhere"})
    for above, path, what in [
        ("/", "/no", "lstat /no: no such file or directory"),
        ("/src", "/src/gone", "lstat /nowhere: no such file or directory"),
        ("/sr", "/src/no", '"/sr": not found'),
        ("/src/*", "/src/no", '"/src/gone": not found'),
    ]:
        with pytest.raises(BuildError) as raised:
            await digest_of(source, root, Selection(above, wildcard="*" in above), Selection(path))
        assert raised.value.what == what


async def test_a_dangling_link_is_not_found(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a/": ""})
    (root / "a/link").symlink_to("nowhere")
    with pytest.raises(BuildError) as raised:
        await digest_of(source, root, Selection("/a/link"))
    assert (raised.value.what, raised.value.hint) == ('"/a/link": not found', "")


async def test_a_link_through_a_link_and_back(tmp_path: Path, source: LocalSource) -> None:
    links = {"d": "-> sub/deep", "l": "-> d/../x", "self": "-> self/../sub"}
    root = make_tree(tmp_path / "ctx", {"x": "", "sub/deep/y": "", **links})
    tree = await source.open(root, follow=["l", "self"])
    assert await tree.digest((Selection("/l"),))
    with pytest.raises(BuildError, match=r"^too many links: /self"):
        await tree.digest((Selection("/self"),))
    with pytest.raises(BuildError, match=r'^"/l": not found'):
        await digest_of(source, root, Selection("/l"))


async def test_a_required_path(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"d/q/r": "", "l": "-> d"})
    assert await digest_of(source, root, Selection("/", include=("d/q/r",), required=("/d/q/r",)))
    with pytest.raises(BuildError, match=r'^"/l/q/r": not found'):
        await digest_of(source, root, Selection("/", include=("l/q/r",), required=("/l/q/r",)))


async def test_loops_of_links(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a": "-> b", "b": "-> a"})
    with pytest.raises(BuildError, match=r"^too many links: /a"):
        await digest_of(source, root, Selection("/a"))


# the index


class Reads:
    """Counts the files that are read for their digests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = local.hash_fd

        def counted(fd: int, size: int, stop: threading.Event) -> bytes:
            self.count += 1
            return original(fd, size, stop)

        monkeypatch.setattr(local, "hash_fd", counted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are old enough for the index at once."""
    monkeypatch.setattr("bakepy.source.statindex._TICK_NS", -(10**18))
    monkeypatch.setattr("bakepy.source.statindex._SECOND_NS", -(10**18))


@pytest.mark.parametrize("count", [1, 2])
async def test_a_large_file_is_not_read_to_its_end_for_nobody(
    tmp_path: Path, source: LocalSource, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Else an interrupt would wait for it: ten gigabytes take half a minute."""
    root = make_tree(tmp_path / "ctx", {f"f{number}": "a" for number in range(count)})
    for path in root.iterdir():
        os.truncate(path, 64 << 20)
    tree = await source.open(root)
    original = local.hash_fd

    def given_up(fd: int, size: int, stop: threading.Event) -> bytes:
        stop.set()
        return original(fd, size, stop)

    monkeypatch.setattr(local, "hash_fd", given_up)
    files = [(path, node) for path, node in tree.walk(b"", tree.top) if path]
    with pytest.raises(Stopped):
        tree.file_digests(files, threading.Event())


@pytest.mark.usefixtures("settled")
async def test_an_unchanged_file_is_read_once(tmp_path: Path, database: Database, reads: Reads) -> None:
    root = make_tree(tmp_path / "ctx", {f"f{number}": f"{number}" for number in range(200)})
    first = await digest_of(LocalSource(database), root)
    assert reads.count == 200
    assert await digest_of(LocalSource(database), root) == first
    assert reads.count == 200
    (root / "f7").write_text("other")
    assert await digest_of(LocalSource(database), root) != first
    assert reads.count == 201


@pytest.mark.usefixtures("settled")
async def test_an_unchanged_tree_of_many_is_only_looked_at(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MANY", 2)
    root = make_tree(tmp_path / "ctx", {"a/f": "1", "b": "2"})
    (root / "link").symlink_to("b")
    digested: list[LocalTree] = []

    def counted(tree: LocalTree, *rest: Any) -> str:
        digested.append(tree)
        return digest(tree, *rest)

    monkeypatch.setattr("bakepy.source.local.digest", counted)

    async def found(exclude: Sequence[str]) -> str:
        return await (await LocalSource(database).open(root, exclude=exclude)).digest()

    async def known(*exclude: str) -> bool:
        """Whether the tree's digest is known, and the right one."""
        before = len(digested)
        remembered = await found(exclude)
        known = len(digested) == before
        monkeypatch.setattr(local, "_MANY", 1000)
        assert remembered == await found(exclude)
        monkeypatch.setattr(local, "_MANY", 2)
        return known

    assert not await known()
    assert await known()
    (root / "a/f").chmod(0o600)
    assert not await known()
    (root / "a").chmod(0o700)
    assert not await known()
    (root / "link").unlink()
    (root / "link").symlink_to("a")
    assert not await known()
    (root / "b").rename(root / "c")
    assert not await known()
    assert not await known("a/f")
    assert await known("a/f")
    assert await known()
    (root / "a/new").touch()
    assert not await known()


async def test_a_very_young_tree_is_not_remembered(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MANY", 0)
    root = make_tree(tmp_path / "ctx", {"f": "one"})
    monkeypatch.setattr("bakepy.source.statindex._TICK_NS", 10**18)
    await digest_of(LocalSource(database), root)
    assert database.query("SELECT * FROM local_trees") == []


async def test_times_of_any_year(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"a": "", "b": "", "c": ""})
    os.utime(root / "b", ns=(10**19, 10**19))
    tree = await source.open(root)
    assert paths(tree) == ["a", "b", "c"]
    node = tree.find(b"b")
    assert node is not None
    assert node.mtime_ns == (root / "b").stat().st_mtime_ns
    assert (await tree.digest()).startswith("sha256:")


@pytest.mark.usefixtures("settled")
async def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"f": "one"})
    before = await digest_of(source, root)
    (root / "f").write_text("two")
    set_times(root, OLD)
    assert await digest_of(source, root) != before


@pytest.mark.usefixtures("settled")
async def test_a_file_replaced_by_another_is_seen(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"f": "one"})
    before = await digest_of(source, root)
    make_tree(tmp_path / "new", {"f": "two"})
    (tmp_path / "new/f").rename(root / "f")
    assert await digest_of(source, root) != before


async def test_a_very_young_file_is_not_remembered(tmp_path: Path, source: LocalSource, reads: Reads) -> None:
    """It could change again within the tick of its time."""
    root = make_tree(tmp_path / "ctx", {"f": "one"})
    facts = (root / "f").stat()
    tree = await source.open(root)
    node = tree.find(b"f")
    assert node is not None
    node.ctime_ns = node.mtime_ns = facts.st_ctime_ns + 10**12
    source._index.remember([(node, b"digest")], facts.st_ctime_ns)
    assert source._index.look_up([node]) == [None]


async def test_a_file_that_changes_after_the_scan_is_an_error(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"d/f": "one"})
    tree = await source.open(root)
    (root / "d/f").write_text("changed")
    with pytest.raises(BuildError) as raised:
        await tree.digest()
    assert raised.value.render() == (
        "/d/f changed while the build was reading it\nhint: let writers of the context finish, then build again"
    )


async def test_special_files_are_never_opened(tmp_path: Path, source: LocalSource) -> None:
    root = make_tree(tmp_path / "ctx", {"f": "x"})
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "sock"))
        assert (await digest_of(source, root)).startswith("sha256:")
