"""`bakepy build`'s flags as a target."""

from typing import Any

import pytest

from bakepy.cli.adhoc import BuildFlags, bake_file
from bakepy.errors import UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import OutputEntry, SecretEntry, SSHEntry, Target


def target(context: str = "dir", stdin: str = "", **flags: Any) -> Target:
    bake = bake_file(BuildFlags(context, **flags), lambda: stdin)
    assert list(bake.targets) == ["default"]
    assert bake.groups["default"].targets == ("default",)
    return bake.targets["default"]


def refused(context: str = "dir", **flags: Any) -> str:
    with pytest.raises(UsageError) as caught:
        target(context, **flags)
    return str(caught.value)


def test_the_dockerfile_is_below_the_context_unless_named() -> None:
    assert (target().context, target().dockerfile) == ("dir", "Dockerfile")
    assert target(file="../x/Dockerfile").dockerfile == "cwd://../x/Dockerfile"
    assert target(file="/x/./Dockerfile").dockerfile == "cwd:///x/Dockerfile"


def test_the_dockerfile_may_come_on_standard_input() -> None:
    assert target(file="-", stdin="FROM scratch\n").dockerfile_inline == "FROM scratch\n"


def test_arguments_come_from_the_flag_or_the_environment() -> None:
    made = target(
        build_args=["A=1", "B", "C=", "A=2", "D"], environment={"B": "from env", "SOURCE_DATE_EPOCH": "7", "X": "no"}
    )
    assert made.args == FrozenMap({"A": "2", "B": "from env", "C": "", "SOURCE_DATE_EPOCH": "7"})
    assert target(build_args=["SOURCE_DATE_EPOCH=1"], environment={"SOURCE_DATE_EPOCH": "7"}).args == {
        "SOURCE_DATE_EPOCH": "1"
    }


def test_arguments_and_labels_have_a_name() -> None:
    empty = 'invalid key-value pair "=x": empty key'
    assert (refused(build_args=["=x"]), refused(labels=["=x"])) == (empty, empty)
    assert target(build_args=["A=1", "A"], labels=["a"]).args == {"A": "1"}


def test_named_contexts_are_normalised() -> None:
    assert target(build_contexts=["docker.io/library/alpine:latest=docker-image://x", "base=target:a=b"]).contexts == {
        "alpine": "docker-image://x",
        "base": "target:a=b",
    }


def test_platforms_may_be_joined_by_commas() -> None:
    assert target(platforms=["linux/amd64,linux/arm64", "linux/386"]).platforms == (
        "linux/amd64", "linux/arm64", "linux/386",
    )  # fmt: skip


def test_a_context_that_comes_over_ssh_is_lent_the_agent() -> None:
    assert target("git@example.com:a/b.git#main").ssh == (SSHEntry("default"),)
    assert target("ssh://git@example.com/a/b.git", ssh=["other=key"]).ssh == (SSHEntry("other", ("key",)),)
    assert target("https://example.com/a/b.git").ssh == ()


def test_outputs_and_their_shorthands() -> None:
    assert target(outputs=["type=oci,dest=out.tar", "tree"]).outputs == (
        OutputEntry("oci", "out.tar"),
        OutputEntry("local", "tree"),
    )
    assert target(push=True).outputs == (OutputEntry("image", "", FrozenMap({"push": "true"})),)
    assert target(push=True, outputs=["type=image,compression=zstd"]).outputs == (
        OutputEntry("image", "", FrozenMap({"compression": "zstd", "push": "true"})),
    )
    assert target(load=True).outputs == (OutputEntry("docker"),)
    assert target(load=True, outputs=["type=docker"]).outputs == (OutputEntry("docker"),)


def test_what_run_steps_get() -> None:
    made = target(
        secrets=["id=token,env=TOKEN"], add_hosts=["b=[::1]", "a:10.0.0.1", "a=10.0.0.2"], shm_size="1m",
        ulimits=["nofile=1:2"], resources=["memory=1g", "cpu-shares=5"], network="none",
    )  # fmt: skip
    assert made.secrets == (SecretEntry("token", env="TOKEN"),)
    assert list(made.extra_hosts.items()) == [("b", "[::1]"), ("a", "10.0.0.1,10.0.0.2")]
    assert (made.shm_size, made.ulimits, made.network) == ("1048576", ("nofile=1:2",), "none")
    assert made.resources == {"memory": "1g", "cpu-shares": 5}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"outputs": ["type=oci,dest"]}, "--output type=oci,dest: expected key=value, found 'dest'"),
        ({"secrets": ["id=a,sorce=b"]}, "--secret id=a,sorce=b: a secret has no key 'sorce': "
                                        "expected id, src, env or type"),
        ({"build_contexts": ["x"]}, "--build-context x: expected NAME=VALUE"),
        ({"build_contexts": ["x="]}, "--build-context x=: expected NAME=VALUE"),
        ({"build_contexts": ["A B=x"]}, "--build-context A B=x: 'A B' is not a valid name"),
        ({"add_hosts": ["x"]}, "--add-host x: invalid host, expected NAME=ADDRESS"),
        ({"add_hosts": ["x=1.2.3"]}, "--add-host x=1.2.3: invalid host 'x': '1.2.3' is not an address"),
        ({"shm_size": "1q"}, "--shm-size 1q: invalid size: '1q'\nhint: a number of bytes, or as in 64m or 2g"),
        ({"ulimits": ["nofiles=1"]}, "--ulimit nofiles=1: invalid ulimit type: nofiles\nhint: did you mean 'nofile'?"),
        ({"ulimits": ["nofile=3:2"]}, "--ulimit nofile=3:2: ulimit soft limit must be less than or "
                                      "equal to hard limit: 3 > 2"),
    ],
)  # fmt: skip
def test_wrong_values_are_told_with_their_flag(flags: dict[str, Any], message: str) -> None:
    assert refused(**flags) == message


def test_standard_input_is_either_the_context_or_the_dockerfile() -> None:
    assert refused("-", file="-") == "invalid argument: can't use stdin for both build context and dockerfile"
    assert target("/empty", inline="FROM scratch\n").dockerfile_inline == "FROM scratch\n"
