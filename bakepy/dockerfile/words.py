"""How the text of one instruction falls into flags, words, assignments and JSON lists, before any expansion."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from bakepy.dockerfile.text import SPACE, decodable, quote, split_blanks


class NotStrings(ValueError):
    """A JSON list holds something that is no string."""


def split_flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The leading `--flag` words with their quotes removed, and the rest of the line.

    Flags are read byte by byte (each byte taken as a character): that is how the reference implementation spells
    what is not ASCII.
    """
    if not line.lstrip(SPACE).startswith("--"):
        return (), line.lstrip(SPACE)
    if not line.isascii():
        flags, rest = _flags(line.encode("utf-8", "surrogateescape").decode("latin-1"), escape)
        return flags, rest.encode("latin-1").decode("utf-8", "surrogateescape")
    return _flags(line, escape)


def _flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    flags: list[str] = []
    pattern = _flag_pattern(escape)
    position, end = 0, len(line)
    while position < end:
        if line[position] in SPACE:
            position += 1
            continue
        if not line.startswith("--", position):
            return tuple(flags), line[position:]
        match = pattern.match(line, position)
        assert match is not None
        position = match.end()
        word = _unquoted(match[0], escape)
        if word == "--":
            return tuple(flags), line[position:]
        flags.append(word)
    return tuple(flags), ""


@lru_cache(maxsize=4)
def _flag_pattern(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    inner = "|".join(f"{q}(?:[^{q}{e}]|{e}.)*(?:{q}|{e}?\\Z)" for q in "'\"")
    return re.compile(f"(?:[^{SPACE}'\"{e}]|{e}.|{e}\\Z|{inner})+", re.DOTALL)


def _unquoted(word: str, escape: str) -> str:
    """Without quotes and escapes; an escape at the very end disappears."""
    if not any(char in word for char in ("'", '"', escape)):
        return word
    out: list[str] = []
    quote = ""
    chars = iter(word)
    for char in chars:
        if char == escape:
            out.append(next(chars, ""))
        elif quote:
            if char == quote:
                quote = ""
            else:
                out.append(char)
        elif char in "'\"":
            quote = char
        else:
            out.append(char)
    return "".join(out)


@lru_cache(maxsize=4)
def _word_pattern(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(
        f"(?:[^{SPACE}'\"{e}]|{e}.|(?P<tail>{e})\\Z|'[^']*(?:'|\\Z)|\"(?:[^\"{e}]|{e}.)*(?:\"|(?P<inner>{e})?\\Z))+",
        re.DOTALL,
    )


def split_words(text: str, escape: str) -> list[str]:
    """Words as they are written, quotes and escapes kept; blanks in quotes do not separate."""
    words = []
    for match in _word_pattern(escape).finditer(text):
        word = match[0]
        if match["tail"] is not None or match["inner"] is not None:
            word = word[: -len(escape)]  # nothing follows that it could escape
        if word:
            words.append(word)
    return words


def assignments(text: str, keyword: str, escape: str) -> list[tuple[str, str, bool]]:
    """(name, value, written without `=`) of ENV and LABEL. Raises ValueError."""
    words = split_words(text, escape)
    if not words:
        return []
    if "=" not in words[0]:
        parts = split_blanks(text, 2)
        if len(parts) < 2:
            raise ValueError(f"{keyword} must have two arguments")
        return [(parts[0], parts[1], True)]
    out = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value")
        out.append((name, value, False))
    return out


def json_words(text: str) -> list[str] | None:
    """The members of a JSON list of strings; None if `text` is no JSON list. Raises NotStrings."""
    text = decodable(text.lstrip(SPACE))
    if not text.startswith("["):
        return None
    try:
        value: Any = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(member, str) for member in value):
        raise NotStrings("when using JSON array syntax, arrays must be comprised of strings only")
    return [member.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for member in value]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def json_or_words(text: str) -> tuple[list[str], bool]:
    """Of a JSON list, or separated by blanks; and whether it was JSON. Raises NotStrings."""
    members = json_words(text)
    if members is not None:
        return members, True
    return (split_blanks(text) if text else []), False
