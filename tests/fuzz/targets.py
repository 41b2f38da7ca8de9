"""What is fuzzed, and what must hold: nothing but bakepy's own errors comes out, and what is printed reads back.

Each target takes bytes. It returns for whatever the bytes mean, also for nonsense, and raises for a mistake of bakepy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bakepy.bakefile.convert import SYNTAXES, convert, difference
from bakepy.bakefile.entries import (
    EntryError,
    csv_fields,
    parse_attest,
    parse_caches,
    parse_output,
    parse_policy,
    parse_secret,
    parse_ssh,
)
from bakepy.bakefile.format import format_text
from bakepy.bakefile.functions.re2 import compile_pattern
from bakepy.bakefile.functions.re2.pattern import PatternError
from bakepy.bakefile.listing import render_list
from bakepy.bakefile.load import LoadOptions, deep_calls, load, load_definitions
from bakepy.bakefile.render import render
from bakepy.bakefile.request import Request
from bakepy.dockerfile.compile import Compilation, parse
from bakepy.dockerfile.frontend import context_of, options_of
from bakepy.dockerfile.ignore import parse_ignore
from bakepy.dockerfile.options import LocalContext, LowerOptions
from bakepy.dockerfile.parser import Parsed, Statement, parse_text
from bakepy.dockerfile.printer import pieces_of, print_parsed
from bakepy.errors import BakeError
from bakepy.llb.definition import Definition
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.patterns import PatternMatcher, go_match
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from tests.conformance.llb import prepared
from tests.support.bakefiles import MemoryReader

AMD64: Final = Platform("linux", "amd64")
BASE: Final = """
variable "V" { default = "v" }
group "default" { targets = ["a", "b"] }
target "a" {
  args = { X = "1" }
  tags = ["t"]
  output = ["type=image"]
  secret = ["type=env,id=s"]
}
target "b" {
  inherits = ["a"]
  contexts = { c = "target:a" }
}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """`suffixes`: which files of a corpus are seeds; `words`: what the language is made of."""

    run: Callable[[bytes], None]
    suffixes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _options(name: str, data: bytes, *overrides: str) -> LoadOptions:
    reader = MemoryReader({name: data, "Dockerfile": "FROM x", "src/": ""})
    return LoadOptions(targets=["*"], overrides=overrides, reader=reader, now=lambda: 0.0, random=bytes)


def bake_file(name: str) -> Callable[[bytes], None]:
    """A whole file: evaluated, printed, listed, laid out, and turned into every other syntax."""

    def run(data: bytes) -> None:
        file = SourceFile(name, text_of(data))
        options = _options(name, data)
        try:
            definitions = load_definitions([file], options)
        except BakeError as error:
            assert error.render() and error.exit_code == 2
            return
        for what in ("targets", "variables", "type=targets,format=json"):
            render_list(what, definitions)
        try:
            render(load([file], options))
        except BakeError as error:
            assert error.render() and error.exit_code == 2
        if name.endswith((".hcl", ".toml")):
            _check_layout(file, options)
        for syntax in SYNTAXES:
            _check_conversion(file, syntax, options)

    return run


def _check_layout(file: SourceFile, options: LoadOptions) -> None:
    once = format_text(file)
    assert format_text(replace(file, text=once)) == once, "laid out twice, it is not the same"
    assert (found := difference(file, replace(file, text=once), options)) == "", f"laid out, {found} is not the same"


def _check_conversion(file: SourceFile, syntax: str, options: LoadOptions) -> None:
    try:
        converted = convert(file, f"x.{syntax}", syntax, options.reader)
    except BakeError:
        return  # there is not a form for everything
    found = difference(file, converted.file, options)
    assert found == "", f"as {syntax}, {found} is not the same"


def unnamed_file(data: bytes) -> None:
    """A file whose name does not tell what it is."""
    try:
        load([SourceFile("file", text_of(data))], _options("file", data))
    except BakeError as error:
        assert error.render() and error.exit_code == 2


def expression(data: bytes) -> None:
    """An expression beside variables of all types."""
    from tests.fuzz.differential.expressions import HEADER

    text = f'{HEADER}\ntarget "a" {{\n  args = {{ x = {text_of(data)}\n }}\n}}\n'
    try:
        load([SourceFile("x.hcl", text)], _options("x.hcl", data))
    except BakeError as error:
        assert error.render()


