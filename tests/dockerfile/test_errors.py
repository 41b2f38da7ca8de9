"""What people see when a Dockerfile is wrong."""

from __future__ import annotations

import pytest

from bakepy.dockerfile.compile import Compilation, parse
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.options import LowerOptions
from bakepy.errors import BakeError
from bakepy.model.location import SourceRange
from tests.support.dockerfiles import AMD64, compilation, lower, runs


def failure(text: str, **options: object) -> str:
    with pytest.raises(BakeError) as error:
        lower(text, **options)  # type: ignore[arg-type]
    return str(error.value)


def test_all_independent_errors_of_a_file_are_told_in_file_order() -> None:
    assert failure('FROM alpine\nRUN --moun=x y\nFRM x\nCOPY a\nRUN ["a", 1]\nENV =b\n') == (
        "Dockerfile:2:5: dockerfile parse error on line 2: unknown flag: --moun\n"
        "    RUN --moun=x y\n"
        "        ^^^^^^\n"
        "hint: did you mean '--mount'?\n"
        "Dockerfile:3:1: dockerfile parse error on line 3: unknown instruction: FRM\n"
        "    FRM x\n"
        "    ^^^\n"
        "hint: did you mean 'FROM'?\n"
        "Dockerfile:4:6: dockerfile parse error on line 4: COPY requires at least two arguments, but only one was "
        "provided. Destination could not be determined\n"
        "    COPY a\n"
        "         ^\n"
        "hint: as in COPY SOURCE DESTINATION\n"
        "Dockerfile:5:5: dockerfile parse error on line 5: when using JSON array syntax, arrays must be comprised of "
        "strings only\n"
        '    RUN ["a", 1]\n'
        "        ^\n"
        'hint: as in ["make", "install"]\n'
        "Dockerfile:6:5: dockerfile parse error on line 6: ENV names can not be blank\n"
        "    ENV =b\n"
        "        ^^\n"
        "hint: as in ENV NAME=VALUE"
    )


def test_all_independent_errors_of_a_stage_are_told_in_file_order() -> None:
    text = (
        "FROM alpine\nCOPY --chmod=abc a b\nARG A\nRUN --mount=type=cash,target=/x y\nARG B\nSTOPSIGNAL SIGTREM\n"
        "EXPOSE 80/tpc\nRUN []\n"
    )
    assert failure(text) == (
        "Dockerfile:2:6: invalid mode 'abc' of --chmod: invalid syntax\n"
        "    COPY --chmod=abc a b\n"
        "         ^^^^^^^\n"
        "hint: as in 0755 or u=rwx,go=rx\n"
        'Dockerfile:4:13: unsupported mount type "cash"\n'
        "    RUN --mount=type=cash,target=/x y\n"
        "                ^^^^^^^^^\n"
        "hint: did you mean 'cache'?\n"
        "Dockerfile:6:12: invalid signal: SIGTREM\n"
        "    STOPSIGNAL SIGTREM\n"
        "               ^^^^^^^\n"
        "hint: did you mean 'SIGTERM'?\n"
        'Dockerfile:7:8: invalid port: "80/tpc": invalid proto: tpc\n'
        "    EXPOSE 80/tpc\n"
        "           ^^^^^^\n"
        "hint: did you mean 'tcp'?"
    )


def test_what_follows_a_wrong_variable_is_not_judged() -> None:
    text = "FROM alpine\nENV A=${B:x}\nENV C=${A:?needed}\nSTOPSIGNAL nothing\n"
    assert failure(text) == (
        "Dockerfile:2:7: failed to process \"${B:x}\": unsupported modifier (:x) in substitution of 'B'\n"
        "    ENV A=${B:x}\n"
        "          ^^^^^^\n"
        "hint: the forms are ${x}, ${x:-word}, ${x:+word}, ${x:?message}, ${x#start}, ${x%end} and ${x/this/that}"
    )


