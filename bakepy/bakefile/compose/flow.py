"""Colons and question marks inside of words in YAML's flow collections: `{a:}`, `[:x]`, `{a: ?b}`.

The library takes them for signs, or refuses them; Go's YAML, which buildx reads compose files with, takes them for
parts of the words. They are replaced, one character by one, by characters that mean nothing to the library, and put
back in what was read: even where the words are taken wrongly here, nothing gets lost.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_BLANK: Final = " \\t\\r\\n\\x85\\u2028\\u2029\\0"
_ODD: Final = re.compile(rf":[,\[\]{{}}?]|\?(?=[^{_BLANK}])|[\[,][{_BLANK}]*:(?=[^{_BLANK}])")
"""Without these there is nothing to do."""
_SKIPPED: Final = re.compile(rf"(?:[{_BLANK}]+|(?:^|(?<=[{_BLANK}]))\#[^\n\r]*)+", re.MULTILINE)
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*+\"?|'[^']*+'?", re.DOTALL)
_MARKED: Final = re.compile(rf"[&*!][^{_BLANK},\[\]{{}}]*+")
"""An anchor, an alias, a tag."""
_FLOW_WORD: Final = re.compile(
    rf"(?:[^{_BLANK},\[\]{{}}:?#]|[:?](?=[^{_BLANK}])|(?<=[^{_BLANK}])\#|[{_BLANK}](?!\#))++"
)
_BLOCK_WORD: Final = re.compile(rf"(?:[^{_BLANK}:#]|:(?=[^{_BLANK}])|(?<=[^{_BLANK}])\#|[ \t](?!\#))++")
_HEADER: Final = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\n]*)?(?=\r?\n)")
_LINE: Final = re.compile(r"\n([ ]*)([^\n]*)")


class Marks:
    """A text whose words in flow collections are marked."""

    def __init__(self, source: str) -> None:
        self._colon, self._question = _free(source)
        self.text = _Words(source).marked(self._colon, self._question) if _ODD.search(source) else source
        self.needed = self.text != source

    def restore(self, root: Any, loader: Any) -> None:
        """Puts the signs back in all nodes below `root`, and resolves their tags anew."""
        waiting, seen = [root], {id(root)}
        while waiting:
            node = waiting.pop()
            if isinstance(node, yaml.ScalarNode):
                self._restore_scalar(node, loader)
                continue
            parts = node.value
            for each in (part for pair in parts for part in pair) if isinstance(node, yaml.MappingNode) else parts:
                if id(each) not in seen:
                    seen.add(id(each))
                    waiting.append(each)

    def _restore_scalar(self, node: Any, loader: Any) -> None:
        if self._colon not in node.value and self._question not in node.value:
            return
        implicit = (True, False) if node.style in (None, "") else (False, True)
        plain = node.tag == loader.resolve(yaml.ScalarNode, node.value, implicit)
        node.value = node.value.replace(self._colon, ":").replace(self._question, "?")
        if plain:
            node.tag = loader.resolve(yaml.ScalarNode, node.value, implicit)


def _free(source: str) -> tuple[str, str]:
    """Two characters for private use that the text does not have."""
    free = (character for code in range(0xE000, 0xF900) if (character := chr(code)) not in source)
    return next(free, ":"), next(free, "?")


class _Words:
    """Walks over the tokens of a text, as far as needed to know which words stand in flow collections."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.previous = ""
        self.column = -1
        """Where the last word or dash of the line begins: the text of a block scalar is further in."""

    def marked(self, colon: str, question: str) -> str:
        source, depth = self.source, 0
        pieces: list[str] = []
        done = 0
        while self.position < len(source):
            if found := _SKIPPED.match(source, self.position):
                self.position = found.end()
                continue
            start = self.position
            character = source[start]
            if character in "[{":
                depth += 1
                self.position += 1
                self.previous = character
            elif depth and character in "]},":
                depth -= character != ","
                self.position += 1
                self.previous = character
            elif self._over(depth):
                pass
            else:
                found = (_FLOW_WORD if depth else _BLOCK_WORD).match(source, start)
                self.position = found.end() if found else start + 1
                self.previous = ""
                if depth and found:
                    word = found[0].replace(":", colon).replace("?", question)
                    pieces += (source[done:start], word)
                    done = self.position
        return "".join(pieces) + source[done:]

    def _over(self, depth: int) -> bool:
        """Over what is neither a word nor a bracket; False if there is nothing of that kind."""
        source, start = self.source, self.position
        character = source[start]
        if not depth and (header := _HEADER.match(source, start)):
            self._block_scalar(header.end())
            return True
        if found := _MARKED.match(source, start):
            self.position = found.end()
            self.previous = ""
            return True
        if found := _QUOTED.match(source, start):
            self._begin(depth, start)
            self.position = found.end()
            self.previous = ""
            return True
        blank = source[start + 1 : start + 2] in " \t\r\n\x85\u2028\u2029\0"  # so is nothing
        if (character in "-?" and blank) or (
            character == ":" and (blank or (depth > 0 and self.previous not in ("[", ",")))
        ):
            if character != ":":
                self._begin(depth, start)
            self.position += 1
            self.previous = character
            return True
        self._begin(depth, start)
        return False

    def _begin(self, depth: int, start: int) -> None:
        if not depth:
            self.column = start - self.source.rfind("\n", 0, start) - 1

    def _block_scalar(self, position: int) -> None:
        while line := _LINE.match(self.source, position):
            if line[2].strip("\r\t ") and len(line[1]) <= self.column:
                break
            position = line.end()
        self.position = position