def override(data: bytes) -> None:
    """The texts of flags, one a line; what kind of flag, says the first letter."""
    for line in text_of(data).split("\n"):
        kind, text = line[:1], line[1:]
        flags = {"v": "variables", "c": "call", "s": "sbom", "p": "provenance", "y": "policies", "a": "allowed"}
        try:
            if kind == "e":
                for parse_entry in (
                    csv_fields,
                    parse_output,
                    parse_caches,
                    parse_secret,
                    parse_ssh,
                    parse_attest,
                    parse_policy,
                ):
                    try:
                        parse_entry(text)
                    except EntryError as error:
                        assert str(error)
            elif kind in flags:
                value = text if kind in "csp" else [text]
                request = Request(targets=["*"], **{flags[kind]: value})  # type: ignore[arg-type]
                render(load([SourceFile("x.hcl", BASE)], request.options({}, None)))
            else:
                render(load([SourceFile("x.hcl", BASE)], _options("x.hcl", b"", text)))
        except BakeError as error:
            assert error.render() and error.exit_code == 2


def dockerfile_parse(data: bytes) -> None:
    """The statements cover the text: each says its lines, in order; and they can be printed again."""
    parsed = parse(text_of(data), "Dockerfile")
    check_round_trip(parsed.parsed)
    try:
        parsed.require()
        parsed.targets()
    except BakeError as error:
        assert error.render()
    last = 0
    for statement in parsed.parsed.statements:
        lines = [place.start.line for place in statement.location]
        assert lines[0] > last, "statements are in order"
        last = lines[-1]


def check_round_trip(parsed: Parsed) -> None:
    """The pieces are the file; what is printed says the same."""
    assert "".join(piece.text for piece in pieces_of(parsed)) == parsed.file.text
    if not parsed.statements:
        assert parsed.errors or print_parsed(parsed) == parsed.file.text == ""
    elif not parsed.errors:
        again = parse_text(replace(parsed.file, text=print_parsed(parsed)))
        assert (again.directives, again.escape, again.errors) == (parsed.directives, parsed.escape, ())
        assert [bare(each) for each in again.statements] == [bare(each) for each in parsed.statements]


def bare(statement: Statement) -> Statement:
    """Without places."""
    return replace(statement, first_line=0, last_line=0, last_command_line=0, segments=(), location=())


def dockerfile_compile(data: bytes) -> None:
    """Lowered for two platforms and from two sides, checked, outlined."""
    text = text_of(data)
    parsed = parse(text, "Dockerfile")
    main = LocalContext(session="s", ignore="*.md\n!README.md")
    plain = LowerOptions(build_platform=AMD64, context=main, labs=True)
    args: FrozenMap[str, str] = FrozenMap(
        {"VERSION": "1.2", "BUILDKIT_SYNTAX": "x", "SOURCE_DATE_EPOCH": "0", "A": "$B"}
    )
    other = replace(plain, platform=Platform("linux", "arm64", "v8"), multi_platform=True, build_args=args)
    for options in (plain, other):
        for ask in (_lower, Compilation.check, Compilation.outline):
            try:
                ask(prepared(parsed, options))
            except BakeError as error:
                assert error.render()


def _lower(compilation: Compilation) -> None:
    lowered = compilation.lower()
    definition = Definition.of(lowered.graph, lowered.head)
    assert len({each.digest for each in definition.vertices}) == len(definition.vertices)
    lowered.image.to_json()


def ignore_file(data: bytes) -> None:
    """The first line is a path, the others are an ignore file."""
    path, _, text = text_of(data).partition("\n")
    try:
        matcher = PatternMatcher(parse_ignore(text))
        assert matcher.matches(path.strip("/") or "a") in (True, False)
        matcher.may_match_below(path)
        matcher.may_except_below(path)
        for pattern in parse_ignore(text)[:3]:
            go_match(pattern, path)
    except BakeError as error:
        assert error.render()


def reference(data: bytes) -> None:
    """Names of images, platforms and contexts; what is printed reads back."""
    text = text_of(data)
    try:
        found = ImageReference.parse(text)
        assert ImageReference.parse(str(found)) == found
        assert ImageReference.parse(found.familiar()) == found
    except BakeError as error:
        assert error.render()
    try:
        platform = Platform.parse(text)
        assert Platform.parse(str(platform)).normalized() == platform.normalized()
    except BakeError as error:
        assert error.render()
    try:
        context_of("c", text)
        options_of(
            {"context": text, "platform": text, "add-hosts": text, "ulimit": text, "shm-size": text},
            build_platform=AMD64,
            main=LocalContext(),
        )
    except BakeError as error:
        assert error.render()