def test_behind_an_error_nothing_is_warned_of() -> None:
    result = compilation("FROM alpine\nWORKDIR a\nARG A\nSTOPSIGNAL q\nARG B\nCMD x\nENV C=$D\n").check()
    assert ([w.rule.name for w in result.warnings], str(result.error).splitlines()[0]) == (
        ["WorkdirRelativePath"],
        "Dockerfile:4:12: invalid signal: q",
    )


def test_a_build_names_no_endless_number_of_ports() -> None:
    assert failure("FROM a\n" + "EXPOSE 0-65535\n" * 30).splitlines()[0] == (
        "Dockerfile:18:1: EXPOSE names more than 1048576 ports in this build"
    )


def test_words_of_any_length_make_short_messages() -> None:
    for text in (
        "{}",
        "FROM a\n{} x",
        "FROM a\nRUN --{} x",
        "FROM {}",
        "FROM a\nEXPOSE {}",
        "FROM a\nCOPY --chmod={} a b",
        "FROM a\nSTOPSIGNAL {}",
        "FROM a\nRUN --mount={}=1 x",
        "# check={}\nFROM a",
        "FROM a\nADD https://h/x.git?{}=1 x",
        "FROM a\nENV A=${{{}",
        "FROM --platform=/{} a",
        "FROM a AS {}!",
        "FROM a\nRUN <<{}\nx",
    ):
        message = failure(text.format("q" * 60_000))
        assert message.startswith("Dockerfile:"), text
        assert len(message) < 2000, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dockerfile: the Dockerfile cannot be empty\nhint: it begins with FROM"),
        (
            "RUN a\nFROM x\n",
            "Dockerfile:1:1: no build stage in current context: RUN stands before the first FROM\n"
            "    RUN a\n    ^^^\nhint: only ARG may stand there",
        ),
        (
            "FROM alpine AS 1x\n",
            'Dockerfile:1:16: dockerfile parse error on line 1: invalid name for build stage: "1x", '
            "name can't start with a number or contain symbols\n    FROM alpine AS 1x\n                   ^^\n"
            "hint: letters, digits, '-', '_' and '.' are fine",
        ),
        (
            "ARG V\nFROM $V\n",
            "Dockerfile:2:6: base name ($V) should not be blank\n    FROM $V\n         ^^\nhint: $V has no value",
        ),
        (
            "FROM alpine\nWORKDIR \\\n  ${x:?must be set}\n",
            'Dockerfile:3:3: failed to process "${x:?must be set}": x: must be set\n'
            "      ${x:?must be set}\n      ^^^^^^^^^^^^^^^^^",
        ),
        (
            "FROM --platform=linux/amd6/x/y alpine\n",
            "Dockerfile:1:17: failed to parse platform linux/amd6/x/y: invalid platform 'linux/amd6/x/y'\n"
            "    FROM --platform=linux/amd6/x/y alpine\n"
            "                    ^^^^^^^^^^^^^^\nhint: a platform is OS/ARCH[/VARIANT], as in linux/arm64",
        ),
        (
            "FROM alpine AS a\nCOPY --from=b x y\nFROM scratch AS b\nCOPY --from=a x y\n",
            "Dockerfile:2:1: circular dependency detected on stage: a -> b -> a\n"
            "    COPY --from=b x y\n    ^^^^^^^^^^^^^^^^^",
        ),
        (
            "FROM alpine\nCOPY --from=later x y\nFROM alpine AS later\nFROM alpine\nCOPY --from=0 x y\n",
            'Dockerfile:2:1: cannot copy from stage "later", it needs to be defined before current stage "stage-0"\n'
            "    COPY --from=later x y\n    ^^^^\n"
            "hint: a stage can only use stages above it",
        ),
        (
            "FROM alpine\nRUN --mount=type=cashe,target=/x a\n",
            'Dockerfile:2:13: unsupported mount type "cashe"\n'
            "    RUN --mount=type=cashe,target=/x a\n                ^^^^^^^^^^\n"
            "hint: did you mean 'cache'?",
        ),
        (
            "FROM missing-image\n",
            "Dockerfile:1:6: docker.io/library/missing-image:latest: not found\n    FROM missing-image\n"
            "         ^^^^^^^^^^^^^",
        ),
        (
            "FROM example/onbuild-bad:1\n",
            "Dockerfile:1:1: unknown instruction: FROBNICATE\n"
            "    FROM example/onbuild-bad:1\n    ^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
            "    in the trigger ONBUILD FROBNICATE yes\n"
            "hint: instructions are ADD, ARG, CMD, COPY, ENTRYPOINT, ENV, EXPOSE, FROM, HEALTHCHECK, LABEL, "
            "MAINTAINER, ONBUILD, RUN, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR",
        ),
        (
            "FROM Alpine\n",
            'Dockerfile:1:6: failed to parse stage name "Alpine": '
            "invalid reference format: repository name (library/Alpine) must be lowercase\n"
            "    FROM Alpine\n         ^^^^^^\nhint: names of images are lower case",
        ),
        (
            "FROM alpine\nRUN []\n",
            "Dockerfile:2:1: arguments are required for RUN\n    RUN []\n    ^^^^^^\n"
            'hint: as in RUN ["make", "install"]',
        ),
        (
            "FROM alpine\nEXPOSE 80-70\n",
            "Dockerfile:2:8: invalid containerPort: 80-70\n    EXPOSE 80-70\n           ^^^^^\n"
            "hint: the range goes backwards",
        ),
    ],
)
def test_the_whole_message(text: str, message: str) -> None:
    assert failure(text) == message


