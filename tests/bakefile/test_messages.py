"""What messages say: what was found, what was expected, and each thing once."""

from __future__ import annotations

import pytest

from bakepy.errors import BakeError
from tests.support.bakefiles import load_files


def told(text: str, name: str = "x.hcl") -> list[str]:
    """The first lines of the messages about a file, with their hints."""
    with pytest.raises(BakeError) as caught:
        load_files({name: text}, names=[name])
    errors = getattr(caught.value, "errors", (caught.value,))
    return [" | ".join(filter(None, (error.render().splitlines()[0], error.hint))) for error in errors]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            'a = "one" + 1\ntarget "default" {}\n',
            ["x.hcl:1:5: an operand of +: a number is required, not 'one'"],
        ),
        (
            'target "default" {\n  output = ["x", "a,b"]\n  secret = ["id=a", "no"]\n  tags = ["x", null]\n}\n',
            [
                "x.hcl:2:18: target.default.output: element 1: expected key=value, found 'a'",
                "x.hcl:3:21: target.default.secret: element 1: expected key=value, found 'no'",
                "x.hcl:4:16: target.default.tags: element 1 is null",
            ],
        ),
        (
            'a = !"no"\ntarget "default" {}\n',
            ["x.hcl:1:6: the operand of !: a bool is required, not 'no'"],
        ),
        (
            'target "default" {\n  output = "type=docker"\n}\n',
            ["x.hcl:2:12: target.default.output: a list is required, not a string: put it in brackets"],
        ),
        (
            'target "default" {\n  inherits = ["g"]\n}\ngroup "g" {\n  targets = ["default"]\n}\n',
            [
                "x.hcl:2:15: target.default.inherits[0]: "
                "'g' is a group (or a matrix): only targets can be inherited from"
            ],
        ),
        (
            'group "default" {\n  targets = ["default"]\n}\n',
            ["x.hcl:2:13: group.default.targets: the group 'default' leads to no target: default -> default"],
        ),
        (
            'function "ok" {\n  params = [x]\n  result = true\n}\n'
            'variable "A" {\n  validation {\n    condition = ok(A)\n  }\n}\n',
            ["x.hcl:7:17: ok() is a function of the files, which can not be called here"],
        ),
        (
            'v = "${null}x"\ntarget "default" {\n  tags = [v]\n  args = { A = v }\n}\n',
            ["x.hcl:1:8: target.default.tags: null can not be part of a string"],
        ),
    ],
)
def test_messages(text: str, messages: list[str]) -> None:
    assert told(text) == messages


def test_a_compose_file_without_services_is_named() -> None:
    assert told("version: '3'\n", "compose.yaml") == [
        "compose.yaml:1:1: the compose file has neither services nor secrets"
    ]
