"""Evaluation of bodies: variables, functions, globals and the blocks of targets and groups, each when it is needed.

What an expression refers to is seen to before it is evaluated, so a cycle is found even where no value would need it.
Mistakes that have nothing to do with each other are all reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.body import (
    Attribute,
    Block,
    Body,
    Content,
    Schema,
    unknown_name,
)
from bakepy.bakefile.conversion import convert, without_optional
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.expression import Function, Globals, Reference, References, Scope
from bakepy.bakefile.fields import (
    BY_NAME,
    GROUP_FIELDS,
    NATIVE_NAMES,
    OWN_NAMES,
    STRUCTURAL,
    TOML_NAMES,
)
from bakepy.bakefile.functions import find_function, function_names
from bakepy.bakefile.kinds import FieldError
from bakepy.bakefile.own import OWN, slots_from
from bakepy.bakefile.source import Span
from bakepy.bakefile.values import ConvertError, Value
from bakepy.bakefile.variables import Override, TypeError_, convert_override, parse_type
from bakepy.errors import BakeError, DefinitionError, nearest

STEPS: Final = 2_000_000
"""Loops go through so many elements at most, all together; each call of a function of one's own counts as one."""
INSTANCES: Final = 200_000
"""A matrix makes so many targets at most."""
_VARIABLE: Final = Schema(frozenset({"type", "default", "description"}), {"validation": ()})
_VARIABLE_NAMES: Final = _VARIABLE.attributes | {"sensitive", "nullable"}
_VALIDATION: Final = Schema(frozenset({"condition", "error_message"}))
_FUNCTION: Final = Schema(frozenset({"params", "variadic_params", "result"}))
_FILE: Final = Schema(
    frozenset(),
    {"variable": ("name",), "function": ("name",), "group": ("name",), "target": ("name",)},
)
_TOML_FILE: Final = Schema(frozenset({"include"}), {**_FILE.blocks, "locals": (), "pools": ()})
_TARGET: Final = Schema(NATIVE_NAMES | set(STRUCTURAL) | {OWN})
_TOML_TARGET: Final = Schema(TOML_NAMES | set(STRUCTURAL))
_GROUP: Final = Schema(frozenset({*GROUP_FIELDS, *STRUCTURAL}))
_TOML_GROUP: Final = Schema(frozenset(GROUP_FIELDS))

Lookup = Callable[[str], str | None]


class Variable:
    """A variable as it is declared (`type` is the declared type), and what it came to."""

    __slots__ = ("block", "content", "description", "name", "type", "value")

    def __init__(self, name: str, block: Block, content: Content) -> None:
        self.name = name
        self.block = block
        self.content = content
        self.description = ""
        self.type: v.Type | None = None
        self.value: Value | None = None

    @property
    def default(self) -> Attribute | None:
        return self.content.attributes.get("default")


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


class Options:
    """`builtins`: names with fixed values (`BAKE_CMD_CONTEXT`). `lookup`: values of variables from outside.

    `now`, `random` and `home` are what the functions of that kind give.
    """

    __slots__ = ("builtins", "home", "lookup", "now", "random")

    def __init__(
        self,
        lookup: Lookup,
        builtins: Mapping[str, str],
        now: Callable[[], float] = lambda: 0.0,
        random: Callable[[int], bytes] = bytes,
        home: str = "/",
    ) -> None:
        self.lookup = lookup
        self.builtins = builtins
        self.now = now
        self.random = random
        self.home = home


