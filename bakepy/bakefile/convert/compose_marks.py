"""Marks that go through the reading of a compose file in the place of variables, and what they are as expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bakepy.bakefile.compose.env import NESTING, Reference, SubstitutionError, references
from bakepy.bakefile.convert.document import NULL, Code, Expression, Item, Items, Section, Setting, Syntax, Text, Value
from bakepy.bakefile.convert.hcl import quote
from bakepy.errors import UsageError
from bakepy.model.frozen import FrozenMap

BEGIN, END, UNKNOWN = "\ue000", "\ue001", "\ue002"
"""Round the number of a mark; in the place of a value of an environment file that depends on other variables."""
RESERVED: Final = re.compile("[\ue000-\ue002]")
_MARK: Final = re.compile(f"{BEGIN}([0-9]+){END}")
_VARIABLE: Final = re.compile(r"[^\W\d][\w-]*")
_NO_VARIABLES: Final = frozenset(
    {"true", "false", "null", "group", "target", "BAKE_CMD_CONTEXT", "BAKE_LOCAL_PLATFORM"}
)
"""What means something else in a bake file."""
PROJECT: Final = "COMPOSE_PROJECT_NAME"
NULL_OR_VALUE: Final = "arg"
"""Stands for the operator where a value is left out if its variable is not set."""
_PATHS: Final = {
    # paths that stay as they are: `move_path` for files that are included, `rebase` for bake.toml
    "below": r"^$|^/|^service:|^git@|^github\.com/|://",
    "from_here": r"^$|^/|^(cwd|https?|git|ssh|oci-layout)://|^(target|docker-image):|^git@|^github\.com/"
    r"|^([^./@][^/@]*)?@.*:|^[^./@:][^/@]*:[^/@]*@|^:[^/@]*@",
}
_SWITCH: Final = (("true", ("true", "y", "yes", "on")), ("null", ("false", "n", "no", "off")))
_BOOL: Final = (
    ("", ("1", "t", "T", "TRUE", "true", "True")),
    (",disabled=true", ("0", "f", "F", "FALSE", "false", "False")),
)


@dataclass(frozen=True, slots=True)
class Use:
    """A reference to a variable. `argument` may hold marks. `otherwise`: what an environment file says. `within`: the
    numbers of the references in whose arguments it stands."""

    name: str
    operator: str = ""
    argument: str = ""
    otherwise: str | None = None
    within: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A path that begins with a variable and is meant from `folder`. `helper`: the function that knows which are."""

    path: str
    folder: str
    helper: str


class Switch(str):
    """A marked text that must turn out to be a switch."""

    __slots__ = ()


