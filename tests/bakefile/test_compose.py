"""Compose files: what bake takes from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bakepy.bakefile import render
from bakepy.bakefile.compose.env import SubstitutionError, parse_env_file, substitute
from bakepy.bakefile.compose.scalars import resolve_scalar, scalar_text
from bakepy.bakefile.compose.target import human_size
from bakepy.errors import BakeError
from tests.support.bakefiles import load_files


def targets(text: str, *wanted: str, env: Mapping[str, str] | None = None, **files: str) -> Any:
    others = {name.replace("__", "/").replace("_yaml", ".yaml"): content for name, content in files.items()}
    result = load_files({"compose.yaml": text, **others}, *wanted, env=env)
    return json.loads(render(result))["target"]


def failure(text: str) -> str:
    with pytest.raises(BakeError) as caught:
        targets(text)
    return str(caught.value)


def test_services_that_are_built_become_targets() -> None:
    text = """services:
  web.app:
    image: shop/web
    build:
      context: ./web
      args: [A=1, B]
      labels: {a: 1.50, b: yes}
      additional_contexts: {base: "service:base"}
      secrets: [token]
      shm_size: 64m
      ulimits: {nofile: 5, core: {soft: 1, hard: 2}}
      extra_hosts: ["db:10.0.0.1", "six=[::1]"]
      x-bake: {platforms: linux/amd64 linux/arm64, tags: [x]}
  base: {build: .}
  db: {image: postgres}
secrets: {token: {environment: TOKEN}}
"""
    found = targets(text, env={"B": "env", "TOKEN": "t"})
    assert sorted(found) == ["base", "web_app"]
    assert found["web_app"] == {
        "context": "web",
        "contexts": {"base": "target:base"},
        "dockerfile": "Dockerfile",
        "args": {"A": "1", "B": "env"},
        "labels": {"a": "1.5", "b": "yes"},
        "tags": ["x"],
        "secret": [{"id": "token", "env": "TOKEN"}],
        "platforms": ["linux/amd64", "linux/arm64"],
        "shm-size": "64MiB",
        "ulimits": ["core=1:2", "nofile=0:0"],
        "extra-hosts": {"db": "10.0.0.1", "six": "::1"},
    }


def test_dotenv_and_the_service_s_own_variables_fill_arguments() -> None:
    text = """services:
  a:
    environment: {OWN: own}
    env_file: vars.env
    build: {context: ., args: [OWN, FILE, DOT, NONE], target: "${STAGE:-dev}"}