class Evaluation(Globals):
    """All bodies of a run. `run()` evaluates everything; then `instances` and `variables` are complete."""

    def __init__(self, bodies: Sequence[Body], options: Options) -> None:
        self.options = options
        self.errors: list[BakeError] = []
        self.variables: dict[str, Variable] = {}
        self.attributes: dict[str, Attribute] = {}
        self.functions: dict[str, Content] = {}
        self.function_blocks: dict[str, Block] = {}
        self.blocks: list[Block] = []
        self.instances: list[Instance] = []
        self.by_name: dict[tuple[str, str], list[Instance]] = {}
        self.pools: dict[str, int] = {}
        self._pools: dict[str, Attribute] = {}
        self.root = Scope(self)
        self._values: dict[str, Value] = {}
        self._functions: dict[str, Function] = {}
        self._running: list[str] = []
        self._running_functions: list[str] = []
        self._failed: dict[str, DefinitionError] = {}
        self._seen: dict[int, References] = {}
        self._constants: dict[int, object] = {}
        self._settled: set[int] = set()
        self._reported: set[int] = set()
        self._blocks_known = False
        self._steps = 0
        self._reserved = {"group", "target", *options.builtins}
        for name, text in options.builtins.items():
            self._values[name] = v.string(text)
        for body in bodies:
            self._attempt(lambda body=body: self._declare(body))  # type: ignore[misc]

    # -- errors

    def _attempt(self, action: Callable[[], None]) -> None:
        """Does something; a definition error is kept, once."""
        try:
            action()
        except DefinitionError as error:
            self.report(error)

    def report(self, error: BakeError) -> None:
        if id(error) not in self._reported:
            self._reported.add(id(error))
            self.errors.append(error)

    # -- declarations

    def _declare(self, body: Body) -> None:
        schema = _TOML_FILE if body.strict else _FILE
        content = body.content(schema)
        if body.strict:
            for name, span in body.unknown(schema):
                hint = nearest(name, schema.blocks) or "a value of your own goes into [locals]"
                self.report(span.error(f"unknown key {name!r}", hint=hint))
            for block in content.blocks:
                if block.type == "locals":
                    self.attributes.update(block.body.all_attributes())
                elif block.type == "pools":
                    self._pools.update(block.body.all_attributes())
        else:
            # In JSON, "variable" is where variables stand; in native syntax it may be a value's name, too.
            blocks = schema.blocks.keys() - {"variable"} if body.tells_blocks else schema.blocks
            self.attributes.update(body.all_attributes(frozenset((*blocks, *self._reserved))))
        for block in content.blocks:
            match block.type:
                case "variable":
                    self._attempt(lambda block=block: self._declare_variable(block))  # type: ignore[misc]
                case "function":
                    self._attempt(lambda block=block: self._declare_function(block))  # type: ignore[misc]
                case "target" | "group":
                    self.blocks.append(block)

    def _check_names(self, block: Block, schema: Schema, path: str, known: Sequence[str] = ()) -> None:
        """TOML knows no unknown keys."""
        if block.body.strict:
            for name, span in block.body.unknown(schema):
                if name not in known:
                    self.report(unknown_name(name, span, [*schema.attributes, *schema.blocks], path))

    def _declare_variable(self, block: Block) -> None:
        name = block.labels[0]
        content = block.body.content(_VARIABLE)
        self._check_names(block, _VARIABLE, f"variable.{name}", ("sensitive", "nullable"))
        if name in self._reserved:
            return
        variable = Variable(name, block, content)
        if description := content.attributes.get("description"):
            variable.description = self._description(description, strict=block.body.strict)
        for rule in content.blocks:
            rule.body.content(_VALIDATION)
            for unknown, span in rule.body.unknown(_VALIDATION):
                self.report(unknown_name(unknown, span, [*_VALIDATION.attributes], f"variable.{name}.validation"))
        self.variables[name] = variable

    def is_sensitive(self, variable: Variable) -> bool:
        """Whether its declaration says so. buildx knows the word and does nothing with it."""
        content = variable.block.body.content(Schema(frozenset({"sensitive"})))
        attribute = content.attributes.get("sensitive")
        return attribute is not None and self._plain(attribute).raw is True

    def _description(self, attribute: Attribute, *, strict: bool) -> str:
        """Of a variable. It is read before there are values: strings of JSON are no templates here."""
        scalar = None if strict else attribute.scalar
        value = self._plain(attribute) if scalar is None else scalar
        text = attribute.node.converted(value, v.STRING, "description").raw
        if text is None:
            raise attribute.node.error("the description can not be null")
        return str(text)

    def _plain(self, attribute: Attribute) -> Value:
        """A value that may not refer to anything."""
        found = References()
        attribute.node.collect(found)
        for each in found.variables:
            raise each.error("variables can not be used here")
        return attribute.node.value(Scope(Globals()))

    def _declare_function(self, block: Block) -> None:
        name = block.labels[0]
        content = block.body.content(_FUNCTION)
        for unknown, span in block.body.unknown(_FUNCTION):
            self.report(unknown_name(unknown, span, [*_FUNCTION.attributes], f"function.{name}"))
        for wanted in ("params", "result"):
            if wanted not in content.attributes:
                raise block.span.error(f"the function {name!r} needs {wanted!r}")
        if name not in self._reserved:
            self.functions[name] = content
            self.function_blocks[name] = block

    # -- everything

    def run(self) -> None:
        """Evaluates all there is; what is wrong is in `errors`."""
        for variable in self.variables.values():
            self._attempt(lambda name=variable.name: self._resolve_variable(name))  # type: ignore[misc]
        for variable in self.variables.values():
            if variable.value is not None:
                self._attempt(lambda variable=variable: self._validate(variable))  # type: ignore[misc]
        for name in self.functions:
            self._attempt(lambda name=name: self._resolve_function(name, None))  # type: ignore[misc]
        for block in self.blocks:
            self._attempt(lambda block=block: self._instantiate(block))  # type: ignore[misc]
        for instance in self.instances:
            self.by_name.setdefault((instance.kind, instance.name), []).append(instance)
        self._blocks_known = True
        for instance in self.instances:
            self._evaluate_instance(instance)
        for name in self.attributes:
            self._attempt(lambda name=name: self._resolve_variable(name))  # type: ignore[misc]
        for name, attribute in self._pools.items():
            self._attempt(lambda name=name, attribute=attribute: self._resolve_pool(name, attribute))  # type: ignore[misc]
        if OWN in self._values and OWN in self.attributes:
            self._attempt(lambda: self._own_of_file(self.attributes[OWN], self._values[OWN]))

    def _resolve_pool(self, name: str, attribute: Attribute) -> None:
        self.see_to(attribute.node, self.root)
        self._set_pool(name, attribute, attribute.node.value(self.root))

    def _set_pool(self, name: str, attribute: Attribute, value: Value) -> None:
        try:
            self.pools[name] = slots_from(value)
        except EntryError as reason:
            raise attribute.node.span.error(str(reason), path=f"pools.{name}") from None

    def _own_of_file(self, attribute: Attribute, value: Value) -> None:
        """`x-bakepy` at the top of an HCL or JSON file."""
        if not v.is_mapping(value.type) or value.raw is None:
            raise attribute.node.span.error(f"expected an object, found {v.article(value.type)}", path=OWN)
        for name, inner in value.raw.items():
            if name != "pools":
                raise attribute.node.span.error(
                    f"unknown key {name!r}", path=OWN, hint=nearest(name, ("pools",)) or "'pools' can stand here"
                )
            if not v.is_mapping(inner.type) or inner.raw is None:
                raise attribute.node.span.error("expected the places of each pool, by name", path=f"{OWN}.pools")
            for pool, places in inner.raw.items():
                self._set_pool(pool, attribute, places)

    # -- what expressions see

    def find(self, name: str) -> Value | None:
        return self._values.get(name)

    def find_function(self, name: str) -> Function | None:
        found = self._functions.get(name)
        if found is None and (found := find_function(name)) is not None:
            self._functions[name] = found
        return found

    def now(self) -> float:
        return self.options.now()

    def random(self, size: int) -> bytes:
        return self.options.random(size)

    def home(self) -> str:
        return self.options.home

    def spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > STEPS:
            raise DefinitionError(f"loops and functions of one's own take more than {STEPS:,} steps in all")

    def names(self) -> list[str]:
        return [*self.variables, *self.attributes, *self.options.builtins, *(["target", "group"])]

    def function_names(self) -> list[str]:
        return [*self.functions, *function_names()]

    def find_block(self, reference: Reference) -> tuple[Value, int] | None:
        kind, steps = reference.name, reference.steps
        if kind not in ("target", "group") or not self._blocks_known or not steps or not steps[0].attribute:
            return None
        name = steps[0].key.raw
        instances = self.by_name.get((kind, name))
        if not instances:
            valid = [each for found, each in self.by_name if found == kind]
            raise reference.error(f"there is no {kind} {name!r}", hint=nearest(name, valid))
        if len(steps) > 1 and steps[1].attribute:
            attribute = steps[1].key.raw
            known = ("name", *GROUP_FIELDS) if kind == "group" else ("name", *NATIVE_NAMES)
            if attribute not in known:
                raise reference.error(f"a {kind} has no attribute {attribute!r}", hint=nearest(attribute, known))
            return self._block_value(instances[-1], attribute), 2
        names = GROUP_FIELDS if kind == "group" else NATIVE_NAMES
        return v.object_of({each: self._block_value(instances[-1], each) for each in ("name", *names)}), 1

    @staticmethod
    def _block_value(instance: Instance, name: str) -> Value:
        """An attribute as it is written in a block; nothing inherited."""
        if name == "name":
            return v.string(instance.name)
        kind = GROUP_FIELDS[name] if instance.kind == "group" else BY_NAME[name].kind
        return kind.to_value(instance.values.get(name))

    # -- dependencies

    def see_to(
        self, node: tree.Node, scope: Scope, *, bound: frozenset[str] = frozenset(), strict: bool = False
    ) -> None:
        """Resolves all that `node` refers to. What does not exist is passed over, unless `strict`."""
        found = self._seen.get(id(node))
        if found is None:
            found = References()
            node.collect(found, bound)
            self._seen[id(node)] = found
        for name in found.functions:
            if name in self.functions:
                self._resolve_function(name, node)
            elif strict and find_function(name) is None:
                raise node.error(f"there is no function {name!r}", hint=nearest(name, self.function_names()))
        for reference in found.variables:
            if scope.find(reference.name) is not None:
                continue
            if reference.name in ("target", "group") and self._blocks_known:
                self._see_to_block(reference)
            elif reference.name in self.attributes or reference.name in self.variables:
                self._resolve_variable(reference.name, reference)
            elif strict and reference.name not in self._values:
                raise reference.error(
                    f"there is no variable {reference.name!r}", hint=nearest(reference.name, self.names())
                )

    def _see_to_block(self, reference: Reference) -> None:
        if not reference.steps:
            raise reference.error(f"{reference.name!r} can not be used as a whole", hint=f"write {reference.name}.NAME")
        if not reference.steps[0].attribute:
            raise reference.error(
                f"a {reference.name} is reached by its name only", hint=f"write {reference.name}.NAME"
            )
        instances = self.by_name.get((reference.name, reference.steps[0].key.raw))
        for instance in instances or ():
            known = _names_of(instance)
            if len(reference.steps) > 1 and reference.steps[1].attribute:
                name = reference.steps[1].key.raw
                if name in known:
                    self._evaluate_attribute(instance, name, reference)
            else:
                for name in known:
                    self._evaluate_attribute(instance, name, reference)

    def _settle(self, attribute: Attribute, scope: Scope, plain: object) -> None:
        """For the next targets of a matrix: what an attribute refers to was seen to, or even its value is known."""
        found = self._seen[id(attribute.node)]
        if any(each.name in ("target", "group") for each in found.variables):
            return  # for another target this may be a cycle
        self._settled.add(id(attribute))
        if not found.functions and all(scope.find(each.name) is None for each in found.variables):
            self._constants[id(attribute)] = plain

    # -- variables

    def _resolve_variable(self, name: str, by: tree.Node | None = None) -> None:
        """Computes a variable or global attribute and keeps its value."""
        if name in self._values:
            return
        if name in self._failed:
            raise self._failed[name]
        attribute, variable = self.attributes.get(name), self.variables.get(name)
        if name in self._running:
            assert by is not None, "only a reference leads back to a variable"
            cycle = " -> ".join([*self._running[self._running.index(name) :], name])
            raise by.error(f"variables depend on each other: {cycle}")
        self._running.append(name)
        try:
            self._values[name] = self._variable_value(name, attribute, variable)
        except DefinitionError as error:
            if error.where is None:
                span = attribute.name_span if attribute is not None else variable.block.span if variable else None
                error.where = span.where() if span is not None else None
            self._failed[name] = error
            raise
        finally:
            self._running.pop()
        if variable is not None:
            variable.value = self._values[name]

    def _variable_value(self, name: str, attribute: Attribute | None, variable: Variable | None) -> Value:
        default = attribute
        if variable is not None and "type" in variable.content.attributes:
            variable.type = parse_type(variable.content.attributes["type"].static)
        declared = None
        if attribute is None and variable is not None:
            default, declared = variable.default, variable.type
        override = Override.find(name, self.options.lookup, self._declared_name, typed=declared is not None)
        value: Value | None = None
        if default is not None:
            self.see_to(default.node, self.root)
            value = default.node.value(self.root)
            if declared is not None:
                try:
                    value = convert(value, declared)
                except ConvertError as reason:
                    raise default.node.error(
                        f"the default does not fit the type {declared.constraint}: {reason}"
                    ) from None
        if override is not None and variable is not None:
            try:
                return convert_override(override, declared, value)
            except (TypeError_, ConvertError) as reason:
                raise variable.block.span.error(
                    f"the value of {override.name} given from outside can not be used: {reason}",
                    path=f"variable.{name}",
                ) from None
        if value is None:
            value = v.string("") if declared is None else Value(without_optional(declared), None)
        return value

    def _declared_name(self, name: str) -> bool:
        return name in self.variables or name in self.options.builtins

    def _validate(self, variable: Variable) -> None:
        for rule in variable.content.blocks:
            self._attempt(lambda rule=rule: self._validate_rule(variable, rule))  # type: ignore[misc]

    def _validate_rule(self, variable: Variable, rule: Block) -> None:
        content = rule.body.content(_VALIDATION)
        condition = content.attributes.get("condition")
        if condition is None:
            raise rule.span.error("a validation needs a condition", path=f"variable.{variable.name}")
        value = condition.node.value(self.root)
        if value.raw is None:
            raise condition.node.error("the condition is null: it must be true or false")
        if condition.node.converted(value, v.BOOL, "the condition").raw:
            return
        text = "the value is not allowed"
        if message := content.attributes.get("error_message"):
            found = message.node.value(self.root)
            if found.raw is not None:
                text = message.node.converted(found, v.STRING, "error_message").raw
        raise condition.node.span.error(text, path=f"variable.{variable.name}")

    # -- functions

    def _resolve_function(self, name: str, by: tree.Node | None) -> None:
        if name in self._functions or find_function(name) is not None:
            return  # what is built in can not be replaced
        if (failed := self._failed.get(name + "()")) is not None:
            raise failed
        block = self.function_blocks[name]
        if name in self._running_functions:
            cycle = " -> ".join([*self._running_functions[self._running_functions.index(name) :], name])
            raise (by or block).span.error(f"functions call each other: {cycle}")
        self._running_functions.append(name)
        try:
            self._functions[name] = self._make_function(name)
        except DefinitionError as error:
            self._failed[name + "()"] = error
            raise
        finally:
            self._running_functions.pop()

    def _make_function(self, name: str) -> Function:
        content = self.functions[name]
        parameters = content.attributes["params"].static
        if not isinstance(parameters, tree.Tuple):
            raise parameters.error("expected a list of parameter names")
        names = [_parameter(each) for each in parameters.items]
        rest = ""
        if variadic := content.attributes.get("variadic_params"):
            rest = _parameter(variadic.static)
        result = content.attributes["result"].node
        bound = frozenset({*names, rest} if rest else names)
        self.see_to(result, self.root, bound=bound, strict=True)

        def function(call: tree.Call, scope: Scope) -> Value:
            self.spend(1)
            given = call.evaluated(scope)
            if len(given) < len(names) or (len(given) > len(names) and not rest):
                raise call.error(f"{name}() takes {_count(len(names), bool(rest))}, not {len(given)}")
            for node, value in given:
                if value.raw is None:
                    raise node.error(f"{name}() takes no null")
            variables = {each: value for each, (_, value) in zip(names, given, strict=False)}
            if rest:
                variables[rest] = v.tuple_of(value for _, value in given[len(names) :])
            return result.value(self.root.child(variables))

        return function

    # -- blocks

    def _instantiate(self, block: Block) -> None:
        """One instance for each combination of the matrix, named."""
        label = block.labels[0]
        group, strict = block.type == "group", block.body.strict
        schema = (_TOML_GROUP if strict else _GROUP) if group else (_TOML_TARGET if strict else _TARGET)
        content = block.body.content(schema)
        self._check_names(block, schema, f"{block.type}.{label}")
        matrix, name = content.attributes.get("matrix"), content.attributes.get("name")
        if group and (matrix or name):
            which = matrix or name
            assert which is not None
            raise which.name_span.error(f"a group has no {which.name!r}")
        check_name(label, block.label_spans[0])
        if matrix is None:
            if name is not None:
                raise name.name_span.error("'name' needs a 'matrix'", path=f"target.{label}")
            self.instances.append(Instance(block.type, label, label, block, content, self.root))
            return
        made: dict[str, Instance] = {}
        scopes = self._combinations(matrix)
        if name is not None and scopes:
            self.see_to(name.node, scopes[0])
        for scope in scopes:
            each = label if name is None else self._instance_name(name, scope)
            if each in made:
                hint = "" if name else 'give each target a name: name = "…" with the variables of the matrix'
                where = name.node.span if name else matrix.name_span
                raise where.error(f"two targets of the matrix are named {each!r}", path=f"target.{label}", hint=hint)
            made[each] = Instance(block.type, each, label, block, content, scope)
        self.instances += made.values()

    def _instance_name(self, attribute: Attribute, scope: Scope) -> str:
        value = attribute.node.value(scope)
        if value.raw is None:
            raise attribute.node.error("the name is null")
        text = str(attribute.node.converted(value, v.STRING, "name").raw)
        check_name(text, attribute.node.span)
        return text

    def _combinations(self, attribute: Attribute) -> list[Scope]:
        self.see_to(attribute.node, self.root)
        value = attribute.node.value(self.root)
        if not v.is_mapping(value.type) or value.raw is None:
            raise attribute.node.error("a matrix must be a map of lists")
        combinations: list[dict[str, Value]] = [{}]
        for name in sorted(value.raw):
            axis = value.raw[name]
            if not v.can_iterate(axis):
                raise attribute.node.error(f"the values of {name!r} must be a list, not {v.article(axis.type)}")
            if len(combinations) * len(axis.raw) > INSTANCES:
                raise attribute.node.error(f"the matrix has more than {INSTANCES:,} combinations")
            combinations = [{**each, name: item} for item in v.element_values(axis) for each in combinations]
        return [self.root.child(each) if each else self.root for each in combinations]

    def _evaluate_instance(self, instance: Instance) -> None:
        attributes = instance.content.attributes
        if instance.kind == "group" and "targets" not in attributes:
            self.report(instance.block.span.error("a group needs 'targets'", path=f"group.{instance.label}"))
        for name in attributes:
            if name not in STRUCTURAL:
                try:
                    self._evaluate_attribute(instance, name)
                except DefinitionError as error:
                    self.report(error)

    def _evaluate_attribute(self, instance: Instance, name: str, by: tree.Node | None = None) -> None:
        attribute = instance.content.attributes.get(name)
        if attribute is None or name in instance.values:
            return
        if id(attribute) in self._constants:
            instance.values[name] = self._constants[id(attribute)]
            return
        if self._failed and (failed := self._failed.get(f"{instance.kind} {instance.name}.{name}")) is not None:
            raise failed
        if name in instance.running:
            raise (by or attribute.node).error(f"{instance.kind}.{instance.name}.{name} depends on itself")
        instance.running.append(name)
        try:
            settled = id(attribute) in self._settled
            if not settled:
                self.see_to(attribute.node, instance.scope)
            value = attribute.node.value(instance.scope)
            if name == OWN:
                _own_of_target(instance, attribute, value)
                return
            kind = GROUP_FIELDS[name] if instance.kind == "group" else BY_NAME[name].kind
            try:
                instance.values[name] = kind.decode(value)
            except FieldError as reason:
                node = attribute.node
                if isinstance(node, tree.Tuple) and reason.element is not None:
                    node = node.items[reason.element]
                raise node.span.error(str(reason), path=f"{instance.kind}.{instance.label}.{name}") from None
            if not settled:
                self._settle(attribute, instance.scope, instance.values[name])
        except DefinitionError as error:
            if error.where is None:
                error.where = attribute.node.span.where()
            if not error.path:
                error.path = f"{instance.kind}.{instance.label}.{name}"
            self._failed[f"{instance.kind} {instance.name}.{name}"] = error
            raise
        finally:
            instance.running.pop()


