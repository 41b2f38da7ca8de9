"""The generated code is what the proto file says."""

from __future__ import annotations

import re

from tests.llb.generate import GENERATED, generate

_VERSIONS = re.compile(r"(# Protobuf Python Version: .*)|(^    \d+,$)|(^    '.*',?$)", re.MULTILINE)


def without_versions(text: str) -> str:
    return _VERSIONS.sub("", text)


def test_generating_again_gives_the_checked_in_code() -> None:
    assert without_versions(generate()) == without_versions(GENERATED.read_text())
