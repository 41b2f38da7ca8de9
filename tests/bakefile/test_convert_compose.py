"""Compose files in other syntaxes: whatever the environment is, they come to the same."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from bakepy.bakefile import LoadOptions, load, render
from bakepy.bakefile.convert import convert
from bakepy.errors import BakeError, DefinitionError, DefinitionErrors, UsageError
from bakepy.model.location import SourceFile
from tests.support.bakefiles import MemoryReader

FILES = {
    "sub/.env": "X=dot\nBOTH=$X/more\n",
    "sub/a.yaml": "services: {a: {build: {context: ctx, args: {X: '${X}', Y: '${Y:-y}', Z: '${X:+set}'}}}}",
    "sub/b.yaml": "services: {a: {build: {context: '${WHERE:-ctx}'}}}",
    "sub/c.yaml": "services: {a: {build: {context: '.', target: $BOTH}}}",
    "other.env": "X=other\nEMPTY=\nexport Q='q q'\n",
    "service.env": "FROM_FILE=file\nBOTH=file\nOF_OTHERS=$X/x\n# nothing\nALONE\n",
    "elsewhere/Dockerfile": "FROM scratch\n",
}

CASES = {
    "contexts that may be empty": (
        "services: {a: {build: ./$A}, b: {build: $A}, c: {build: x/$A}, d: {build: {context: './$A/c'}}}",
        [{}, {"A": "x"}, {"A": "/x"}, {"A": "./x/"}],
    ),
    "a message with variables": (
        "services: {a: {build: '.', image: 'a:${A:?give A, not ${B-b}}'}}",
        [{}, {"A": ""}, {"A": "1"}],
    ),
    "what is required only in an argument": (
        "services: {a: {build: '.', image: 'a:${A:-${B:?b}}${C+${D?d}}${E:-${F-f}}'}}",
        [{}, {"A": "a"}, {"B": "b"}, {"A": "", "B": "b", "C": ""}, {"A": "a", "C": "", "D": ""}, {"B": "b", "F": ""}],
    ),
    "switches": (
        "services: {a: {build: {context: ., no_cache: '$A', pull: '${B:-no}'}}}",
        [{}, {"A": "Yes"}, {"A": "off", "B": "y"}, {"A": "TRUE", "B": "maybe"}, {"A": "1"}],
    ),
    "attestations": (
        "services: {a: {build: {context: ., provenance: '${A}', sbom: '${B-true}'}}}",
        [{}, {"A": "true", "B": "0"}, {"A": "mode=max", "B": "generator=x,y=z"}, {"A": "F", "B": ""}],
    ),
    "a part of an attestation": (
        "services: {a: {build: {context: ., provenance: 'mode=${A:-min}'}}}",
        [{}, {"A": "max"}, {"A": "max,reproducible=true"}],
    ),
    "caches and outputs are read when the variables are known": (
        "services: {a: {build: {context: ., cache_from: ['$A', 'type=local,src=$B'], cache_to: ['x/y:$B'],"
        " x-bake: {output: ['$C']}}}}",
        [
            {"A": "x/cache", "B": "b", "C": "out"},
            {"A": "type=gha,scope=x", "B": "b,mode=max", "C": "type=docker,name=n"},
            {"B": "b", "C": "-"},
        ],
    ),
    "what is in quotes is one field, whatever a variable says": (
        'services: {a: {build: {context: ., cache_from: [\'type=local,"src=$A"\', \'"$A"\', "$A<<: *a"],'
        " x-bake: {output: ['\"type=local\",dest=$A'], secret: ['id=a,src=$B', 'id=a$C'], ssh: ['$S']}}}}",
        [{"A": "b", "C": ",env=E"}, {"A": "b,c"}, {"B": "e.x"}, {"A": "x", "S": "default=k"}, {"A": "x", "C": "c"}],
    ),
    "empty values of caches, outputs and attestations": (
        "services: {a: {build: {context: ., cache_from: ['type=local,s$A=', 'type=local,src='], sbom: 'generator=',"
        " x-bake: {output: ['type=local,dest=x,s='], cache-to: ['type=local,dest=']}}}}",
        [{}, {"A": "rc"}, {"A": "x,y"}],
    ),
    "an include with an environment file": (
        "include: [{path: sub/a.yaml, env_file: [other.env]}]\nservices: {b: {build: '.', image: 'b:${X-none}'}}",
        [{}, {"X": ""}, {"X": "x"}, {"Y": ""}],
    ),
    "an include with the .env beside it": ("include: [sub/a.yaml]", [{}, {"X": ""}, {"X": "x"}]),
    "an include in another project directory": (
        "include: [{path: sub/a.yaml, project_directory: elsewhere}]",
        [{}, {"X": "x"}],
    ),
    "an include in a project directory that is not there": (
        "include: [{path: sub/a.yaml, project_directory: no/where}]",
        [{}, {"X": "x"}],
    ),
    "operators on what an environment file says": (
        "include: [{path: [sub/a.yaml, more.yaml], env_file: other.env}]",
        [{}, {"X": ""}, {"EMPTY": "e"}, {"X": "x", "EMPTY": "", "Q": "'"}],
    ),
    "an included context that is a variable": (
        "include: [{path: sub/b.yaml, env_file: /dev/null}]",
        [{}, {"WHERE": "/abs"}, {"WHERE": "https://example.com/x.git"}, {"WHERE": "deep/er"}, {"WHERE": "git@h:x"}],
    ),
    "arguments from a service's files": (
        "services: {a: {build: {context: ., args: [FROM_FILE, BOTH, OUT, ALONE, OWN]},"
        " environment: {BOTH: , OWN: '$O'}, env_file: [service.env,"
        " {path: absent, required: false}]}}",
        [{}, {"FROM_FILE": "no", "BOTH": "out", "OUT": "", "O": "o"}, {"ALONE": "a", "BOTH": ""}],
    ),
    "files with variables in their names, of which no argument is": (
        "services: {a: {build: {context: ., args: {X: '$X'}}, env_file: 'e.$X'}}",
        [{"X": "x"}],
    ),
    "the name of the project": (
        "services: {a: {build: '.', image: '$COMPOSE_PROJECT_NAME:${COMPOSE_PROJECT_NAME:+x}'}}",
        [{}, {"COMPOSE_PROJECT_NAME": "p"}, {"COMPOSE_PROJECT_NAME": ""}],
    ),
    "a project with a name": (
        "name: pro-$A\nservices: {a: {build: {context: ., args: [COMPOSE_PROJECT_NAME]},"
        " image: '${COMPOSE_PROJECT_NAME-x}'}}",
        [{}, {"A": "a"}, {"COMPOSE_PROJECT_NAME": "p"}],
    ),
}
MORE = "services: {c: {build: '.', labels: {}, image: 'c:${EMPTY:-e}${EMPTY-n}${EMPTY:+s}${Q?}${X:?x}'}}"


def outcome(file: SourceFile, env: Mapping[str, str], reader: MemoryReader) -> object:
    """What `--print` says, or None for an error."""
    try:
        return json.loads(render(load([file], LoadOptions(environment=env, reader=reader))))
    except (DefinitionError, DefinitionErrors) as error:
        assert "Traceback" not in error.render()
        return None


@pytest.mark.parametrize("name", ["x.toml", "x.hcl", "x.json", "sub/x.toml"])
@pytest.mark.parametrize("case", CASES)
def test_it_comes_to_the_same(case: str, name: str) -> None:
    text, environments = CASES[case]
    source, reader = SourceFile("compose.yaml", text), MemoryReader({**FILES, "more.yaml": MORE, "e.x": ""})
    made = convert(source, name, name.rpartition(".")[2], reader).file
    wanted = [outcome(source, env, reader) for env in environments]
    assert [outcome(made, env, reader) for env in environments] == wanted, made.text
    assert any(wanted), "not all of them are errors"


def test_a_context_that_is_a_variable_for_another_folder() -> None:
    reader = MemoryReader()
    text = "services: {a: {build: {context: $A, additional_contexts: {b: '${B}/b'}}}}"
    source = SourceFile("compose.yaml", text)
    made = convert(source, "deep/er/bake.toml", "toml", reader).file
    for path in ("x/y", "./x", ".", "", "../x", "/abs", "https://example.com/x.git", "git@example.com:x", "me@host:x"):
        env = {"A": path, "B": path or "b"}
        assert outcome(made, env, reader) == outcome(source, env, reader), path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {image: x}}", "no service has a build section, so there is nothing to bake"),
        (
            "services: {a: {build: {context: ., shm_size: '${A}'}}}",
            "a variable can not be expressed in a bake file here",
        ),
        (
            "services: {a: {build: {context: ., ulimits: {nofile: {soft: '$A', hard: 5}}}}}",
            "a variable can not be expressed in a bake file here",
        ),
        (
            "services: {a: {build: {context: ., args: [X]}, env_file: 'e.$A'}}",
            "the argument X, which may be in a file named by a variable, can not be expressed in a bake file",
        ),
        (
            "services: {a: {build: {context: ., args: [OF_OTHERS]}, env_file: service.env}}",
            "the value of OF_OTHERS in an environment file, which depends on other variables,",
        ),
        (
            "include: [{path: sub/c.yaml, env_file: sub/.env}]",
            "the value of BOTH in an environment file, which depends on other variables, can not be expressed",
        ),
        ("include: ['$A.yaml']", "a variable in the name of a file that is read can not be expressed"),
        (
            "include: [{path: sub/b.yaml, env_file: '$A.env'}]",
            "the variable WHERE, which may be in a file named by another one, can not be expressed",
        ),
        ("name: $A\nservices: {a: {build: $COMPOSE_PROJECT_NAME}}", "the name of the project, which depends on other"),
        ("services: {a: {build: '$A/../b'}}", "a path with '..' behind a variable can not be expressed"),
        ("services: {a: {build: {context: ., args: ['$A=1']}}}", "a variable in a key can not be expressed"),
        ("services: {a: {build: {context: ., args: ['$A']}}}", "a variable in a key can not be expressed"),
        (
            "services: {a: {build: {context: ., args: ['B=list', 'X\"']}}}",
            "a variable called 'X\"' can not be expressed in a bake file",
        ),
        (
            "services: {a: {build: {context: ., x-bake: {tags: 'a $B'}}}}",
            "a variable in a list that is written as one string can not be expressed in a bake file",
        ),
        (
            "services: {a: {build: {context: ., x-bake: {ssh: [z, $A]}}}}",
            "a variable in one of several SSH agents, which have an order, can not be expressed in a bake file",
        ),
        ("services: {a: {build: {context: ., args: {'a b': }}}}", "a variable called 'a b' can not be expressed"),
        ("services: {a: {build: {context: ., args: [true=$null]}}}", "a variable called 'null' can not be expressed"),
        (
            "services: {a: {build: {context: ., args: [BAKE_CMD_CONTEXT]}}}",
            "a variable called 'BAKE_CMD_CONTEXT' can not be expressed in a bake file",
        ),
        (
            'services: {a: {build: {context: ., args: ["X=\\ue0000\\ue001"]}}}',
            "the character U+E000 in 'X=\\ue0000\\ue001' can not be expressed in a bake file",
        ),
    ],
)
def test_what_can_not_be_expressed_is_refused(text: str, message: str) -> None:
    with pytest.raises((UsageError, DefinitionError)) as caught:
        convert(SourceFile("compose.yaml", text), "bake.toml", "toml", MemoryReader(FILES))
    assert caught.value.what.removeprefix("compose.yaml: ").startswith(message)


def test_a_refusal_shows_its_place() -> None:
    text = "services:\n  a:\n    build:\n      context: .\n      shm_size: ${A}\n"
    with pytest.raises(BakeError) as caught:
        convert(SourceFile("compose.yaml", text), "bake.toml", "toml", MemoryReader())
    assert caught.value.render() == (
        "compose.yaml:5:17: services.a.build.shm_size: a variable can not be expressed in a bake file here\n"
        "          shm_size: ${A}\n"
        "                    ^^^^\n"
        "hint: write its value, and convert again"
    )


def test_a_reference_that_is_not_closed_shows_its_place() -> None:
    with pytest.raises(DefinitionError) as caught:
        convert(SourceFile("compose.yaml", "services: {a: {build: '${A'}}"), "bake.toml", "toml", MemoryReader())
    assert caught.value.what == "the reference to a variable in '${A' is not closed; write $$ for a dollar sign"
    assert caught.value.where is not None


def test_variables_that_nothing_needs_are_left_out() -> None:
    text = "services: {a: {build: '.', image: 'a:$TAG', environment: {B: $B}}, db: {image: 'db:$C${D:?}'}}"
    made = convert(SourceFile("compose.yaml", text), "x.hcl", "hcl", MemoryReader()).file.text
    assert made == (
        'variable "TAG" {\n}\n\n'
        'variable "D" {\n  validation {\n    condition     = D != ""\n    error_message = "it is required"\n  }\n}\n\n'
        'group "default" {\n  targets = ["a"]\n}\n\n'
        'target "a" {\n  context = "."\n  tags    = ["a:${TAG}"]\n}\n'
    )
