"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of a file."""

from __future__ import annotations

import json
import re
from dataclasses import field

from bakepy.dockerfile.text import SPACE
from bakepy.model.value import dataclass

_FORM = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z", re.ASCII)
_KEYS = frozenset({"syntax", "escape", "check"})


class DuplicateDirective(ValueError):
    """The key is the argument."""


@dataclass(slots=True)
class DirectiveReader:
    """Reads directives line by line until the first line that is none."""

    comment: str = "#"
    done: bool = False
    seen: dict[str, str] = field(default_factory=dict)

    def read(self, line: str) -> tuple[str, str] | None:
        """Key (in lower case) and value, or None. Raises DuplicateDirective."""
        if self.done:
            return None
        match = _FORM.match(line[len(self.comment) :].lstrip(SPACE)) if line.startswith(self.comment) else None
        key = match[1].lower() if match else ""
        if match is None or key not in _KEYS:
            self.done = True
            return None
        if key in self.seen:
            raise DuplicateDirective(key)
        self.seen[key] = match[2]
        return key, match[2]


def find_directive(text: str, key: str) -> tuple[str, int] | None:
    """The first word and the line of a directive, as tools look for it that only want that one."""
    return _search(*_body(text), key, "#")


def find_syntax(text: str) -> tuple[str, str, int] | None:
    """Frontend image, whole command line and line of a syntax directive.

    It may also be written as `// syntax=…`, or be the member `syntax` of a JSON file, and a shebang line may precede.
    """
    body, first = _body(text)
    for comment in ("#", "//"):
        if found := _search(body, first, "syntax", comment, whole=True):
            return found[0].partition(" ")[0], found[0], found[1]
    if body.lstrip().startswith("{"):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return None
        name = value.get("syntax") if isinstance(value, dict) else None
        if isinstance(name, str):
            return name, name, first
    return None


def _body(text: str) -> tuple[str, int]:
    text = text.removeprefix("\ufeff")
    if text.startswith("#!"):
        return text.partition("\n")[2], 2
    return text, 1


def _search(text: str, first: int, key: str, comment: str, whole: bool = False) -> tuple[str, int] | None:
    reader = DirectiveReader(comment)
    position, number = 0, first
    while position < len(text) and not reader.done:
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        try:
            found = reader.read(text[position:end].removesuffix("\r"))
        except DuplicateDirective:
            return None
        if found and found[0] == key:
            return found[1] if whole else found[1].partition(" ")[0], number
        position, number = end + 1, number + 1
    return None