"""
    files = {"compose.yaml": text, "vars.env": "FILE=file # c\n", ".env": "DOT='dot'\nSTAGE=prod\n"}
    target = load_files(files, "a").targets["a"]
    assert dict(target.args) == {"OWN": "own", "FILE": "file", "DOT": "dot"}
    assert target.target == "prod"


def test_environment_files_of_a_service_know_the_ones_before() -> None:
    text = "services: {a: {env_file: [one, two], build: {context: ., args: [A, B, C]}}}\n"
    files = {"compose.yaml": text, "one": "A=1\nB=1\n", "two": "B=${A}2\nC=${B}3\n"}
    assert dict(load_files(files, "a").targets["a"].args) == {"A": "1", "B": "12", "C": "123"}


def test_of_several_environment_files_of_an_include_the_last_one_counts() -> None:
    text = "include: [{path: sub/a.yaml, env_file: [one, two]}]\n"
    inner = "services: {a: {build: {context: ., args: {A: '$A', B: '$B', C: '$C', D: '$D'}}}}\n"
    files = {"compose.yaml": text, "sub/a.yaml": inner, "one": "A=1\nB=1\nC=1\n", "two": "B=2\nC=${B}${A}\nD=2\n"}
    found = load_files(files, "a", env={"D": "out"}).targets["a"]
    assert dict(found.args) == {"A": "1", "B": "2", "C": "21", "D": "out"}


def test_names_of_variables_in_an_include_have_the_values_there() -> None:
    inner = "services: {a: {environment: [A, N], build: {context: ., args: [A, N]}}}\n"
    files = {"compose.yaml": "include: [{path: a.yaml, env_file: one}]\n", "a.yaml": inner, "one": "A=1\nB=1\n"}
    assert dict(load_files(files, "a").targets["a"].args) == {"A": "1"}


@pytest.mark.parametrize("entry", ["{a: b}", "{}", "null", "{path: null}", "{path: []}", "{project_directory: x}"])
def test_an_include_without_a_path_is_nothing(entry: str) -> None:
    assert list(targets(f"include: [{entry}]\nservices: {{a: {{build: .}}}}\n")) == ["a"]


@pytest.mark.parametrize(
    ("flow", "args"),
    [
        ("{A:}", {}),
        ("{'A': b:, B: ?c, C: \"d:[\"}", {"A": "b:", "B": "?c", "C": "d:["}),
        ("[A=:x, :B=c:]", {"A": ":x", ":B": "c:"}),
        ("[?A=1, 'B=2']", {"?A": "1", "B": "2"}),
        ('{"A":"1","B":"2:"}', {"A": "1", "B": "2:"}),
        ("{A: 1:20, B: x?y}", {"A": "1:20", "B": "x?y"}),
    ],
)
@pytest.mark.parametrize(
    "before",
    ["", "|\n  RUN { [a:] don't\n", "&a !!str >-\n  {'\"\n", '"two\n  {lines"\n', "it's {a:}\n", "[x:, {y: [z:]}]\n"],
)
def test_signs_in_words_of_flow_collections(flow: str, args: dict[str, str], before: str) -> None:
    text = f"x-b: {before}\nservices:\n  a:\n    build:\n      context: .\n      args: {flow}\n      x-c: {{d:}}\n"
    assert targets(text)["a"].get("args", {}) == args


def test_other_services_of_a_file_that_is_extended_must_be_in_order() -> None:
    other = "services: {b: {build: .}, c: {privileged: maybe}}"
    with pytest.raises(BakeError, match=r"b.yaml: services.c.privileged: expected true or false, found 'maybe'"):
        targets("services: {a: {extends: {file: b.yaml, service: b}}}", b_yaml=other)


def test_an_anchor_may_be_given_again() -> None:
    text = "services: {a: {build: &x {context: one}}, b: {build: *x}, c: {build: &x {context: two}}, d: {build: *x}}"
    assert [each["context"] for each in targets(text, "*").values()] == ["one", "one", "two", "two"]


def test_files_extend_include_and_merge() -> None:
    text = """include: [sub/compose.yaml]
services:
  a:
    extends: {file: sub/compose.yaml, service: b}
    build: {args: {X: 2}}
