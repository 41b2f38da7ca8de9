"""`dataclass` as in the standard library, but cheaper to define.

The standard decorator compiles six methods for each class, which for some 250 classes is a large part of the start of a
run. Here only `__init__` and what freezes are compiled; equality, hash and text are closures over the field names that
behave the same. Measured in docs/decisions/start-up.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, repr=True, **others):
        """See `dataclasses.dataclass`. Options beyond these four take the standard road."""

        def define(cls):
            if others or not eq or not repr:
                return dataclasses.dataclass(frozen=frozen, slots=slots, eq=eq, repr=repr, **others)(cls)
            if not cls.__doc__:
                cls.__doc__ = cls.__name__  # else the standard decorator inspects the signature to write one
            own = {name for name in ("__eq__", "__hash__", "__repr__") if name in cls.__dict__}
            made = dataclasses.dataclass(frozen=frozen, slots=slots, eq=False, repr=False)(cls)
            fields = dataclasses.fields(made)
            if "__eq__" not in own:
                made.__eq__ = _equality(tuple(field.name for field in fields if field.compare))
            if "__hash__" not in own:
                hashed = (field.compare if field.hash is None else field.hash for field in fields)
                names = tuple(field.name for field, counts in zip(fields, hashed, strict=True) if counts)
                made.__hash__ = _hash(names) if frozen else None
            if "__repr__" not in own:
                made.__repr__ = _text(tuple(field.name for field in fields if field.repr))
            return made

        return define if cls is None else define(cls)

    def _getter(names):
        if not names:
            return lambda self: ()
        get = attrgetter(*names)
        return get if len(names) > 1 else lambda self: (get(self),)

    def _equality(names):
        get = _getter(names)

        def __eq__(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return self is other or get(self) == get(other)

        return __eq__

    def _hash(names):
        get = _getter(names)
        return lambda self: hash(get(self))

    def _text(names):
        def __repr__(self):
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{self.__class__.__qualname__}({values})"

        return __repr__
