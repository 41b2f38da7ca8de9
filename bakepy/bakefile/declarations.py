"""What bake files declare, before anything is evaluated: variables, functions, other values, targets and groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, ParamSpec

from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute, Block, Body, Content, Schema, unknown_name
from bakepy.bakefile.node import Globals, References, Scope
from bakepy.bakefile.values import Value
from bakepy.errors import BakeError, DefinitionError, nearest

_FILE: Final = Schema(
    frozenset(),
    {"variable": ("name",), "function": ("name",), "group": ("name",), "target": ("name",)},
)
_TOML_FILE: Final = Schema(frozenset({"include"}), {**_FILE.blocks, "locals": (), "pools": ()})
_VARIABLE: Final = Schema(frozenset({"type", "default", "description"}), {"validation": ()})
_SENSITIVE: Final = Schema(frozenset({"sensitive"}))
_VALIDATION: Final = Schema(frozenset({"condition", "error_message"}))
_FUNCTION: Final = Schema(frozenset({"params", "variadic_params", "result"}))

P = ParamSpec("P")


class Faults:
    """The mistakes of a run, each once."""

    def __init__(self) -> None:
        self.errors: list[BakeError] = []
        self._reported: set[int] = set()

    def report(self, error: BakeError) -> None:
        if id(error) not in self._reported:
            self._reported.add(id(error))
            self.errors.append(error)

    def attempt(self, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Does something; a definition error is kept."""
        try:
            action(*args, **kwargs)
        except DefinitionError as error:
            self.report(error)

    def check_names(self, block: Block, schema: Schema, path: str, known: Collection[str] = ()) -> None:
        """TOML knows no unknown keys."""
        if block.body.strict:
            for name, span in block.body.unknown(schema):
                if name not in known:
                    self.report(unknown_name(name, span, [*schema.attributes, *schema.blocks], path))


class Declaration:
    """A block, and what its schema found in it."""

    __slots__ = ("block", "content")

    def __init__(self, block: Block, content: Content) -> None:
        self.block = block
        self.content = content


class Variable(Declaration):
    """A variable as it is declared (`type` is the declared type), and what it came to."""

    __slots__ = ("description", "name", "rules", "type", "value")

    def __init__(self, name: str, block: Block, content: Content) -> None:
        super().__init__(block, content)
        self.name = name
        self.description = ""
        self.rules: list[Declaration] = []
        self.type: v.Type | None = None
        self.value: Value | None = None

    @property
    def default(self) -> Attribute | None:
        return self.content.attributes.get("default")

    def is_sensitive(self) -> bool:
        """Whether its declaration says so. buildx knows the word and does nothing with it."""
        attribute = self.block.body.content(_SENSITIVE).attributes.get("sensitive")
        return attribute is not None and _plain(attribute).raw is True


class Declarations:
    """All that some bodies declare. Names that are `reserved` are passed over, as buildx does."""

    def __init__(self, bodies: Sequence[Body], reserved: Collection[str], faults: Faults) -> None:
        self.variables: dict[str, Variable] = {}
        self.attributes: dict[str, Attribute] = {}
        self.functions: dict[str, Declaration] = {}
        self.pools: dict[str, Attribute] = {}
        self.blocks: list[Block] = []
        """Of targets and groups, in order."""
        self._reserved = reserved
        self._faults = faults
        for body in bodies:
            faults.attempt(self._add, body)

    def _add(self, body: Body) -> None:
        schema = _TOML_FILE if body.strict else _FILE
        content = body.content(schema)
        if body.strict:
            for name, span in body.unknown(schema):
                hint = nearest(name, schema.blocks) or "a value of your own goes into [locals]"
                self._faults.report(span.error(f"unknown key {name!r}", hint=hint))
            for block in content.blocks:
                if block.type == "locals":
                    self.attributes.update(block.body.all_attributes())
                elif block.type == "pools":
                    self.pools.update(block.body.all_attributes())
        else:
            # In JSON, "variable" is where variables stand; in native syntax it may be a value's name, too.
            blocks = schema.blocks.keys() - {"variable"} if body.tells_blocks else schema.blocks
            self.attributes.update(body.all_attributes(frozenset((*blocks, *self._reserved))))
        for block in content.blocks:
            match block.type:
                case "variable":
                    self._faults.attempt(self._add_variable, block)
                case "function":
                    self._faults.attempt(self._add_function, block)
                case "target" | "group":
                    self.blocks.append(block)

    def _add_variable(self, block: Block) -> None:
        name = block.labels[0]
        content = block.body.content(_VARIABLE)
        self._faults.check_names(block, _VARIABLE, f"variable.{name}", ("sensitive", "nullable"))
        if name in self._reserved:
            return
        variable = Variable(name, block, content)
        if description := content.attributes.get("description"):
            variable.description = _description(description, strict=block.body.strict)
        for rule in content.blocks:
            variable.rules.append(Declaration(rule, rule.body.content(_VALIDATION)))
            for unknown, span in rule.body.unknown(_VALIDATION):
                path = f"variable.{name}.validation"
                self._faults.report(unknown_name(unknown, span, [*_VALIDATION.attributes], path))
        self.variables[name] = variable

    def _add_function(self, block: Block) -> None:
        name = block.labels[0]
        content = block.body.content(_FUNCTION)
        for unknown, span in block.body.unknown(_FUNCTION):
            self._faults.report(unknown_name(unknown, span, [*_FUNCTION.attributes], f"function.{name}"))
        for wanted in ("params", "result"):
            if wanted not in content.attributes:
                raise block.span.error(f"the function {name!r} needs {wanted!r}")
        if name not in self._reserved:
            self.functions[name] = Declaration(block, content)


def _description(attribute: Attribute, *, strict: bool) -> str:
    """Of a variable. It is read before there are values: strings of JSON are no templates here."""
    scalar = None if strict else attribute.scalar
    value = _plain(attribute) if scalar is None else scalar
    text = attribute.node.converted(value, v.STRING, "description").raw
    if text is None:
        raise attribute.node.error("the description can not be null")
    return str(text)


def _plain(attribute: Attribute) -> Value:
    """A value that may not refer to anything."""
    found = References()
    attribute.node.collect(found)
    for each in found.variables:
        raise each.error("variables can not be used here")
    return attribute.node.value(Scope(Globals()))