"""
    inner = "services:\n  b:\n    build: {context: ctx, args: {X: 1, Y: 1}, tags: [t]}\n"
    found = targets(text, sub__compose_yaml=inner)
    assert found["b"]["context"] == "sub/ctx"
    assert found["a"]["context"] == "sub/ctx"
    assert found["a"]["args"] == {"X": "2", "Y": "1"}


def test_reset_and_override_forget_what_was_set() -> None:
    first = "services:\n  a:\n    build: {context: x, tags: [one], args: {A: 1}}\n"
    second = "services:\n  a:\n    build: {args: !reset null, tags: !override [two]}\n"
    target = load_files({"a.yaml": first, "b.yaml": second}, "a", names=["a.yaml", "b.yaml"]).targets["a"]
    assert target.tags == ("two",)
    assert dict(target.args) == {}


@pytest.mark.parametrize(
    "files",
    [
        {"c.yaml": "services: {a: {extends: b, build: OVER}, b: {build: BASE}}"},
        {
            "c.yaml": "services: {a: {extends: {file: b.yaml, service: b}, build: OVER}}",
            "b.yaml": "services: {b: {build: BASE}}",
        },
        {"c.yaml": "{include: [b.yaml], services: {a: {build: OVER}}}", "b.yaml": "services: {a: {build: BASE}}"},
    ],
)
def test_reset_and_override_reach_what_is_extended_and_included(files: dict[str, str]) -> None:
    given = {"OVER": "{args: !reset null, tags: !override [two]}", "BASE": "{context: x, tags: [one], args: {A: 1}}"}
    texts = {name: text.replace("OVER", given["OVER"]).replace("BASE", given["BASE"]) for name, text in files.items()}
    target = load_files(texts, "a", names=["c.yaml"]).targets["a"]
    assert (target.context, target.tags, dict(target.args)) == ("x", ("two",), {})


def test_hcl_comes_on_top_of_compose() -> None:
    files = {
        "docker-bake.hcl": 'target "a" { tags = ["hcl"] }\n',
        "compose.yaml": "services: {a: {build: {context: x, tags: [yaml]}}}\n",
    }
    target = load_files(files).targets["a"]
    assert (target.context, target.tags) == ("x", ("hcl",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "services:\n  a:\n    build:\n      contxt: .\n",
            "compose.yaml:4:7: services.a.build.contxt: unknown key 'contxt'",
        ),
        ("services:\n  a:\n    build: {tags: x}\n", "services.a.build.tags: expected strings, found the string 'x'"),
        ("services:\n  a: {}\n", "the service 'a' has neither an image nor a build"),
        ("services:\n  a: {build: ., image: '${X:?needed}'}\n", "services.a.image: the variable X is required: needed"),
        ("services:\n  a: {build: ., image: '${1}'}\n", "'${1}' is no reference to a variable"),
        ("services: [a]\n", "services: expected a mapping of services"),
        (
            "services:\n  a:\n   build: .\n  b\n",
            "compose.yaml:4:3: no YAML: could not find expected ':'\n      b\n      ^",
        ),
        ("services:\n  a:\n\tbuild: .\n", "compose.yaml:3:1: no YAML: found character that cannot start any token"),
        ("services:\n  a: {build: .}\n  a: {build: x}\n", "the key 'a' is already set in line 2"),
        (
            "services:\n  1: {build: .}\n",
            'a key must be text, not 1\n      1: {build: .}\n      ^\nhint: put it in quotes: "1"',
        ),
        ("services:\n  a: {build: {context: ., secrets: [s]}}\n", "there is no secret 's'"),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "services extend each other: a -> b -> a"),
        ("services:\n  a: {extends: c}\n", "there is no service 'c' to extend"),
        ("include: ['']\nservices: {}\n", "include[0]: expected the name of a file, found an empty one"),
        ("include: [{path: [a, null]}]\nservices: {}\n", "include[0]: path: expected a path, or a list of paths"),
        ("include: [{path: a, env_file: {}}]\nservices: {}\n", "env_file: expected a path, or a list of paths"),
        ("include: [{path: a, project_directory: [b]}]\n", "include[0]: project_directory: expected a path"),
        ('services:\n  a: {build: "a\\\\\\/b"}\n', "compose.yaml:2:18: no YAML: there is no escape sequence '\\/'"),
        ("services: {a: {build: {context: ., args: {'': b}}}}\n", "services.a.build.args.: a name can not be empty"),
        ("services: {a: {build: ., environment: {'': b}}}\n", "services.a.environment.: a name can not be empty"),
        ("include: [compose.yaml]\nservices: {}\n", "files include each other: compose.yaml -> compose.yaml"),
        ("services:\n  a: {build: ., env_file: gone}\n", "services.a.env_file: open gone: no such file or directory"),
        ("services:\n  a: {build: {context: ., pull: maybe}}\n", "expected true or false, found 'maybe'"),
        ("services:\n  a: {build: {context: ., x-bake: {pull: 'true'}}}\n", "expected true or false, found 'true'"),
        ("version: '3'\n", "the compose file has neither services nor secrets"),
    ],
)
def test_mistakes_are_shown(text: str, message: str) -> None:
    assert message in failure(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A} $$A", "1 1 $A"),
        ("${B:-x}${B-y}${E:-z}${E-w}", "xyz"),
        ("${A:+set}${E:+no}${E+yes}", "setyes"),
        ("${B:-${A}}", "1"),
        ("$ 5$", "$ 5$"),
        ('${B:-{"a": 1}} ${B:-{"a": {"b": 1}}}', '{"a": 1} {"a": {"b": 1}}'),
        ("${B:-{{A}}", "{{A}"),  # what follows an opening brace is not looked at
        ("${B:-{} y}", "{} y"),  # braces that do not match are closed by the last one
        ("${B:-{x}\ny}", "{x\ny}"),  # of the line
    ],
)
def test_variables_in_text(text: str, expected: str) -> None:
    assert substitute(text, lambda name: {"A": "1", "E": ""}.get(name)) == expected


def test_a_required_variable_says_why() -> None:
    with pytest.raises(SubstitutionError, match="the variable B is required: because"):
        substitute("${B:?because}", lambda name: None)


def test_env_files() -> None:
    text = "# c\nexport A=1\nB=\"x\\n$A\"\nC='$A'\nD: y #c\nE\nF=a#b\n"
    assert parse_env_file(text, {"E": "e"}.get) == {"A": "1", "B": "x\n1", "C": "$A", "D": "y", "E": "e", "F": "a#b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("010", "8"),
        ("0x10", "16"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("True", "true"),
        ("1_000", "1000"),
        ("2024-01-02", "2024-01-02 00:00:00 +0000 UTC"),
        ("1e21", "1e+21"),
        ("08", "8"),
        ("123456.5", "123456.5"),
        ("1000000.0", "1e+06"),
        ("-12345678.9", "-1.23456789e+07"),
        ("0.00012", "0.00012"),
        ("0.000012", "1.2e-05"),
        ("99999999999999999999", "1e+20"),
        ("-0", "-0"),
        ("0o", "0o"),
        (".5_0", ".5_0"),
        ("2024-02-30", "2024-02-30"),
        ("2024-1-2T3:4:5.10z", "2024-1-2T3:4:5.10z"),
        ("2024-1-2T3:4:5.10+02:00", "2024-01-02 03:04:05.1 +0200 +0200"),
        ("2024-1-2 3:4:5 +2", "2024-1-2 3:4:5 +2"),
    ],
)
def test_plain_scalars_mean_what_go_takes_them_for(text: str, expected: str) -> None:
    assert scalar_text(resolve_scalar(text)) == expected


def test_scalars_with_a_tag() -> None:
    text = """services:
  a:
    build:
      context: .
      args: {BYTES: !!binary aGVsbG8=, NOT_TEXT: !!binary /+8=, TEXT: !!str 010, FLOAT: !!float "1", OWN: !mine 010}
      x-bake: {tags: 2024-01-02, contexts: {c: 2024-1-2T3:4:5+01:00}}
