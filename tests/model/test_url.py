"""What is shown of addresses."""

from __future__ import annotations

from bakepy.llb.op import OpMetadata
from bakepy.model.frozen import FrozenMap
from bakepy.model.url import redacted, redacted_text


def test_passwords_and_tokens_in_urls_are_masked() -> None:
    assert [redacted(url) for url in (
        "https://user:secret@host/a@b.git#main", "https://token@host:81", "ssh://git@host/r.git", "https://host/u@v",
    )] == [
        "https://user:xxxxx@host/a@b.git#main", "https://xxxxx@host:81", "ssh://git@host/r.git", "https://host/u@v",
    ]  # fmt: skip


def test_only_the_passwords_of_a_text_are_masked() -> None:
    text = "[2/3] ADD --chown=a https://u:p@h/x http://h/@ git@host:r.git 'https://t@h/y' /"
    masked = "[2/3] ADD --chown=a https://u:xxxxx@h/x http://h/@ git@host:r.git 'https://xxxxx@h/y' /"
    assert redacted_text(text) == masked


def test_no_password_is_in_the_name_of_a_step() -> None:
    metadata = OpMetadata(description=FrozenMap({"llb.customname": "[2/2] ADD https://u:secret@h/r.git /"}))
    assert metadata.name == "[2/2] ADD https://u:xxxxx@h/r.git /"
