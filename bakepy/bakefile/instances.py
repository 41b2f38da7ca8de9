"""The targets and groups that blocks make: one each, or, with a matrix, one for each combination of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute, Block, Content, Schema
from bakepy.bakefile.declarations import Faults
from bakepy.bakefile.fields import GROUP_FIELDS, NATIVE_NAMES, STRUCTURAL, TOML_NAMES
from bakepy.bakefile.node import Node, Scope
from bakepy.bakefile.own import OWN
from bakepy.bakefile.source import Span
from bakepy.bakefile.values import Value

INSTANCES: Final = 200_000
"""A matrix makes so many targets at most."""
_TARGET: Final = Schema(NATIVE_NAMES | set(STRUCTURAL) | {OWN})
_TOML_TARGET: Final = Schema(TOML_NAMES | set(STRUCTURAL))
_GROUP: Final = Schema(frozenset({*GROUP_FIELDS, *STRUCTURAL}))
_TOML_GROUP: Final = Schema(frozenset(GROUP_FIELDS))

SeeTo = Callable[[Node, Scope], None]
"""Has everything evaluated that an expression refers to."""


class Instance:
    """One target or group that a block makes; `label` is what the block is called, which a matrix does not keep."""

    __slots__ = ("block", "content", "kind", "label", "name", "running", "scope", "values")

    def __init__(self, kind: str, name: str, label: str, block: Block, content: Content, scope: Scope) -> None:
        self.kind = kind
        self.name = name
        self.label = label
        self.block = block
        self.content = content
        self.scope = scope
        self.values: dict[str, object] = {}
        self.running: list[str] = []

    @property
    def names(self) -> list[str]:
        """The attributes that say something of it; references can lead to them."""
        return [name for name in self.content.attributes if name not in STRUCTURAL and name != OWN]


def instances_of(block: Block, root: Scope, see_to: SeeTo, faults: Faults) -> list[Instance]:
    """The instances of a block, named; their attributes are not evaluated. Raises DefinitionError."""
    label = block.labels[0]
    group, strict = block.type == "group", block.body.strict
    schema = (_TOML_GROUP if strict else _GROUP) if group else (_TOML_TARGET if strict else _TARGET)
    content = block.body.content(schema)
    faults.check_names(block, schema, f"{block.type}.{label}")
    matrix, name = content.attributes.get("matrix"), content.attributes.get("name")
    if group and (matrix or name):
        which = matrix or name
        assert which is not None
        raise which.name_span.error(f"a group has no {which.name!r}")
    _check_name(label, block.label_spans[0])
    if matrix is None:
        if name is not None:
            raise name.name_span.error("'name' needs a 'matrix'", path=f"target.{label}")
        return [Instance(block.type, label, label, block, content, root)]
    made: dict[str, Instance] = {}
    scopes = _combinations(matrix, root, see_to)
    if name is not None and scopes:
        see_to(name.node, scopes[0])
    for scope in scopes:
        each = label if name is None else _instance_name(name, scope)
        if each in made:
            hint = "" if name else 'give each target a name: name = "…" with the variables of the matrix'
            where = name.node.span if name else matrix.name_span
            raise where.error(f"two targets of the matrix are named {each!r}", path=f"target.{label}", hint=hint)
        made[each] = Instance(block.type, each, label, block, content, scope)
    return list(made.values())


def _combinations(matrix: Attribute, root: Scope, see_to: SeeTo) -> list[Scope]:
    see_to(matrix.node, root)
    value = matrix.node.value(root)
    if not v.is_mapping(value.type) or value.raw is None:
        raise matrix.node.error("a matrix must be a map of lists")
    combinations: list[dict[str, Value]] = [{}]
    for name in sorted(value.raw):
        axis = value.raw[name]
        if not v.can_iterate(axis):
            raise matrix.node.error(f"the values of {name!r} must be a list, not {v.article(axis.type)}")
        if len(combinations) * len(axis.raw) > INSTANCES:
            raise matrix.node.error(f"the matrix has more than {INSTANCES:,} combinations")
        combinations = [{**each, name: item} for item in v.element_values(axis) for each in combinations]
    return [root.child(each) if each else root for each in combinations]


def _instance_name(attribute: Attribute, scope: Scope) -> str:
    value = attribute.node.value(scope)
    if value.raw is None:
        raise attribute.node.error("the name is null")
    text = str(attribute.node.converted(value, v.STRING, "name").raw)
    _check_name(text, attribute.node.span)
    return text


def _check_name(name: str, span: Span) -> None:
    """Names of targets and groups are of letters, digits, `_` and `-`."""
    if not name or not name.isascii() or not name.replace("_", "a").replace("-", "a").isalnum():
        raise span.error(f"{name!r} can not be a name: only letters, digits, '_' and '-' are allowed")
