"""Secrets: where they come from, and that they show nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import UsageError
from bakepy.model.target import SecretEntry
from bakepy.session.secrets import MAX_SIZE, SecretProvider

ENVIRONMENT = {"TOKEN": "from variable", "BOTH": "variable", "BYTES": "\udcff"}


def test_secrets_come_from_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from\0file")
    (tmp_path / "BOTH").write_bytes(b"file")
    (tmp_path / "plain").write_bytes(b"named like the id")
    entries = [
        SecretEntry("a", src="file"),
        SecretEntry("b", env="TOKEN"),
        SecretEntry("BOTH"),
        SecretEntry("plain"),
        SecretEntry("raw", env="BYTES"),
        SecretEntry("unset", env="NOT_SET"),
    ]

    provider = SecretProvider(entries, ENVIRONMENT, tmp_path)

    assert [provider.get(id) for id in ("a", "b", "BOTH", "plain", "raw", "unset", "none")] == [
        b"from\0file",
        b"from variable",
        b"variable",
        b"named like the id",
        b"\xff",
        b"",
        None,
    ]


def test_later_entry_of_an_id_counts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")

    provider = SecretProvider([SecretEntry("a", env="TOKEN"), SecretEntry("a", src="file")], ENVIRONMENT, tmp_path)

    assert provider.get("a") == b"file"


def test_values_show_in_no_representation(tmp_path: Path) -> None:
    provider = SecretProvider([SecretEntry("b", env="TOKEN")], ENVIRONMENT, tmp_path)

    assert (repr(provider), str(provider)) == ("SecretProvider(b)", "SecretProvider(b)")


def test_missing_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        SecretProvider([SecretEntry("a", src="nope")], {}, tmp_path)

    assert caught.value.what == f"secret a: can not read {tmp_path}/nope: No such file or directory"


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(MAX_SIZE + 1))

    with pytest.raises(UsageError) as caught:
        SecretProvider([SecretEntry("a", src="big")], {}, tmp_path)

    assert caught.value.what == f"secret a: {tmp_path}/big has 512001 bytes; at most 512000 are allowed"


def test_a_secret_has_an_id(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        SecretProvider([SecretEntry("", src="file")], {}, tmp_path)
    assert str(caught.value) == "secret missing ID\nhint: give it one: id=NAME"
