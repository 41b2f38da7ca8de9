"""Points in time: RFC 3339 text and Unix seconds, without the limits of Python's datetime."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare
from bakepy.bakefile.node import Function
from bakepy.bakefile.values import Value
from bakepy.model.value import dataclass

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_STAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:(Z)|([+-])(\d\d):(\d\d))\Z", re.ASCII
)
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """Nanoseconds since 1970 in UTC, and the offset of the place in minutes."""

    nanoseconds: int
    offset: int = 0

    @property
    def seconds(self) -> int:
        return self.nanoseconds // 1_000_000_000

    def date(self) -> tuple[int, int, int]:
        return _civil(self._local() // 86400)

    def clock(self) -> tuple[int, int, int]:
        second = self._local() % 86400
        return second // 3600, second // 60 % 60, second % 60

    def weekday(self) -> int:
        """0 is Sunday."""
        return (self._local() // 86400 + 4) % 7

    def year_day(self) -> int:
        year, _, _ = self.date()
        return self._local() // 86400 - _days(year, 1, 1) + 1

    def iso_week(self) -> tuple[int, int]:
        day = self._local() // 86400
        thursday = day - (self.weekday() - 1) % 7 + 3
        year, _, _ = _civil(thursday)
        return year, (thursday - _days(year, 1, 1)) // 7 + 1

    def _local(self) -> int:
        return self.seconds + self.offset * 60

    def zone(self, colon: bool) -> str:
        sign, minutes = ("-" if self.offset < 0 else "+"), abs(self.offset)
        return f"{sign}{minutes // 60:02d}{':' if colon else ''}{minutes % 60:02d}"

    def __str__(self) -> str:
        """RFC 3339, without fractions of a second."""
        year, month, day = self.date()
        hour, minute, second = self.clock()
        zone = self.zone(True) if self.offset else "Z"
        return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{zone}"


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _civil(days: int) -> tuple[int, int, int]:
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def parse_moment(text: str, argument: int) -> Moment:
    found = _STAMP.match(text)
    if not found:
        raise FunctionError(f"{text!r} is no time in RFC 3339 form", argument)
    year, month, day, hour, minute, second = (int(found[position]) for position in range(1, 7))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1] or hour > 23 or minute > 59 or second > 59:
        raise FunctionError(f"{text!r} is no time: a part of it is out of range", argument)
    offset = 0
    if found[9]:
        if int(found[10]) > 23 or int(found[11]) > 59:
            raise FunctionError(f"{text!r} is no time: its offset is out of range", argument)
        offset = (int(found[10]) * 60 + int(found[11])) * (-1 if found[9] == "-" else 1)
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset * 60
    fraction = int((found[7] or "0")[:9].ljust(9, "0"))
    return Moment(seconds * 1_000_000_000 + fraction, offset)


def _unix(value: Value, argument: int) -> Moment:
    number = value.raw
    if not number.is_whole or number.mantissa.bit_length() + number.exponent > 63:
        raise FunctionError("a Unix time must be a whole number", argument)
    return Moment(number.truncated() * 1_000_000_000)


def _duration(text: str) -> int:
    """Nanoseconds of a text such as `1h30m` or `-1.5s`."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        found = _DURATION_PART.match(rest, position)
        if not found or not (found[1] or found[2]):
            raise FunctionError(f"{text!r} is no duration: expected numbers with units, such as 1h30m", 1)
        unit, fraction = _NANOSECONDS[found[3]], (found[2] or "")[:18]
        total += int((found[1] or "0").lstrip("0")[:20] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = found.end()
    if not rest or total >= 1 << 63:
        raise FunctionError(f"{text!r} is no duration that can be used", 1)
    return sign * total


def _timeadd(moment: Value, duration: Value) -> Value:
    start = parse_moment(moment.raw, 0)
    return v.string(str(Moment(start.nanoseconds + _duration(duration.raw), start.offset)))


# -- formats


def _tokens(text: str) -> list[str]:
    """Runs of one letter, literals in quotes, and what is between."""
    found: list[str] = []
    position = 0
    while position < len(text):
        start, character = position, text[position]
        if character == "'":
            position = _literal_end(text, position)
        elif character.isascii() and character.isalpha():
            while position < len(text) and text[position] == character:
                position += 1
        else:
            while position < len(text) and not (
                text[position] == "'" or (text[position].isascii() and text[position].isalpha())
            ):
                position += 1
        found.append(text[start:position])
    return found


def _literal_end(text: str, start: int) -> int:
    if text.startswith("''", start):
        return start + 2
    position = start + 1
    while True:
        position = text.find("'", position)
        if position < 0:
            raise FunctionError("a literal in quotes does not end", 0)
        if not text.startswith("''", position):
            return position + 1
        position += 2


def format_moment(form: str, moment: Moment) -> str:
    year, month, day = moment.date()
    hour, minute, second = moment.clock()
    half = hour % 12 or 12
    day_name, month_name = _DAYS[moment.weekday()], _MONTHS[month - 1]
    verbs = {
        "YY": f"{year % 100:02d}",
        "YYYY": f"{year:04d}",
        "M": str(month),
        "MM": f"{month:02d}",
        "MMM": month_name[:3],
        "MMMM": month_name,
        "D": str(day),
        "DD": f"{day:02d}",
        "EEE": day_name[:3],
        "EEEE": day_name,
        "h": str(hour),
        "hh": f"{hour:02d}",
        "H": str(half),
        "HH": f"{half:02d}",
        "AA": "AM" if hour < 12 else "PM",
        "aa": "am" if hour < 12 else "pm",
        "m": str(minute),
        "mm": f"{minute:02d}",
        "s": str(second),
        "ss": f"{second:02d}",
        "Z": moment.zone(True) if moment.offset else "Z",
        "ZZZ": moment.zone(False) if moment.offset else "UTC",
        "ZZZZ": moment.zone(False),
        "ZZZZZ": moment.zone(True),
    }
    pieces: list[str] = []
    for token in _tokens(form):
        if token[0] == "'":
            pieces.append("'" if token == "''" else token[1:-1].replace("''", "'"))
        elif token[0].isascii() and token[0].isalpha():
            if token not in verbs:
                raise FunctionError(f"there is no verb {token!r} in formats of times", 0)
            pieces.append(verbs[token])
        else:
            pieces.append(token)
    return "".join(pieces)


def _formatdate(form: Value, moment: Value) -> Value:
    return v.string(format_moment(form.raw, parse_moment(moment.raw, 1)))


def _formattimestamp(form: Value, moment: Value) -> Value:
    if moment.type is v.STRING:
        when = parse_moment(moment.raw, 1)
    elif moment.type is v.NUMBER:
        when = _unix(moment, 1)
    else:
        raise FunctionError(f"a text in RFC 3339 form or a Unix time is required, not {v.article(moment.type)}", 1)
    return v.string(str(when.seconds) if form.raw == "X" else format_moment(form.raw, when))


def _unixtimestampparse(value: Value) -> Value:
    moment = _unix(value, 0)
    year, month, day = moment.date()
    hour, minute, second = moment.clock()
    iso_year, iso_week = moment.iso_week()
    numbers = {
        "year": year,
        "year_day": moment.year_day(),
        "day": day,
        "month": month,
        "weekday": moment.weekday(),
        "hour": hour,
        "minute": minute,
        "second": second,
        "iso_year": iso_year,
        "iso_week": iso_week,
    }
    words = {"month_name": _MONTHS[month - 1], "weekday_name": _DAYS[moment.weekday()], "rfc3339": str(moment)}
    return v.object_of(
        {name: v.number(each) for name, each in numbers.items()}
        | {name: v.string(each) for name, each in words.items()}
    )


FUNCTIONS: Final[dict[str, Function]] = {
    "formatdate": declare("formatdate", _formatdate, v.STRING, v.STRING),
    "formattimestamp": declare("formattimestamp", _formattimestamp, v.STRING, v.DYNAMIC),
    "timeadd": declare("timeadd", _timeadd, v.STRING, v.STRING),
    "timestamp": declare(
        "timestamp", lambda scope: v.string(str(Moment(int(scope.globals.now()) * 1_000_000_000))), scoped=True
    ),
    "unixtimestampparse": declare("unixtimestampparse", _unixtimestampparse, v.NUMBER),
}
