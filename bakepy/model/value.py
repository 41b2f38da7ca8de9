"""`dataclass` as in the standard library, but cheaper to define.

The standard decorator compiles six methods for each class, which for some 300 classes is a large part of the start of a
run. Here nothing is compiled when a class is defined: equality, hash and text are closures over the field names, and
`__init__` is compiled when the class has made a few values. Measured in docs/decisions/start-up.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from dataclasses import MISSING
    from inspect import get_annotations
    from operator import attrgetter
    from types import MemberDescriptorType, SimpleNamespace

    _PARAMETERS = {
        frozen: SimpleNamespace(init=True, repr=True, eq=True, order=False, unsafe_hash=False, frozen=frozen)
        for frozen in (False, True)
    }

    _FEW = 16
    """Compiling takes as long as setting the fields of some thirty values one by one takes longer."""
    _set = object.__setattr__

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, repr=True, **others):
        """See `dataclasses.dataclass`. Other options, `__post_init__` and `InitVar` take the standard road."""

        def define(cls):
            if others or hasattr(cls, "__post_init__"):
                return dataclasses.dataclass(frozen=frozen, slots=slots, eq=eq, repr=repr, **others)(cls)
            fields = _fields(cls)
            own = set(cls.__dict__)
            if cls.__dict__.get("__hash__", MISSING) is None and "__eq__" in own:
                own.discard("__hash__")  # Python's answer to an own __eq__, nobody's decision
            made = _slotted(cls, fields) if slots else cls
            made.__dataclass_fields__ = fields
            made.__dataclass_params__ = _PARAMETERS[frozen]
            made.__match_args__ = tuple(name for name, field in fields.items() if field.init)
            if not made.__doc__:
                made.__doc__ = made.__name__
            methods = {"__init__": _init(made, fields, frozen)}
            if eq:
                methods["__eq__"] = _equality(tuple(name for name, field in fields.items() if field.compare))
                hashed = (field.compare if field.hash is None else field.hash for field in fields.values())
                names = tuple(name for name, counts in zip(fields, hashed, strict=True) if counts)
                methods["__hash__"] = _hash(names) if frozen else None
            if repr:
                methods["__repr__"] = _text(tuple(name for name, field in fields.items() if field.repr))
            if frozen:
                methods |= _FROZEN
                if slots and "__getstate__" not in cls.__dict__:
                    methods |= _STATE
            for name, method in methods.items():
                if name not in own:
                    setattr(made, name, method)
            return made

        return define if cls is None else define(cls)

    def _fields(cls):
        """The fields of the bases and of this class, in order; the class keeps its defaults as attributes."""
        fields = {}
        for base in cls.__mro__[-1:0:-1]:
            fields.update(base.__dict__.get("__dataclass_fields__", {}))
        optional = False
        for name, annotation in get_annotations(cls).items():
            if "ClassVar" in str(annotation):
                continue
            default = cls.__dict__.get(name, MISSING)
            if isinstance(default, dataclasses.Field):
                found = default
                if found.default is MISSING:
                    delattr(cls, name)
                else:
                    setattr(cls, name, found.default)
            else:
                found = dataclasses.field(default=MISSING if isinstance(default, MemberDescriptorType) else default)
            if found.default is not MISSING and found.default.__class__.__hash__ is None:
                raise ValueError(f"mutable default for field {name} is not allowed: use default_factory")
            found.name, found.type, found._field_type, found.kw_only = name, annotation, dataclasses._FIELD, False
            fields[name] = found
        for name, found in fields.items():
            if not found.init:
                continue
            if found.default is not MISSING or found.default_factory is not MISSING:
                optional = True
            elif optional:
                raise TypeError(f"non-default argument {name!r} follows default argument")
        return fields

    def _slotted(cls, fields):
        """The class once more, with slots for the fields that no base has."""
        inherited = {name for base in cls.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
        body = {name: value for name, value in cls.__dict__.items() if name not in fields}
        body["__slots__"] = tuple(name for name in fields if name not in inherited)
        body.pop("__dict__", None)
        body.pop("__weakref__", None)
        made = type(cls)(cls.__name__, cls.__bases__, body)
        made.__qualname__ = cls.__qualname__
        return made

    def _init(cls, fields, frozen):
        """Sets the fields one by one. A class that makes more than a few values gets a compiled one."""
        names = [name for name, field in fields.items() if field.init]
        left = _FEW

        def __init__(self, *positional, **named):
            nonlocal left
            if left and (values := _bound(fields, names, positional, named)) is not None:
                left -= 1
                for name, value in values:
                    _set(self, name, value)
                return
            if cls.__init__ is __init__:
                cls.__init__ = _compiled_init(cls, fields, frozen)
            cls.__init__(self, *positional, **named)  # which also tells what is wrong with these arguments

        return __init__

    def _bound(fields, names, positional, named):
        """The value of each field; None if the arguments do not fit."""
        given = dict(zip(names, positional, strict=False)) | named
        if len(given) != len(positional) + len(named):
            return None
        values = []
        for name, field in fields.items():
            if name in given and field.init:
                values.append((name, given.pop(name)))
            elif field.default is not MISSING:
                values.append((name, field.default))
            elif field.default_factory is not MISSING:
                values.append((name, field.default_factory()))
            elif field.init:
                return None
        return None if given else values

    def _compiled_init(cls, fields, frozen):
        """`__init__` as the standard decorator writes it; frozen values are set through their slots' descriptors."""
        names = {"__name__": cls.__module__, "_MISSING": MISSING, "_set": object.__setattr__}
        head, body = ["self"], []
        for name, field in fields.items():
            value = name
            if field.default_factory is not MISSING:
                names[f"_default_{name}"] = field.default_factory
                value = f"_default_{name}()"
                if field.init:
                    head.append(f"{name}=_MISSING")
                    value = f"{value} if {name} is _MISSING else {name}"
            elif field.default is not MISSING:
                names[f"_default_{name}"] = field.default
                if field.init:
                    head.append(f"{name}=_default_{name}")
                else:
                    value = f"_default_{name}"
            elif field.init:
                head.append(name)
            else:
                continue
            if not frozen:
                body.append(f"self.{name} = {value}")
            elif isinstance(slot := getattr(cls, name, None), MemberDescriptorType):
                names[f"_set_{name}"] = slot.__set__
                body.append(f"_set_{name}(self, {value})")
            else:
                body.append(f"_set(self, {name!r}, {value})")
        exec(f"def __init__({', '.join(head)}):\n {'; '.join(body) or 'pass'}\n", names)
        made = names["__init__"]
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        return made

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

    def _set_frozen(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _delete_frozen(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self):
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def _restore(self, state):
        for name, value in zip(self.__dataclass_fields__, state, strict=True):
            object.__setattr__(self, name, value)

    _FROZEN = {"__setattr__": _set_frozen, "__delattr__": _delete_frozen}
    _STATE = {"__getstate__": _state, "__setstate__": _restore}