"""
    found = targets(text)["a"]
    assert found["args"] == {"BYTES": "hello", "FLOAT": "1", "NOT_TEXT": "\ufffd\ufffd", "OWN": "010", "TEXT": "010"}
    assert (found["tags"], found["contexts"]) == (["2024-01-02T00:00:00Z"], {"c": "2024-01-02T03:04:05+01:00"})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("args: {A: !!int 1.5}", "'1.5' is no int, as its tag !!int says"),
        ("args: {A: !!binary b*}", "this is no base64, as its tag !!binary says"),
        ("args: {A: -.inf}", "services.s.build.args.A: this number can not be used; in quotes it is text"),
        ("args: {2024-01-02: x}", "a key must be text, not 2024-01-02"),
        ("tags: [2024-01-02]", "services.s.build.tags[0]: expected a string, found a date (in quotes it is text)"),
        ("ulimits: {nofile: {soft: .5, hard: 1}}", "expected soft and hard, both whole numbers, found 0.5 and 1"),
        ("extra_hosts: {a: 5}", "services.s.build.extra_hosts.a: expected a string, found the number 5"),
        ("privileged: maybe", "services.s.build.privileged: expected true or false, found 'maybe'"),
    ],
)
def test_scalars_that_are_not_what_is_expected(build: str, message: str) -> None:
    assert message in failure(f"services:\n  s:\n    build:\n      context: .\n      {build}\n")


@pytest.mark.parametrize("size", ["1e6", "2024-01-02"])
def test_what_is_taken_for_no_size(size: str) -> None:
    assert targets(f"services: {{s: {{build: {{context: ., shm_size: {size}}}}}}}") == {
        "s": {"context": ".", "dockerfile": "Dockerfile"}
    }


@pytest.mark.parametrize(("size", "text"), [(1000000, "976.6KiB"), (1024, "1KiB"), (67108864, "64MiB"), (5, "5B")])
def test_sizes_have_four_digits(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("ports: 5", "services.s.ports: expected a list of ports"),
        ("ports:", "services.s.ports: expected a list of ports"),
        ("ports: [null]", "services.s.ports[0]: None is no port"),
        ("ports: [{published: 1}]", "services.s.ports[0]: a port needs a 'target', its number in the container"),
        (f"ports: ['{'9' * 5000}']", "is no port"),
        ("volumes: [5]", "services.s.volumes[0]: expected a mapping or the short form of one of the volumes"),
        ("volumes: ['/a:/b:ro:x']", "services.s.volumes[0]: '/a:/b:ro:x' is no volume: there are too many colons"),
        ("depends_on: x", "services.s.depends_on: expected a list or a mapping of services"),
        ("depends_on: {a: 5}", "services.s.depends_on.a: expected a mapping"),
        ("gpus: {}", "services.s.gpus: expected 'all' or a list of devices"),
        ("devices: [{source: x}]", "services.s.devices[0]: one of the devices needs a 'target'"),
        ("devices: ['a:b:c:d']", "services.s.devices[0]: 'a:b:c:d' is no device: there are too many colons"),
        ("secrets: [null]", "services.s.secrets[0]: expected a mapping or the short form of one of the secrets"),
        ("ulimits: {nofile: [1]}", "services.s.ulimits.nofile: expected a number, or a mapping"),
        ("ulimits: {nofile: many}", "services.s.ulimits.nofile: expected a whole number, found 'many'"),
        ("expose: [{a: b}]", "services.s.expose[0]: expected a port"),
        ("dns: [5]", "services.s.dns[0]: expected a string"),
        ("privileged: maybe", "services.s.privileged: expected true or false, found 'maybe'"),
        ("cpus: lots", "services.s.cpus: expected a number, found 'lots'"),
    ],
)
def test_what_bake_does_not_use_must_be_readable(part: str, message: str) -> None:
    assert message in failure(f"services:\n  s:\n    build: .\n    {part}\n")


def test_an_environment_file_is_read_once_where_it_came_first() -> None:
    text = "services: {{a: {{build: {{context: ., args: [X]}}, env_file: {}}}}}"
    files = {"e": "X=e\n", "f": "X=f\n"}
    one, two = text.format("[e, f]"), text.format("[{path: e}]")
    found = load_files({"a.yaml": one, "b.yaml": two, **files}, "a", names=["a.yaml", "b.yaml"])
    assert dict(found.targets["a"].args) == {"X": "f"}


def test_what_a_service_and_what_it_extends_depend_on_is_merged() -> None:
    text = "services: {a: {build: ., depends_on: [b], extends: c}, c: {build: ., depends_on: [b, d]}}"
    assert sorted(targets(text)) == ["a", "c"]


def test_parts_that_bake_does_not_use_and_that_are_in_order() -> None:
    text = """services:
  s:
    build: .
    ports: [80, "127.0.0.1:8080-8081:80-81/tcp", {target: 1}]
    volumes: 5
    depends_on: {a: {}}
    gpus: all
    devices: ["/dev/a:/dev/b:r"]
    ulimits: {nofile: "5", other: {soft: 1, hard: 2}}
    networks: {a: null}
    privileged: "Yes"
    cpus: "1.5"
