"""Evaluation of bodies: variables, functions, globals and the blocks of targets and groups, each when it is needed.

What an expression refers to is seen to before it is evaluated, so a cycle is found even where no value would need it.
Mistakes that have nothing to do with each other are all reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute, Block, Body
from bakepy.bakefile.conversion import convert, without_optional
from bakepy.bakefile.declarations import Declaration, Declarations, Faults, Variable
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.fields import BY_NAME, GROUP_FIELDS, NATIVE_NAMES, STRUCTURAL
from bakepy.bakefile.functions import find_function, function_names
from bakepy.bakefile.instances import Instance, instances_of
from bakepy.bakefile.kinds import FieldError
from bakepy.bakefile.node import Function, Globals, Node, References, Scope
from bakepy.bakefile.own import OWN, slots_from
from bakepy.bakefile.traversal import Reference
from bakepy.bakefile.values import ConvertError, Value
from bakepy.bakefile.variables import Override, TypeError_, convert_override, parse_type
from bakepy.errors import DefinitionError, nearest

STEPS: Final = 2_000_000
"""Loops go through so many elements at most, all together; each call of a function of one's own counts as one."""

Lookup = Callable[[str], str | None]


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
        self.faults = Faults()
        declared = Declarations(bodies, {"group", "target", *options.builtins}, self.faults)
        self.variables = declared.variables
        self.attributes = declared.attributes
        self.functions = declared.functions
        self.blocks = declared.blocks
        self.instances: list[Instance] = []
        self.by_name: dict[tuple[str, str], list[Instance]] = {}
        self.pools: dict[str, int] = {}
        self._pools = declared.pools
        self.root = Scope(self)
        self._values: dict[str, Value] = {name: v.string(text) for name, text in options.builtins.items()}
        self._functions: dict[str, Function] = {}
        self._running: list[str] = []
        self._running_functions: list[str] = []
        self._failed: dict[str, DefinitionError] = {}
        self._seen: dict[int, References] = {}
        self._constants: dict[int, object] = {}
        self._settled: set[int] = set()
        self._blocks_known = False
        self._steps = 0

    # -- everything

    def run(self) -> None:
        """Evaluates all there is; what is wrong is in `faults`."""
        attempt = self.faults.attempt
        for variable in self.variables.values():
            attempt(self._resolve_variable, variable.name)
        for variable in self.variables.values():
            if variable.value is not None:
                for rule in variable.rules:
                    attempt(self._validate, variable, rule)
        for name in self.functions:
            attempt(self._resolve_function, name, None)
        for block in self.blocks:
            attempt(self._add_instances, block)
        for instance in self.instances:
            self.by_name.setdefault((instance.kind, instance.name), []).append(instance)
        self._blocks_known = True
        for instance in self.instances:
            self._evaluate_instance(instance)
        for name in self.attributes:
            attempt(self._resolve_variable, name)
        for name, attribute in self._pools.items():
            attempt(self._resolve_pool, name, attribute)
        if OWN in self._values and OWN in self.attributes:
            attempt(self._own_of_file, self.attributes[OWN], self._values[OWN])

    def _add_instances(self, block: Block) -> None:
        self.instances += instances_of(block, self.root, self.see_to, self.faults)

    def _resolve_pool(self, name: str, attribute: Attribute) -> None:
        self.see_to(attribute.node, self.root)
        self._set_pool(name, attribute, attribute.node.value(self.root))

    def _set_pool(self, name: str, attribute: Attribute, value: Value) -> None:
        try:
            self.pools[name] = slots_from(value)
        except EntryError as reason:
            raise attribute.node.span.error(str(reason), path=f"pools.{name}") from None

    def _own_of_file(self, attribute: Attribute, value: Value) -> None:
        from bakepy.bakefile.own_attribute import pools_of_file

        for name, places in pools_of_file(attribute, value):
            self._set_pool(name, attribute, places)

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

    def see_to(self, node: Node, scope: Scope, *, bound: frozenset[str] = frozenset(), strict: bool = False) -> None:
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
            known = instance.names
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

    def _resolve_variable(self, name: str, by: Node | None = None) -> None:
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

    def _validate(self, variable: Variable, rule: Declaration) -> None:
        content = rule.content
        condition = content.attributes.get("condition")
        if condition is None:
            raise rule.block.span.error("a validation needs a condition", path=f"variable.{variable.name}")
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

    def _resolve_function(self, name: str, by: Node | None) -> None:
        if name in self._functions or find_function(name) is not None:
            return  # what is built in can not be replaced
        if (failed := self._failed.get(name + "()")) is not None:
            raise failed
        block = self.functions[name].block
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
        from bakepy.bakefile.function_block import FunctionBlock  # few files have one

        made = FunctionBlock(name, self.functions[name].content)
        self.see_to(made.result, self.root, bound=made.bound, strict=True)
        return made.function(self.root)

    # -- blocks

    def _evaluate_instance(self, instance: Instance) -> None:
        attributes = instance.content.attributes
        if instance.kind == "group" and "targets" not in attributes:
            self.faults.report(instance.block.span.error("a group needs 'targets'", path=f"group.{instance.label}"))
        for name in attributes:
            if name not in STRUCTURAL:
                try:
                    self._evaluate_attribute(instance, name)
                except DefinitionError as error:
                    self.faults.report(error)

    def _evaluate_attribute(self, instance: Instance, name: str, by: Node | None = None) -> None:
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
                from bakepy.bakefile.own_attribute import fields_of_target

                instance.values.update(fields_of_target(instance.label, attribute, value))
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
