"""The functions of the language, by name; each family is imported when one of its functions is first called."""

from __future__ import annotations

from typing import Final

from bakepy.bakefile.node import Function

_FAMILIES: Final[dict[str, str]] = {
    name: family
    for family, names in {
        "control": "can convert try",
        "numbers": "absolute add and ceil divide equal floor greaterthan greaterthanorequalto int lessthan"
        " lessthanorequalto log max min modulo multiply negate not notequal or parseint pow signum subtract",
        "strings": "chomp format formatlist indent join lower regex regex_replace regexall replace reverse sanitize"
        " split strlen substr title trim trimprefix trimspace trimsuffix upper",
        "collections": "chunklist coalesce coalescelist compact concat contains distinct element flatten hasindex"
        " index indexof keys length lookup merge range reverselist sethaselement setintersection setproduct"
        " setsubtract setsymmetricdifference setunion slice sort values zipmap",
        "encoding": "base64decode base64encode basename bcrypt byteslen bytesslice csvdecode dirname homedir"
        " jsondecode jsonencode md5 rsadecrypt sha1 sha256 sha512 urlencode uuidv4 uuidv5",
        "network": "cidrhost cidrnetmask cidrsubnet cidrsubnets",
        "times": "formatdate formattimestamp timeadd timestamp unixtimestampparse",
        "versions": "semvercmp",
    }.items()
    for name in names.split()
}


def find_function(name: str) -> Function | None:
    """The function of that name, if there is one."""
    family = _FAMILIES.get(name)
    if family is None:
        return None
    from importlib import import_module

    function: Function = import_module(f"{__name__}.{family}").FUNCTIONS[name]
    return function


def function_names() -> list[str]:
    return list(_FAMILIES)
