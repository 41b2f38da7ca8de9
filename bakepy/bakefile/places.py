"""Where the values of a target were written, down to an element of a list or a key of a map."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from dataclasses import replace

from bakepy.bakefile import expression as tree
from bakepy.bakefile.body import Attribute
from bakepy.bakefile.node import Node
from bakepy.bakefile.source import Span
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceRange
from bakepy.model.target import BakeFile

Written = tuple["Attribute | Span", ...]
"""All that gave a value to a field, the last one last."""


def find_place(places: Mapping[str, Written], path: str) -> Span | None:
    """The place of `tags`, `tags[1]` or `args.VERSION`; None if nothing was written there.

    Of a list that several attributes added to, elements have no place of their own.
    """
    name, dot, key = path.partition(".")
    if dot and path in places:
        name, dot, key = path, "", ""  # on the command line
    index = -1
    if not dot and name.endswith("]"):
        name, _, number = name[:-1].partition("[")
        index = int(number)
    written = places.get(name)
    if not written:
        return None
    if not dot and index < 0:
        last = written[-1]
        return last if isinstance(last, Span) else last.node.span
    for each in reversed(written):
        node = each.node if isinstance(each, Attribute) else None
        if dot and isinstance(node, tree.Object):
            for item_key, item in node.items:
                if _key_of(item_key) == key:
                    return item.span
        if index >= 0 and len(written) == 1 and isinstance(node, tree.Tuple) and index < len(node.items):
            return node.items[index].span
    return None


def _key_of(node: Node) -> str:
    if isinstance(node, tree.ObjectKey):
        node = node.inner
    if word := node.keyword():
        return word
    return str(node.literal.raw) if isinstance(node, tree.Literal) else ""


def nearest_place(places: Mapping[str, Written], path: str) -> SourceRange | None:
    """The place of `path`, else of what holds it, else of the target."""
    while path:
        found = find_place(places, path)
        if found is not None:
            return found.where()
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    found = find_place(places, "")
    return found.where() if found is not None else None


def portable(bake_file: BakeFile) -> BakeFile:
    """The same bake file with places that are counted already, so that it refers to no syntax tree: for a process that
    has read nothing."""
    known: dict[tuple[int, str], dict[str, SourceRange]] = {}
    targets = {
        name: replace(target, locations=FrozenMap(_counted(target.locations, known)))
        for name, target in bake_file.targets.items()
    }
    return replace(bake_file, targets=FrozenMap(targets))


def _counted(
    locations: FrozenMap[str, SourceRange], known: dict[tuple[int, str], dict[str, SourceRange]]
) -> Mapping[str, SourceRange]:
    """Every place that `find_place` knows. `known` keeps what many targets share, by what was written where."""
    if not isinstance(locations, Places):
        return locations
    found: dict[str, SourceRange] = {}
    for name, written in locations.written.items():
        for each in written:
            if (id(each), name) not in known:
                known[id(each), name] = dict(_inside(each, name))
            found |= known[id(each), name]
        if len(written) > 1:
            found = {path: place for path, place in found.items() if not path.startswith(f"{name}[")}
    return found


def _inside(written: Attribute | Span, name: str) -> Iterator[tuple[str, SourceRange]]:
    if isinstance(written, Span):
        yield name, written.where()
        return
    node = written.node
    yield name, node.span.where()
    if isinstance(node, tree.Object):
        for key, item in reversed(node.items):  # of a key that is there twice, the first
            yield f"{name}.{_key_of(key)}", item.span.where()
    elif isinstance(node, tree.Tuple):
        for number, item in enumerate(node.items):
            yield f"{name}[{number}]", item.span.where()


class Places(FrozenMap[str, SourceRange]):
    """`Target.locations`: lines and columns are counted when somebody asks."""

    __slots__ = ("_written",)

    def __init__(self, written: Mapping[str, Written]) -> None:
        super().__init__(dict.fromkeys(written))
        self._written = written

    @property
    def written(self) -> Mapping[str, Written]:
        return self._written

    def __getitem__(self, key: str) -> SourceRange:
        found = find_place(self._written, key)
        if found is None:
            raise KeyError(key)
        return found.where()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and find_place(self._written, key) is not None

    def items(self) -> ItemsView[str, SourceRange]:
        return ItemsView(self)

    def values(self) -> ValuesView[SourceRange]:
        return ValuesView(self)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._written)))
