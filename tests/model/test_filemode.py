"""Symbolic modes, compared with chmod(1)'s rules where both agree and with BSD's setmode where BuildKit uses that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.errors import DefinitionError
from bakepy.model.filemode import SymbolicMode


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("u=rwX,go=rX", 0o600, 0o644),
        ("u=rwX,go=rX", 0o711, 0o755),
        ("a+X", 0o644, 0o644),
        ("a+X", 0o744, 0o755),
        ("a-X", 0o755, 0o644),
        ("go-w", 0o666, 0o644),
        ("+x", 0o644, 0o755),
        ("=r", 0o4777, 0o444),
        ("u+s", 0o755, 0o4755),
        ("g+s,o+t", 0o755, 0o2755),
        ("+t", 0o755, 0o1755),
        ("ug-s", 0o6755, 0o755),
        ("g=u", 0o740, 0o770),
        ("go=u-w", 0o600, 0o644),
        ("u=g", 0o750, 0o550),
        ("o+u", 0o700, 0o707),
        ("u-o", 0o707, 0o007),
        ("u=", 0o4755, 0o055),
        ("u=rw,u+x", 0o000, 0o700),
        ("u+rw-w", 0o000, 0o400),
        ("0751", 0o7000, 0o751),
        ("7777", 0, 0o7777),
    ],
)
def test_files(text: str, before: int, after: int) -> None:
    assert oct(SymbolicMode.parse(text).apply(before, is_dir=False)) == oct(after)


def test_x_for_folders() -> None:
    mode = SymbolicMode.parse("a=rX")
    assert mode.apply(0o600, is_dir=True) == 0o555
    assert mode.apply(0o600, is_dir=False) == 0o444


@pytest.mark.parametrize("text", ["", "u", "u+q", "x", "u+x,", "rwx", "u+x go", "888", "10000", "u*x", "+8"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        SymbolicMode.parse(text)
    assert raised.value.render() == (
        f"invalid file mode '{text}': invalid syntax\n"
        "hint: write an octal number up to 07777, or something like u=rwX,go=rX"
    )


WHO = st.sampled_from(["u", "g", "o", "a", "ug", "go", "uo"])
PERMISSIONS = st.sampled_from(["", "r", "w", "x", "X", "rw", "rwx", "rX", "u", "g", "o"])
CLAUSES = st.tuples(WHO, st.sampled_from("+-="), PERMISSIONS).map("".join)


@pytest.mark.skipif(shutil.which("chmod") is None, reason="needs chmod")
@settings(max_examples=60)
@given(st.lists(CLAUSES, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777))
def test_agrees_with_chmod(tmp_path_factory: pytest.TempPathFactory, text: str, before: int) -> None:
    """`-X` is the one thing where chmod(1) of GNU looks at the mode and setmode does not."""
    if "-X" in text or "-rX" in text:
        return
    # chmod(1) decides X by the mode that earlier clauses made, setmode by the mode before all
    if "X" in text and "," in text:
        return
    file: Path = tmp_path_factory.mktemp("mode") / "file"
    file.touch()
    file.chmod(before)
    subprocess.run(["chmod", text, file], check=True, umask=0)
    assert oct(SymbolicMode.parse(text).apply(before, is_dir=False)) == oct(file.stat().st_mode & 0o7777)
