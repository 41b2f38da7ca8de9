"""How bake files are laid out: one form for each, comments kept, what the file means untouched."""

from __future__ import annotations

from bakepy.bakefile.hcl_reader import BodyParser
from bakepy.bakefile.load import deep_calls
from bakepy.bakefile.source import Text, check_native, check_text
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.location import SourceFile


def format_text(file: SourceFile) -> str:
    """The text of `file`, an HCL or TOML file by its name, as it should be laid out.

    A file without a telling name (standard input) is what it can be read as, HCL first. Raises DefinitionError for a
    file that can not be read, which is left alone, and UsageError for one of another kind.
    """
    with deep_calls():
        return _formatted(Text(file))


def _formatted(text: Text) -> str:
    name = text.name.lower()
    if name.endswith(".toml"):
        return _toml(text)
    if name.endswith(".hcl"):
        return _hcl(text)
    if name.endswith((".json", ".yaml", ".yml")):
        raise UsageError(f"{text.name}: only HCL and TOML files are laid out", hint="known endings: .hcl and .toml")
    try:
        return _hcl(text)
    except DefinitionError as error:
        try:
            return _toml(text)
        except DefinitionError:
            raise error from None


def _hcl(text: Text) -> str:
    from bakepy.bakefile.format.hcl import format_hcl

    try:
        BodyParser(text).file()
    except DefinitionError:
        check_text(text)  # what is strange to the parser may be that
        raise
    check_native(text)
    return format_hcl(text.text)


def _toml(text: Text) -> str:
    from bakepy.bakefile.format.toml import format_toml
    from bakepy.bakefile.toml_reader import parse_toml

    check_text(text)
    parse_toml(text)
    return format_toml(text.text)