def pattern(data: bytes) -> None:
    """The first line is a regular expression, the rest a text."""
    source, _, text = text_of(data).partition("\n")
    try:
        with deep_calls():
            compiled = compile_pattern(source)
    except PatternError:
        return
    for spans in compiled.find_all(text[:200]):
        assert spans[0] is not None


BAKE_WORDS: Final = (
    "target", "group", "variable", "function", "default", "inherits", "matrix", "name", "args", "tags", "context", "contexts", "dockerfile", "output", "platforms", "cache-from", "secret", "ssh", "attest", "labels",
    "targets", "params", "result", "variadic_params", "validation", "condition", "error_message", "type", "description", "null", "true", "target:", "type=", "id=", "src=", "registry", "local",
)  # fmt: skip
HCL_WORDS: Final = (
    *BAKE_WORDS, "${", "%{", "}", "~}", "if ", "for ", " in ", "endif", "endfor", "else", "=>", "...", "==", "!=", "&&", "||", "<<EOT\n", "<<-E\n", "EOT\n", "[*]", ".*", "try(", "convert(", "list(string)", "object({", "optional(",
    "format(", "regex(", "range(", "jsondecode(", "setproduct(", "formatdate(", "cidrsubnet(", "merge(", "flatten(", "timeadd(", "csvdecode(", "substr(", "1e400", "0.1", "\\u00e9", "/*", "*/", "#", "//",
)  # fmt: skip
DOCKERFILE_WORDS: Final = (
    "FROM ", "RUN ", "COPY ", "ADD ", "ARG ", "ENV ", "LABEL ", "WORKDIR ", "USER ", "CMD ", "ENTRYPOINT ", "EXPOSE ", "VOLUME ", "HEALTHCHECK ", "SHELL ", "STOPSIGNAL ", "ONBUILD ", "MAINTAINER ", " AS ", "scratch",
    "--mount=type=", "bind", "cache", "secret", "ssh", "tmpfs", "--from=", "--chown=", "--chmod=", "--link", "--parents", "--exclude=", "--checksum=", "--platform=", "--network=", "--security=", "--interval=", "# syntax=", "# escape=`", "# check=",
    "<<EOF\n", "EOF\n", "\\\n", "${", ":-", ":+", "$BUILDPLATFORM", "$TARGETARCH", "target=/", "https://github.com/a/b.git#", "http://x/y.tar", "sha256:", '["a","b"]', "%%", "##", "/.", "skip=all;error=true", "onbuild", "with-env", "windows",
)  # fmt: skip

# fmt: off
TARGETS: Final[dict[str, Target]] = {
    "hcl": Target(bake_file("docker-bake.hcl"), (".hcl",), HCL_WORDS),
    "json": Target(bake_file("docker-bake.json"), ("bake.json", "a.json", "b.json"), (*BAKE_WORDS, '{"', '":', '",', "[[", "${", "\\u0000", "//")),
    "toml": Target(bake_file("bake.toml"), (".toml",), (*HCL_WORDS, "[target.", "[[", "]]", "'''", '"""', "locals", "include", "pools")),
    "compose": Target(
        bake_file("compose.yaml"), (".yaml", ".yml"),
        (*BAKE_WORDS, "services:", "build:", "x-bake:", "dockerfile_inline:", "args:", "&a", "*a", "<<: *a", "!reset", "!override", "${A:-", "$$", "extends:", "include:", "env_file:", "secrets:", "ulimits:", "shm_size:", "|\n", ">-\n", "!!str", "- "),
    ),
    "unnamed": Target(unnamed_file, (".hcl", ".yaml", ".json"), BAKE_WORDS),
    "expression": Target(expression, (), HCL_WORDS),
    "override": Target(override, (), (*BAKE_WORDS, "xa.", "x*.", "+=", "type=", "disabled=", "mode=max", "push=true", '"', ",")),
    "dockerfile": Target(dockerfile_parse, ("Dockerfile",), DOCKERFILE_WORDS),
    "compile": Target(dockerfile_compile, ("Dockerfile",), DOCKERFILE_WORDS),
    "ignore": Target(ignore_file, (".dockerignore",), ("**", "*", "!", "[a-z]", "[^", "\\", "?", "../", "/", "#")),
    "reference": Target(reference, (), ("docker.io/", "library/", "@sha256:", ":latest", "localhost:5000/", "linux/arm64/v8", "git@", "https://", ".git#", "target:", "oci-layout://", "windows(10)/amd64")),
    "pattern": Target(pattern, (), ("(?P<a>", "(?i)", "[[:alpha:]]", "\\p{L}", "\\d", "{2,5}", "*?", "|", "\\b", "[^", "\\Q", "\\x{41}", "(?s:")),
}
# fmt: on