volumes: {v: null}
"""
    assert targets(text) == {"s": {"context": ".", "dockerfile": "Dockerfile"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("9" * 400, "9" * 400), ("1e400", "1e400"), ("0x" + "f" * 400, "0x" + "f" * 400), ("9" * 20, 1e20)],
    ids=lambda value: str(value)[:8],
)
def test_numbers_beyond_all_measure_stay_text(text: str, value: object) -> None:
    assert resolve_scalar(text) == value


def test_a_secret_of_the_project_needs_a_source() -> None:
    text = "services: {s: {build: .}}\nsecrets: {a: {name: q}}\n"
    assert "secrets.a: a secret needs a 'file' or an 'environment'" in failure(text)


FAR = """
services:
  i:
    build:
      context: CONTEXT
      additional_contexts: {a: "docker-image:x", b: "service:j", c: "~", d: "oci-layout://x/../y"}
      secrets: [s]
  j: {build: "."}
secrets: {s: {file: "~/s"}}
"""


@pytest.mark.parametrize(
    ("context", "here", "included"),
    [
        ("github.com/x/../y", "github.com/x/../y", "github.com/x/../y"),
        ("git://h/a/../b", "git://h/a/../b", "git://h/a/../b"),
        ("target:j", "target:j", "sub/target:j"),
        ("~/x/../y", "/home/me/y", "/home/me/y"),
        ("./x/../y", "y", "sub/y"),
        ("/a/b", "/a/b", "/a/b"),
    ],
)
def test_paths_that_are_moved_and_those_that_are_far(context: str, here: str, included: str) -> None:
    """As `docker buildx bake --print` prints them."""
    text = FAR.replace("CONTEXT", context)
    for files, folder, expected in (
        ({"compose.yaml": text}, "", here),
        ({"compose.yaml": "include: [sub/a.yaml]", "sub/a.yaml": text}, "sub/", included),
    ):
        found = load_files({**files, "/home/me/s": ""}, env={"HOME": "/home/me"}).targets["i"]
        assert found.context == expected
        assert dict(found.contexts) == {
            "a": f"{folder}docker-image:x",
            "b": "target:j",
            "c": "/home/me",
            "d": "oci-layout://x/../y",
        }
        assert [each.src for each in found.secrets] == ["/home/me/s"]


@pytest.mark.parametrize(("directory", "context"), [("there", "there/c"), ("not/there", "not/c"), ("none", "c")])
def test_a_project_directory_that_is_not_there_is_the_folder_above(directory: str, context: str) -> None:
    files = {
        "compose.yaml": f"include: [{{path: sub/a.yaml, project_directory: {directory}}}]",
        "sub/a.yaml": "services: {a: {build: c}}",
        "there/x": "",
    }
    assert load_files(files).targets["a"].context == context


def test_a_name_alone_in_an_environment_takes_away_what_files_say() -> None:
    files = {
        "compose.yaml": "services: {a: {build: {context: ., args: [A, B]}, environment: [A], env_file: e}}",
        "e": "A=file\nB=file\n",
    }
    assert dict(load_files(files).targets["a"].args) == {"B": "file"}
    assert dict(load_files(files, env={"A": "a", "B": "b"}).targets["a"].args) == {"A": "a", "B": "file"}


def test_environment_files_have_one_format() -> None:
    text = "services: {a: {build: ., env_file: {path: e, format: FORM}}}"
    load_files({"compose.yaml": text.replace("FORM", ".env"), "e": ""})
    with pytest.raises(BakeError) as caught:
        load_files({"compose.yaml": text.replace("FORM", "raw"), "e": ""})
    assert "there is no format 'raw' of environment files" in caught.value.render()


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("shm_size: huge", "shm_size: huge\n                    ^^^^\n"),
        ('no_cache: "perhaps"', 'no_cache: "perhaps"\n                    ^^^^^^^^^\n'),
        ("no_cach: true", "no_cach: true\n          ^^^^^^^\n"),
        ("dockerfile: [x]", "dockerfile: [x]\n          ^^^^^^^^^^\n"),
    ],
)
def test_the_value_is_shown_or_the_key_if_that_is_wrong(line: str, place: str) -> None:
    with pytest.raises(BakeError) as caught:
        load_files({"compose.yaml": f"services:\n  a:\n    build:\n      {line}\n"})
    assert place in caught.value.render() + "\n"


def test_entries_of_bake_that_are_empty_say_nothing() -> None:
    text = "services: {a: {build: {context: ., x-bake: {ssh: [''], secret: [''], output: [''], tags: ['']}}}}"
    assert targets(text)["a"] == {"context": ".", "dockerfile": "Dockerfile"}
