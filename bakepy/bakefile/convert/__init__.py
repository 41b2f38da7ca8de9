"""Bake files from one syntax to another. Variables, functions and expressions stay what they are.

What has no counterpart is refused; what bake skips anyway is left out, and that is told.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from bakepy.bakefile.config import TargetDraft, rebase
from bakepy.bakefile.convert.document import Document
from bakepy.bakefile.convert.own import gathered
from bakepy.bakefile.convert.reading import DocumentReader
from bakepy.bakefile.convert.remarks import Remarks
from bakepy.bakefile.hcl_reader import BodyParser
from bakepy.bakefile.load import Definitions, LoadOptions, deep_calls, load_definitions
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.resolve import clean_context
from bakepy.bakefile.source import Text, check_text, without_foreign
from bakepy.errors import UsageError
from bakepy.model.location import SourceFile

SYNTAXES = ("toml", "hcl", "json")
"""What can be written."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The new file. `notes`: what people should know about it."""

    file: SourceFile
    notes: tuple[str, ...] = ()


def syntax_of(name: str) -> str:
    """`toml`, `hcl`, `json` or `compose`, by the ending of a name; empty if it does not tell."""
    ending = name.lower().rpartition(".")[2]
    return "compose" if ending in ("yaml", "yml") else ending if ending in SYNTAXES else ""


def convert(file: SourceFile, name: str, syntax: str, reader: Reader | None = None) -> Converted:
    """`file` in another syntax, to be called `name`. Raises DefinitionError and UsageError.

    `reader`: for what a compose file takes from beside it.
    """
    with deep_calls():
        folder = posixpath.dirname(name) if syntax == "toml" else ""
        document = read_document(file, reader, folder)
        return Converted(SourceFile(name, _written(document, syntax)), tuple(document.notes))


def _written(document: Document, syntax: str) -> str:
    match syntax:
        case "toml":
            from bakepy.bakefile.convert.toml import write_toml

            return write_toml(document)
        case "hcl":
            from bakepy.bakefile.convert.hcl import write_hcl

            return write_hcl(gathered(document))
        case _:
            from bakepy.bakefile.convert.json import write_json

            return write_json(gathered(document))


def read_document(file: SourceFile, reader: Reader | None = None, folder: str = "") -> Document:
    """What a file says, for a writer; paths of compose files as they are meant from `folder`. Raises DefinitionError
    and UsageError."""
    text = Text(file)
    match syntax_of(file.name):
        case "hcl":
            from bakepy.bakefile.format.hcl_tokens import COMMENT, comments, tokens

            body = BodyParser(text).file()
            found = [(each.start, each.end) for each in tokens(file.text) if each.kind == COMMENT]
            check_text(Text(SourceFile(file.name, _without(file.text, comments(file.text)))))
            return DocumentReader(text, body, Remarks(without_foreign(text).text, found)).read()
        case "json":
            from bakepy.bakefile.json_reader import parse_json

            text = without_foreign(text)
            return DocumentReader(text, parse_json(text), Remarks(text.text, [])).read()
        case "compose":
            from bakepy.bakefile.convert.compose import read_compose_document

            check_text(text)
            return read_compose_document(text, reader, folder)
        case "toml":
            from bakepy.bakefile.format.toml import comment_places
            from bakepy.bakefile.toml_reader import parse_toml

            check_text(text)
            body_of_toml = parse_toml(text)
            return DocumentReader(text, body_of_toml, Remarks(file.text, comment_places(file.text))).read()
    raise UsageError(f"{file.name}: its ending does not tell what it is", hint="known: .toml, .hcl, .json, .yaml")


def _without(text: str, ranges: list[tuple[int, int]]) -> str:
    """The text with blanks in these places."""
    pieces: list[str] = []
    position = 0
    for start, end in ranges:
        pieces += (text[position:start], " " * (end - start))
        position = end
    return "".join(pieces) + text[position:]


def difference(before: SourceFile, after: SourceFile, options: LoadOptions) -> str:
    """The first thing that two files do not agree about; empty if they define the same.

    Compared is what they come to with these options: every target and group, before anything is chosen. Raises the
    error of a file that can not be evaluated.
    """
    compose = syntax_of(before.name) == "compose"
    mine, theirs = (_defined(load_definitions([file], options), compose) for file in (before, after))
    if compose:  # which has no variables of its own
        theirs = {name: each for name, each in theirs.items() if not name.startswith("variable.")}
    return next((name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)), "")


def _defined(definitions: Definitions, given_only: bool) -> dict[str, Any]:
    """Everything by name; `given_only`: what is empty counts as not given, as in compose files."""
    config = definitions.config
    found: dict[str, Any] = {f"variable.{each.name}": each for each in definitions.variables}
    found |= {f"pools.{name}": places for name, places in config.pools.items()}
    for name, target in config.targets.items():
        values, folder = _placed(target)
        if given_only:
            if values.get("context") is not None:
                values["context"] = clean_context(values["context"])
            values = {key: _given(each) for key, each in values.items() if _given(each) not in (None, (), {}, "")}
        found[f"target.{name}"] = values, folder
    for group in reversed(config.groups):
        found[f"group.{group.name}"] = group.targets, group.description, group.unlisted
    return found


def _placed(target: TargetDraft) -> tuple[dict[str, Any], str]:
    """What a target says, paths of contexts as they are meant from the folder of the command; and the folder that is
    its context if nothing gives one."""
    values, folders = dict(target.values), target.folders
    if values.get("contexts"):
        values["contexts"] = {
            key: rebase(folders.get(f"contexts.{key}", ""), path) for key, path in values["contexts"].items()
        }
    if values.get("context") is None:
        return values, folders.get("", "")
    values["context"] = rebase(folders.get("context", ""), values["context"])
    return values, ""


def _given(plain: Any) -> Any:
    """A null in a map neither sets nor removes; an empty tag, such as that of an empty `image`, is none."""
    if isinstance(plain, tuple):
        return tuple(each for each in plain if each != "")
    return {key: each for key, each in plain.items() if each is not None} if isinstance(plain, dict) else plain


__all__ = ["SYNTAXES", "Converted", "convert", "difference", "read_document", "syntax_of"]