@pytest.mark.parametrize(
    ("line", "what"),
    [
        *((f"{name}", f"{name} requires at least one argument")
          for name in ("ENV", "LABEL", "ARG", "EXPOSE", "VOLUME", "SHELL", "ONBUILD", "HEALTHCHECK")),
        *((f"{name}", f"{name} requires exactly one argument") for name in ("USER", "WORKDIR", "STOPSIGNAL")),
        ("FROM a b", "FROM requires either one or three arguments"),
        *((line, "ADD requires at least two arguments, but only one was provided. Destination could not be determined")
          for line in ("ADD", "ADD []")),
        ("COPY --chown=1 --chown=2 a b", "duplicate flag specified: --chown"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --link=no a b", "expecting boolean value for flag --link, not: no"),
        ("COPY a <<b\nb", "COPY cannot accept a heredoc as a destination"),
        ("CMD --x a", "unknown flag: --x"),
        ("SHELL sh", "SHELL requires the arguments to be in JSON form"),
        ('VOLUME ["a", ""]', "VOLUME specified can not be an empty string"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK NONE a", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK EXEC a", 'Unknown type "EXEC" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --retries=x CMD a", '--retries: parsing "x": invalid syntax'),
        ("HEALTHCHECK --retries=99999999999 CMD a", '--retries: parsing "99999999999": value out of range'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --timeout=1us CMD a", 'Interval "timeout" cannot be less than 1ms'),
        ("RUN --network=x a", 'invalid network mode "x"'),
        ("RUN --security=none a", 'security "none" is not valid'),
        ("RUN --mount= a", "failed to parse csv mounts: EOF"),
        ("RUN --mount=from=$x,target=/a a", "'from' doesn't support variable expansion"),
    ],
)  # fmt: skip
def test_a_statement_of_the_wrong_form_is_named_with_its_line(line: str, what: str) -> None:
    head = failure(f"FROM alpine\n{line}\n").splitlines()[0]
    assert head.partition(": ")[2] == f"dockerfile parse error on line 2: {what}"


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        ("target=/a,foo=b", "unexpected key 'foo' in 'foo=b'"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("type=cache,required=true,target=/a", "unexpected key 'required' for mount type 'cache'"),
        ("type=tmpfs,target=/a,size=big", "invalid value for size: big"),
        ("target=/a,ro=si", "invalid value for ro: si"),
        ("type=cache,target=/a,uid=-1", "invalid value -1 for uid"),
        ("target=/a,mode=755", 'mode not allowed for "bind" type mounts'),
        ("type=cache,target=/a,sharing=none", 'unsupported sharing value "none"'),
        ("target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=ssh,source=a", "ssh does not support source"),
        ("target=..", 'invalid mount target "/"'),
    ],
)
def test_a_wrong_mount_is_explained(mount: str, what: str) -> None:
    head, line, marks = failure(f"FROM alpine\nRUN --mount={mount} a\n").splitlines()[:3]
    column = marks.index("^")
    assert head == f"Dockerfile:2:{column - 3}: {what}"
    assert line[column:].startswith((mount, *mount.split(",")))  # the field that is wrong, or the whole mount


def test_devices_are_refused_where_they_are_used() -> None:
    text = "FROM alpine AS a\nRUN --device=x/y=z a\nFROM alpine AS b\n"
    assert lower(text, target="b").warnings == ()
    assert failure(text, target="a") == (
        "Dockerfile:2:5: device feature is only supported in Dockerfile frontend 1.14.0-labs or later\n"
        "    RUN --device=x/y=z a\n        ^^^^^^^^\nhint: # syntax=docker/dockerfile:1-labs"
    )
    assert runs(lower(text, target="a", unsupported=frozenset({"exec.meta.cdi"})))[0].cdi_devices == ()


@pytest.mark.parametrize(
    ("text", "place", "lines"),
    [
        ("# escape=x\nFROM alpine\n", "Dockerfile:1:1", [0]),
        ("# syntax=a\n# syntax=b\nFROM alpine\n", "Dockerfile:2:1", [1]),
        ("FROM alpine\nRUN " + "x" * 65535 + "\n", "Dockerfile:2:1", [1]),
        ("FROM alpine\nRUN []\n", "Dockerfile:2:1", []),
    ],
)
def test_people_see_the_line_and_tools_the_lines_that_buildkit_names(text: str, place: str, lines: list[int]) -> None:
    with pytest.raises(DockerfileError) as caught:
        lower(text)
    error = caught.value
    assert isinstance(error.where, SourceRange)
    assert error.where.label() == place
    assert [place.start.line for location in error.locations for place in location] == lines


def test_what_no_variable_has_a_say_in_is_told_with_the_faults_of_the_text() -> None:
    text = (
        "FROM alpine\nRUN --mount=typ=cache,target=/c x\nEXPOSE 99999 $P 80\nSTOPSIGNAL SIGTREM\nRUNN y\n"
        "RUN --mount=type=$T,targt=/c z\n"
    )
    assert [line for line in failure(text).splitlines() if line[0] in "Dh"] == [
        "Dockerfile:5:1: dockerfile parse error on line 5: unknown instruction: RUNN",
        "hint: did you mean 'RUN'?",
        "Dockerfile:2:13: unexpected key 'typ' in 'typ=cache'",
        "hint: did you mean 'type'?",
        "Dockerfile:3:8: invalid containerPort: 99999",
        "hint: a port is a number from 0 to 65535",
        "Dockerfile:4:12: invalid signal: SIGTREM",
        "hint: did you mean 'SIGTERM'?",
    ]


def test_faults_of_independent_stages_are_told_together() -> None:
    text = (
        "FROM missing-a AS a\nFROM missing-b AS b\nFROM alpine AS c\nEXPOSE x\nFROM c AS d\nEXPOSE y\n"
        "FROM alpine AS e\nSTOPSIGNAL z\nFROM scratch\nCOPY --from=d a b\nCOPY --from=e a b\n"
    )
    assert [
        line for line in failure(text + "COPY --from=a a b\nCOPY --from=b a b\n").splitlines() if line[0] == "D"
    ] == [
        "Dockerfile:1:6: docker.io/library/missing-a:latest: not found",
        "Dockerfile:2:6: docker.io/library/missing-b:latest: not found",
    ]
    assert [line for line in failure(text).splitlines() if line[0] == "D"] == [
        "Dockerfile:4:8: invalid containerPort: x",
        "Dockerfile:8:12: invalid signal: z",
    ]
    assert [line for line in failure("FROM $A\nFROM --platform=x alpine\n").splitlines() if line[0] == "D"] == [
        "Dockerfile:1:6: base name ($A) should not be blank",
        'Dockerfile:2:17: failed to parse platform x: "x": unknown operating system or architecture',
    ]


@pytest.mark.parametrize(
    ("checksum", "what"),
    [
        ("foo", "invalid checksum digest format: 'foo'"),
        ("md5:" + "a" * 32, f"unsupported digest algorithm: 'md5:{'a' * 32}'"),
        ("sha256:00", "invalid checksum digest length: 'sha256:00'"),
        ("sha256:" + "A" * 64, f"invalid checksum digest format: 'sha256:{'A' * 64}'"),
    ],
)
def test_a_checksum_that_is_none_is_told_as_the_package_for_digests_does(checksum: str, what: str) -> None:
    told = failure(f"FROM alpine\nADD --checksum={checksum} http://h/x /d\n")
    assert told.splitlines()[0] == f"Dockerfile:2:5: {what}"


def test_an_unknown_target_names_the_nearest_stage() -> None:
    assert failure("FROM alpine AS build\nFROM alpine AS test\n", target="biuld") == (
        "target stage \"biuld\" could not be found\nhint: did you mean 'build'?"
    )


@pytest.mark.parametrize("pattern", ["!", "!/", "! /", "./!", "/!\r/"])
def test_a_bad_ignore_file_is_named(pattern: str) -> None:
    assert failure("FROM alpine\nCOPY a b\n", ignore=f"a\n{pattern}\n") == (
        '.dockerignore: illegal exclusion pattern: "!"\nhint: write what it excepts behind it'
    )


def test_warnings_can_be_errors() -> None:
    assert failure("# check=error=true\nFROM alpine\nCMD a\nENV b c\n") == (
        "lint violation found for rules: JSONArgsRecommended, LegacyKeyValueFormat\n"
        "hint: '# check=error=true' asks for that"
    )


def test_lowering_without_its_images_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="not provided"):
        Compilation(parse("FROM alpine", "Dockerfile"), LowerOptions(build_platform=AMD64)).lower()


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nENV x=xxxxxxxx\n" + "ENV x=$x$x\n" * 40,
        "ARG x=xxxxxxxx\n" + "ARG x=$x$x\n" * 40 + "FROM a",
        "FROM a\nEXPOSE " + "1-65535 " * 200,
        "FROM a\nRUN --mount=" + "," * 60000 + " x",
        "\n".join(f"FROM a AS s{n}\nCOPY --from=s{(n + 1) % 300} a b" for n in range(300)),
        "FROM a\nLABEL a=" + '"' * 60001,
        "FROM a\n" * 20_000,
    ],
    ids=["growing env", "growing arg", "ports", "commas", "cycle", "quotes", "stages"],
)
def test_a_hostile_file_ends_with_an_error(text: str) -> None:
    assert len(failure(text)) < 2000


def test_faults_beyond_what_anybody_reads_are_not_told() -> None:
    told = failure("FROM alpine\n" + "FRBNCT x\n" * 1000).splitlines()
    assert sum("unknown instruction" in line for line in told) == 100
    assert told[-3] == "Dockerfile:102:1: 100 faults, and the rest of the file was not read"


def test_a_fault_in_a_remote_source_is_told_at_that_source() -> None:
    assert failure("FROM alpine\nADD a https://h.test/x.git?zip=1 /d/\n").splitlines()[0] == (
        'Dockerfile:2:7: unexpected query "zip" in a git URL'
    )
