"""The `--flag` words of an instruction, and CSV values in them."""

from __future__ import annotations

from collections.abc import Mapping

from bakepy.dockerfile.parser import Statement
from bakepy.errors import nearest
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Flags:
    """`texts` of string flags, `lists` of flags that may be repeated, `switches` of those that are yes or no."""

    texts: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    switches: Mapping[str, bool]

    def text(self, name: str) -> str:
        return self.texts.get(name, "")

    def list(self, name: str) -> tuple[str, ...]:
        return self.lists.get(name, ())

    def switch(self, name: str) -> bool | None:
        """None if the flag is not given."""
        return self.switches.get(name)


def read_flags(
    statement: Statement, *, texts: tuple[str, ...] = (), lists: tuple[str, ...] = (), switches: tuple[str, ...] = ()
) -> Flags:
    """Raises DockerfileError for flags that the instruction does not know, repeats or lacks a value for."""
    found_texts: dict[str, str] = {}
    found_lists: dict[str, list[str]] = {}
    found_switches: dict[str, bool] = {}
    for flag in statement.flags:
        written, equals, value = flag.partition("=")
        name = written[2:]
        if name not in texts and name not in lists and name not in switches:
            known = (*texts, *lists, *switches)
            near = nearest(name, known)
            hint = near.replace("'", "'--", 1)
            if not hint:
                flags = ", ".join(f"--{each}" for each in known) or "no flags"
                hint = f"{statement.keyword.upper()} takes {flags}"
            raise statement.error(f"unknown flag: {written}", part=written, hint=hint)
        if name in found_texts or name in found_switches:
            raise statement.error(f"duplicate flag specified: {written}", part=written)
        if name in switches:
            if equals and not value:
                raise statement.error(f"missing a value on flag: {written}", part=written,
                                      hint=f"{written} alone means true")  # fmt: skip
            if value.lower() not in ("", "true", "false"):
                what = f"expecting boolean value for flag {written}, not: {value}"
                raise statement.error(what, part=written, hint=f"{written}=true or {written}=false")
            found_switches[name] = value.lower() != "false"
        elif not equals:
            raise statement.error(f"missing a value on flag: {written}", part=written,
                                  hint=f"write {written}=VALUE")  # fmt: skip
        elif name in texts:
            found_texts[name] = value
        else:
            found_lists.setdefault(name, []).append(value)
    return Flags(found_texts, {name: tuple(values) for name, values in found_lists.items()}, found_switches)


def csv_fields(text: str) -> list[str]:
    """The fields of one CSV line; `"` begins and ends a field that holds commas. Raises ValueError."""
    if not text:
        raise ValueError("EOF")
    if '"' not in text:
        return text.split(",")
    fields: list[str] = []
    position = 0
    while True:
        if text.startswith('"', position):
            position += 1
            out: list[str] = []
            while True:
                close = text.find('"', position)
                if close < 0:
                    raise ValueError("a quote is not closed")
                out.append(text[position:close])
                position = close + 1
                if text.startswith('"', position):
                    out.append('"')
                    position += 1
                    continue
                break
            if position < len(text) and text[position] != ",":
                raise ValueError("a comma is expected behind a closing quote")
            fields.append("".join(out))
        else:
            comma = text.find(",", position)
            field = text[position:] if comma < 0 else text[position:comma]
            if '"' in field:
                raise ValueError("a quote stands inside a field")
            fields.append(field)
            position += len(field)
        if position >= len(text):
            return fields
        position += 1
        if position == len(text):
            return [*fields, ""]
