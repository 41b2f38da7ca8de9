"""`for`, in expressions and in templates. Imported by files that have one."""

from __future__ import annotations

from bakepy.bakefile import values as v
from bakepy.bakefile.expression import join
from bakepy.bakefile.node import NO_NAMES, Node, References, Scope
from bakepy.bakefile.source import Text
from bakepy.bakefile.values import Value


class For(Node):
    """`[for k, v in source : item if condition]` and `{for … : key => item…}`."""

    __slots__ = ("condition", "grouped", "item", "key", "key_name", "source", "value_name")

    def __init__(
        self,
        text: Text,
        start: int,
        end: int,
        *,
        key_name: str,
        value_name: str,
        source: Node,
        key: Node | None,
        item: Node,
        condition: Node | None = None,
        grouped: bool = False,
    ) -> None:
        super().__init__(text, start, end)
        self.key_name = key_name
        self.value_name = value_name
        self.source = source
        self.key = key
        self.item = item
        self.condition = condition
        self.grouped = grouped

    def value(self, scope: Scope) -> Value:
        source = self.source.value(scope)
        if source.raw is None:
            raise self.source.error("null has no elements to go through")
        if not v.can_iterate(source):
            raise self.source.error(f"{v.article(source.type)} has no elements to go through")
        scope.globals.spend(len(source.raw))
        if not source.raw and self.condition is not None and self._is_constant(self.condition):
            self._included(scope)  # it can not be right for any element
        items: list[Value] = []
        named: dict[str, Value] = {}
        groups: dict[str, list[Value]] = {}
        for key, value in v.elements(source):
            bound = {self.value_name: value}
            if self.key_name:
                bound = {self.key_name: key, self.value_name: value}
            inner = scope.child(bound)
            if self.condition is not None and not self._included(inner):
                continue
            if self.key is None:
                items.append(self.item.value(inner))
                continue
            name = self.key.value(inner)
            if name.raw is None:
                raise self.key.error("null can not be a key")
            word = self.key.converted(name, v.STRING, "not a key").raw
            result = self.item.value(inner)
            if self.grouped:
                groups.setdefault(word, []).append(result)
            elif word in named:
                raise self.key.error(
                    f"two elements give the key {word!r}", hint="write `...` after the value to group by key"
                )
            else:
                named[word] = result
        if self.key is None:
            return v.tuple_of(items)
        if self.grouped:
            named = {word: v.tuple_of(found) for word, found in groups.items()}
        return v.object_of(named)

    def _is_constant(self, node: Node) -> bool:
        """Whether `node` has nothing to do with the element."""
        found = References()
        node.collect(found)
        return all(each.name not in (self.key_name, self.value_name) for each in found.variables)

    def _included(self, scope: Scope) -> bool:
        assert self.condition is not None
        value = self.condition.value(scope)
        if value.raw is None:
            raise self.condition.error("the condition is null")
        return bool(self.condition.converted(value, v.BOOL, "the condition").raw)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.source.collect(found, bound)
        inner = bound | {self.key_name, self.value_name}
        for each in (self.key, self.item, self.condition):
            if each is not None:
                each.collect(found, inner)


class Joined(Node):
    """A `%{for}` in a template: the texts of all rounds, one after another."""

    __slots__ = ("rounds",)

    def __init__(self, text: Text, start: int, end: int, rounds: Node) -> None:
        super().__init__(text, start, end)
        self.rounds = rounds

    def value(self, scope: Scope) -> Value:
        pieces = []
        for each in self.rounds.value(scope).raw:
            if each.raw is None:
                raise self.error("null can not be part of a string")
            pieces.append(self.converted(each, v.STRING, "can not be part of a string").raw)
        return join(self, pieces)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.rounds.collect(found, bound)