def _own_of_target(instance: Instance, attribute: Attribute, value: Value) -> None:
    """`x-bakepy` of a target in an HCL or JSON file: keys that buildx does not know."""
    if not v.is_mapping(value.type) or value.raw is None:
        raise attribute.node.error(f"expected an object, found {v.article(value.type)}")
    for name, inner in value.raw.items():
        path = f"target.{instance.label}.{OWN}.{name}"
        if name not in OWN_NAMES:
            hint = nearest(name, OWN_NAMES) or f"known: {', '.join(sorted(OWN_NAMES))}"
            raise attribute.node.span.error(f"unknown key {name!r}", path=path, hint=hint)
        try:
            instance.values[name] = BY_NAME[name].kind.decode(inner)
        except FieldError as reason:
            raise attribute.node.span.error(str(reason), path=path) from None


def _names_of(instance: Instance) -> Sequence[str]:
    return [name for name in instance.content.attributes if name not in STRUCTURAL and name != OWN]


def _parameter(node: tree.Node) -> str:
    if isinstance(node, tree.Reference) and not node.steps:
        return node.name
    if isinstance(node, tree.Literal) and node.word:
        return node.word
    raise node.error("a parameter must be a name", hint="without quotes" if isinstance(node, tree.Literal) else "")


def _count(number: int, more: bool) -> str:
    return f"{number}{' or more' if more else ''} argument{'s' if number != 1 or more else ''}"


def check_name(name: str, span: Span) -> None:
    """Names of targets and groups are of letters, digits, `_` and `-`."""
    if not name or not name.isascii() or not name.replace("_", "a").replace("-", "a").isalnum():
        raise span.error(f"{name!r} can not be a name: only letters, digits, '_' and '-' are allowed")
