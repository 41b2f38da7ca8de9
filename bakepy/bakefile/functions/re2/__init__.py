"""Regular expressions with the syntax and the meaning of RE2: no backtracking, so never slow.

A pattern becomes a small program; all ways through it are followed at once, in order of preference, character by
character (a Pike machine). The first alternative that matches counts, as in Perl.
"""

from __future__ import annotations

from bakepy.bakefile.functions.re2.pattern import PatternParser
from bakepy.bakefile.functions.re2.program import Expression


def compile_pattern(pattern: str) -> Expression:
    """Raises PatternError."""
    parser = PatternParser(pattern)
    tree = parser.whole()
    return Expression(tree, parser.names)