class Entry(str):
    """A marked text that has a form of its own, which is read when its variables are known."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """Stands for the identifier that it will have."""
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """SSH agents have an order."""
        return ()


class Attestation(FrozenMap[str, str]):
    """An attestation that is switched or described by a marked text, which has an empty key."""

    __slots__ = ()


class Marks:
    """The references of a file. A mark is the number of one."""

    hint: Final = "write its value, and convert again"

    def __init__(self, name: str) -> None:
        self.file = name
        self.dotenv: Mapping[str, str] = {}
        self._found: list[Use | Moved] = []
        self._used: dict[str, None] = {}
        self._helpers: dict[str, None] = {}

    def add(self, found: Use | Moved) -> str:
        """A mark for it. Raises UsageError for what can be no variable."""
        if isinstance(found, Use) and (found.name in _NO_VARIABLES or not _VARIABLE.fullmatch(found.name)):
            raise self.refusal("a variable in a key" if BEGIN in found.name else f"a variable called {found.name!r}")
        self._found.append(found)
        return f"{BEGIN}{len(self._found) - 1}{END}"

    def refusal(self, what: str) -> UsageError:
        return UsageError(f"{self.file}: {what} can not be expressed in a bake file", hint=self.hint)

    def known(self, value: str, what: str) -> str:
        """`value`. Raises UsageError if it is not known."""
        if UNKNOWN in value:
            raise self.refusal(f"{what}, which depends on other variables,")
        return value

    @staticmethod
    def literal(text: str) -> str:
        """What is no mark."""
        return _MARK.sub("", text)

    # -- reading

    def marked(self, text: str, environment: Mapping[str, str], within: tuple[int, ...] = ()) -> str:
        """A text with marks for references. Raises SubstitutionError. `environment` is what files say."""
        if "$" not in text:
            return text
        if len(within) > NESTING:
            raise SubstitutionError("defaults are nested too deep")
        return "".join(
            each if isinstance(each, str) else self._reference(each, environment, within) for each in references(text)
        )

    def _reference(self, reference: Reference, environment: Mapping[str, str], within: tuple[int, ...]) -> str:
        if UNKNOWN in environment:
            raise self.refusal(f"the variable {reference.name}, which may be in a file named by another one,")
        name, operator = reference.name, reference.operator
        if name == PROJECT and name in environment:  # it is never empty
            if operator.endswith("+"):
                return self.marked(reference.argument, environment, within)
            return self.known(environment[name], "the name of the project")
        mark, number = self.add(Use(name)), len(self._found) - 1
        argument = self.marked(reference.argument, environment, (*within, number))
        self._found[number] = Use(name, operator, argument, environment.get(name), within)
        return mark

    # -- writing

    def text(self, text: str) -> Text | Expression:
        """A text with code in the place of marks."""
        parts: list[str | Code] = []
        for position, piece in enumerate(_MARK.split(text)):
            if position % 2:
                parts.append(Code(self._code(self._found[int(piece)])))
            elif piece:
                parts.append(piece)
        if len(parts) == 1 and isinstance(parts[0], Code):
            return Expression(parts[0].text)
        return Text(tuple(parts))

    def switch(self, text: Switch) -> Expression:
        """True or null."""
        return Expression(self._call("switch", self._operand(text)))

    def attestation(self, given: Attestation) -> Expression:
        """The text of an attestation."""
        return Expression(self._call("attestation", f'"{given["type"]}"', self._operand(given[""])))

    def variables(self) -> list[Section]:
        """Those that the expressions written before need, or that must be there."""
        rules = {use.name: self._rules(use.name) for use in self._uses() if use.operator.endswith("?")}
        names = dict.fromkeys(use.name for use in self._uses())
        return [self._variable(name, rules.get(name, [])) for name in names if name in self._used or rules.get(name)]

    def functions(self) -> list[Section]:
        """Those that the expressions written before need."""
        return [self._function(name) for name in self._helpers]

    def _variable(self, name: str, rules: list[Section]) -> Section:
        default: Value | None = NULL if self._nullable(name) else None
        if name in self.dotenv:
            value = self.known(self.dotenv[name], f"the value of {name} in .env")
            default = Text((value,) if value else ())
        settings = [Setting("default", default)] if default is not None else []
        return Section("variable", name, settings, rules)

    def _function(self, name: str) -> Section:
        params: tuple[str, ...] = ("folder", "path")
        match name:
            case "switch":
                params = ("text",)
                result = f"{{ {_table(_SWITCH, '{}')} }}[lower(text)]"
            case "attestation":
                params = ("kind", "text")
                described = f'lookup({{ {_table(_BOOL, chr(34) + "{}" + chr(34))} }}, text, ",${{text}}")'
                result = f'text == "" ? "" : "type=${{kind}}${{{described}}}"'
            case _:
                result = f'can(regex({quote(Text((_PATHS[name],)))}, path)) ? path : "${{folder}}/${{path}}"'
        names: Value = Items([Item(Syntax(each)) for each in params])
        return Section("function", name, [Setting("params", names), Setting("result", Expression(result))])

    def _uses(self) -> Iterator[Use]:
        return (each for each in self._found if isinstance(each, Use))

    def _nullable(self, name: str) -> bool:
        """Whether it matters that a variable is not set."""
        return any(
            use.name == name and (use.operator in ("-", "?", "+", NULL_OR_VALUE) or use.otherwise is not None)
            for use in self._uses()
        )

    def _call(self, helper: str, *arguments: str) -> str:
        self._helpers[helper] = None
        return f"{helper}({', '.join(arguments)})"

    def _operand(self, text: str) -> str:
        found = self.text(text)
        return quote(found) if isinstance(found, Text) else f"({found.text})"

    def _code(self, found: Use | Moved) -> str:
        """The expression for a mark."""
        if isinstance(found, Moved):
            return self._call(found.helper, quote(Text((found.folder,))), self._operand(found.path))
        self._used[found.name] = None
        value, absent, operator = self._value(found), self._absent(found), found.operator
        if operator in ("", "?", ":?"):
            may_lack = value == found.name and self._nullable(found.name)
            return f'{value} == null ? "" : {value}' if may_lack else value
        if operator == NULL_OR_VALUE or not absent:
            return self._operand(found.argument) if operator.endswith("+") else value
        if operator.endswith("-"):
            return f"{absent} ? {self._operand(found.argument)} : {value}"
        return f'{absent} ? "" : {self._operand(found.argument)}'

    def _value(self, use: Use) -> str:
        """The value, null if there is none."""
        if use.otherwise is None or use.name in self.dotenv:
            return use.name
        otherwise = self.known(use.otherwise, f"the value of {use.name} in an environment file")
        return f"({use.name} == null ? {quote(Text((otherwise,)))} : {use.name})"

    def _absent(self, use: Use) -> str:
        """The condition under which a reference counts as not set; empty if it never does."""
        value = self._value(use)
        conditions = [f"{value} == null"] if value == use.name and self._nullable(value) else []
        conditions += [f'{value} == ""'] if use.operator.startswith(":") else []
        return " || ".join(conditions)

    def _rules(self, name: str) -> list[Section]:
        """What is asked of a variable that must be there."""
        rules: dict[str, Section] = {}
        for use in self._uses():
            if use.name != name or not use.operator.endswith("?") or not (absent := self._absent(use)):
                continue
            superfluous = self._superfluous(use)
            if superfluous is None:
                continue
            present = absent.replace(" == ", " != ").replace(" || ", " && ") if " ? " not in absent else f"!({absent})"
            if superfluous:
                present = " || ".join((*superfluous, f"({present})"))
            message = self.text(use.argument) if use.argument else Text(("it is required",))
            condition = Setting("condition", Expression(present))
            rules.setdefault(
                f"{present}\0{use.argument}",
                Section("validation", "", [condition, Setting("error_message", message)]),
            )
        return list(rules.values())

    def _superfluous(self, use: Use) -> tuple[str, ...] | None:
        """The conditions of which each makes a reference superfluous that stands in the argument of others; None if it
        always is."""
        conditions = []
        for number in use.within:
            outer = self._found[number]
            assert isinstance(outer, Use), "only variables have arguments"
            self._used[outer.name] = None
            absent = self._absent(outer)
            if outer.operator.endswith("?") or (outer.operator.endswith("-") and not absent):
                return None  # that is an error already, or it is never looked at
            if absent:
                conditions.append(f"!({absent})" if outer.operator.endswith("-") else f"({absent})")
        return tuple(conditions)


def _table(rows: tuple[tuple[str, tuple[str, ...]], ...], form: str) -> str:
    return ", ".join(f'"{word}" = {form.format(value)}' for value, words in rows for word in words)
