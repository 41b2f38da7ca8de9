"""Symbolic file modes (`u=rwX,go-w`), as BSD's setmode and COPY's `--chmod` read them. The umask is taken as 0."""

from __future__ import annotations

from bakepy.errors import DefinitionError
from bakepy.model.value import dataclass

SETUID, SETGID, STICKY = 0o4000, 0o2000, 0o1000
_STANDARD = SETUID | SETGID | 0o777
_WHO = {"a": _STANDARD, "u": SETUID | 0o700, "g": SETGID | 0o070, "o": 0o007}
_PERMISSIONS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SHIFTS = {"u": 6, "g": 3, "o": 0}


@dataclass(frozen=True, slots=True)
class _Step:
    """`do` is `+`, `-`, `X` (add if a folder or executable), or `u`, `g`, `o`: copy that class's bits to `classes`."""

    do: str
    bits: int
    classes: str = ""
    clears: bool = False
    sets: bool = False


@dataclass(frozen=True, slots=True)
class SymbolicMode:
    """A parsed mode; `apply` gives the twelve permission bits that it makes of others."""

    text: str
    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: str) -> SymbolicMode:
        """Raises DefinitionError (`invalid syntax`); octal numbers are accepted as well."""
        if text and all(digit in "01234567" for digit in text) and int(text, 8) <= 0o7777:
            return cls(text, (_Step("-", _STANDARD | STICKY), _Step("+", int(text, 8))))
        steps: list[_Step] = []
        for clause in text.split(","):
            _parse_clause(text, clause, steps)
        return cls(text, tuple(steps))

    def apply(self, mode: int, *, is_dir: bool) -> int:
        """The permission bits after the change; `mode` are those before."""
        before = now = mode & 0o7777
        for step in self.steps:
            if step.do == "+" or (step.do == "X" and (is_dir or before & 0o111)):
                now |= step.bits
            elif step.do == "-":
                now &= ~step.bits
            elif step.do != "X":
                now = _copy_class(step, now)
        return now


def _copy_class(step: _Step, mode: int) -> int:
    value = mode >> _SHIFTS[step.do] & 0o7
    for name in step.classes:
        shift = _SHIFTS[name]
        if step.clears:
            mode &= ~((0o7 if step.sets else value) << shift)
        if step.sets:
            mode |= value << shift
    return mode


def _parse_clause(text: str, clause: str, steps: list[_Step]) -> None:
    rest = clause.lstrip("augo")
    who = 0
    for letter in clause[: len(clause) - len(rest)]:
        who |= _WHO[letter]
    if not rest:
        raise _bad(text)
    while rest:
        operator, rest = rest[0], rest[1:]
        if operator not in "+-=":
            raise _bad(text)
        length = next((i for i, letter in enumerate(rest) if letter in "+-="), len(rest))
        _parse_permissions(text, operator, who, rest[:length], steps)
        rest = rest[length:]


def _parse_permissions(text: str, operator: str, who: int, letters: str, steps: list[_Step]) -> None:
    plain = conditional = 0
    assigned = False

    def emit() -> None:
        nonlocal assigned
        if operator == "=":
            steps.append(_Step("-", who or _STANDARD))
            assigned = True
        steps.append(_Step("-" if operator == "-" else "+", plain & who if who else plain))

    for letter in letters:
        if letter in _PERMISSIONS:
            plain |= _PERMISSIONS[letter]
        elif letter == "X":
            if operator == "-":
                plain |= 0o111
            else:
                conditional |= 0o111
        elif letter in "st":
            # of others alone there is no set-id and no sticky bit
            if not who or who & ~0o007:
                plain |= SETUID | SETGID if letter == "s" else STICKY
                who |= 0 if letter == "s" else STICKY
        elif letter in "ugo":
            if plain:
                emit()
            assigned = True
            if conditional:
                steps.append(_Step("X", conditional & who if who else conditional))
            plain = conditional = 0
            classes = "".join(name for name in "ugo" if not who or who & 0o4 << _SHIFTS[name])
            steps.append(_Step(letter, 0, classes, clears=operator in "-=", sets=operator in "+="))
        else:
            raise _bad(text)
    if plain or (operator == "=" and not assigned):
        emit()
    if conditional:
        steps.append(_Step("X", conditional & who if who else conditional))


def _bad(text: str) -> DefinitionError:
    return DefinitionError(
        f"invalid file mode '{text}': invalid syntax",
        hint="write an octal number up to 07777, or something like u=rwX,go=rX",
    )
