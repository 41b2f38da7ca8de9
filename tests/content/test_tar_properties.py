"""Any entry that a file system can hold survives being written and read."""

from __future__ import annotations

import io
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.content.entry import LayerEntry
from bakepy.content.layer import read_layer
from bakepy.content.tar_header import encode_header, padding
from bakepy.content.tar_read import clean_path
from bakepy.model.frozen import FrozenMap

names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
paths = names.map(clean_path).filter(bool)
ids = st.integers(0, 2**32 - 2)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=40)


@st.composite
def entries(draw: st.DrawFn) -> LayerEntry:
    kind = draw(st.sampled_from(["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]))
    data = draw(st.binary(max_size=2000)) if kind == "file" else None
    link = {"symlink": names, "hardlink": paths}.get(kind, st.just(b""))
    device = kind in ("char", "block")
    return LayerEntry(
        path=draw(paths),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(ids),
        gid=draw(ids),
        size=len(data or b""),
        mtime_ns=draw(st.integers(-(2**40), 2**40)) * 10**9,
        linkname=draw(link),
        major=draw(st.integers(0, 4095)) if device else 0,
        minor=draw(st.integers(0, 2**20 - 1)) if device else 0,
        xattrs=FrozenMap(draw(st.dictionaries(keys, st.binary(max_size=300), max_size=3))),
        data=data,
    )


@settings(max_examples=200)
@given(st.lists(entries(), max_size=4))
def test_entries_survive(written: list[LayerEntry]) -> None:
    tar = b"".join(
        encode_header(entry) + (entry.data or b"") + bytes(padding(entry.size)) for entry in written
    ) + bytes(1024)

    read = [(entry, content.read() if content else None) for entry, content in read_layer(io.BytesIO(tar))]

    assert [entry for entry, _ in read] == [replace(entry, data=None) for entry in written]
    assert [content for _, content in read] == [entry.data for entry in written]
