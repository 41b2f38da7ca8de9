"""What HCL and JSON files say in `x-bakepy`, which buildx skips: a target's own keys, and at the top the pools."""

from __future__ import annotations

from collections.abc import Iterator

from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute
from bakepy.bakefile.fields import BY_NAME, OWN_NAMES
from bakepy.bakefile.kinds import FieldError
from bakepy.bakefile.own import OWN
from bakepy.bakefile.values import Value
from bakepy.errors import nearest


def fields_of_target(label: str, attribute: Attribute, value: Value) -> Iterator[tuple[str, object]]:
    """The fields of the target `label`, by name. Raises DefinitionError."""
    if not v.is_mapping(value.type) or value.raw is None:
        raise attribute.node.error(f"expected an object, found {v.article(value.type)}")
    for name, inner in value.raw.items():
        path = f"target.{label}.{OWN}.{name}"
        if name not in OWN_NAMES:
            hint = nearest(name, OWN_NAMES) or f"known: {', '.join(sorted(OWN_NAMES))}"
            raise attribute.node.span.error(f"unknown key {name!r}", path=path, hint=hint)
        try:
            yield name, BY_NAME[name].kind.decode(inner)
        except FieldError as reason:
            raise attribute.node.span.error(str(reason), path=path) from None


def pools_of_file(attribute: Attribute, value: Value) -> Iterator[tuple[str, Value]]:
    """The pools by name, with what is said of each. Raises DefinitionError."""
    if not v.is_mapping(value.type) or value.raw is None:
        raise attribute.node.span.error(f"expected an object, found {v.article(value.type)}", path=OWN)
    for name, inner in value.raw.items():
        if name != "pools":
            raise attribute.node.span.error(
                f"unknown key {name!r}", path=OWN, hint=nearest(name, ("pools",)) or "'pools' can stand here"
            )
        if not v.is_mapping(inner.type) or inner.raw is None:
            raise attribute.node.span.error("expected the places of each pool, by name", path=f"{OWN}.pools")
        yield from inner.raw.items()
