"""Instructions to ops, image config and names."""

from __future__ import annotations

import pytest

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.options import GitContext, GraphContext, HTTPContext, ImageContext, LayoutContext, LocalContext
from bakepy.llb.definition import Definition
from bakepy.llb.op import (
    NONE,
    CacheOpt,
    CacheSharing,
    ChownOpt,
    ExecOp,
    FileOp,
    HostIP,
    MergeOp,
    MkDirAction,
    MkFileAction,
    Mount,
    MountType,
    NetMode,
    SecretEnv,
    SecretOpt,
    SecurityMode,
    Ulimit,
    UserOpt,
)
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform, host_platform
from tests.support.dockerfiles import AMD64, actions, copies, lower, names, runs, sources, steps

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_known_digests() -> None:
    """The digests that BuildKit 73ed6825 gave for this build."""
    lowered = lower(
        "FROM example/with-user:1\nRUN id\nCOPY a .\nWORKDIR x\n", context=LocalContext(session="bakepy-conformance")
    )
    assert [vertex.digest.hex[:12] for vertex in steps(lowered)] == [
        "0fa7d211d02f",
        "0dba9d65894b",
        "6b629db4dd3e",
        "2c4ff0d76555",
        "02cd9c6d97b2",
    ]
    assert names(lowered)[0].startswith("[1/4] FROM docker.io/example/with-user:1@sha256:")
    assert names(lowered)[1:] == ["[2/4] RUN id", "[internal] load build context", "[3/4] COPY a .", "[4/4] WORKDIR x"]


def test_a_checksum_for_a_path_that_looks_like_a_repository_is_not_looked_at() -> None:
    (copied,) = copies(lower("FROM alpine\nADD --checksum=sha1:x github.com/o/r /d\n"))
    assert copied.src == "/github.com/o/r"


def test_images_that_only_a_triggered_stage_reads_are_fetched_by_name() -> None:
    """Nobody asks for their digest in the second round, in which a trigger has made that stage necessary."""
    text = "FROM alpine AS builder\nCOPY --from=busybox a b\nFROM alpine AS tools\nFROM example/onbuild-from:1\n"
    images = [source.identifier.removeprefix("docker-image://docker.io/") for source in sources(lower(text))]
    assert [image.partition("@")[0] for image in images] == ["example/onbuild-from:1", "library/alpine:latest",
                                                             "library/busybox:latest"]  # fmt: skip
    assert [("@" in image) for image in images] == [True, True, False]


def test_a_pattern_that_can_not_be_compared_is_wrong_only_when_it_is() -> None:
    ignore = "kept\nbin\\Go\n"
    found = [[w.rule.name for w in lower(f"FROM alpine\nCOPY {path} /\n", ignore).warnings] for path in ("kept", "a")]
    assert found == [["CopyIgnoredFile"], []]
    with pytest.raises(DockerfileError, match="syntax error in pattern"):
        lower("FROM alpine\n", "a[\n")


def test_stages_that_the_target_does_not_need_are_left_out() -> None:
    text = "FROM missing AS a\nFROM alpine AS b\nRUN b\nFROM alpine AS c\nRUN c\n"
    assert [op.meta.args[2] for op in runs(lower(text, target="b"))] == ["b"]


def test_scratch_without_files_is_an_empty_definition() -> None:
    lowered = lower('FROM scratch\nENV a=b\nCMD ["x"]\n')
    assert lowered.head is None
    assert Definition.of(lowered.graph, lowered.head).marshal() == b""
    assert lowered.image.config.env == (PATH, "a=b")


def test_args_and_env_reach_the_process_in_the_order_in_which_they_were_set_last() -> None:
    text = "ARG G=1\nFROM alpine\nARG G\nARG D=2\nENV E=3 D=4\nARG N\nENV E=5\nRUN x\n"
    lowered = lower(text, build_args={"N": "n", "unknown": "u"})
    assert runs(lowered)[0].meta.env == (PATH, "G=1", "D=4", "N=n", "E=5")
    assert lowered.image.config.env == (PATH, "E=5", "D=4")
    assert lowered.image.history[-1].created_by == "RUN |3 G=1 D=4 N=n /bin/sh -c x # buildkit"


def test_mounts_are_sorted_and_secrets_follow() -> None:
    text = (
        "FROM alpine AS tools\nFROM alpine\nARG id=go\n"
        "RUN --mount=type=secret,id=t,env=TOKEN --mount=type=ssh "
        "--mount=type=cache,id=$id,target=/root/x,sharing=locked "
        "--mount=type=bind,from=tools,source=a/../b,target=/a,rw --mount=type=tmpfs,target=t,size=1.5k "
        "--mount=type=secret,source=f,mode=0440,required --network=none --security=insecure make\n"
    )
    op = runs(lower(text, cache_namespace="ns"))[0]
    assert op.mounts == (
        Mount("/", 0),
        Mount("/a", 0, "/b", NONE),
        Mount("/root/x", NONE, output=NONE, type=MountType.CACHE, cache=CacheOpt("ns/go", CacheSharing.LOCKED)),
        Mount("/t", NONE, output=NONE, type=MountType.TMPFS, tmpfs_size=1536),
        Mount("/run/secrets/f", NONE, type=MountType.SECRET, secret=SecretOpt("f", mode=0o440)),
        Mount("/run/buildkit/ssh_agent.0", NONE, type=MountType.SSH, ssh=SecretOpt("", mode=0o600, optional=True)),
    )
    assert op.secret_env == (SecretEnv("t", "TOKEN", optional=True),)
    assert (op.network, op.security) == (NetMode.NONE, SecurityMode.INSECURE)
    assert op.meta.env == (PATH, "id=go", "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0")


def test_a_cache_mount_with_an_owner_begins_with_a_directory() -> None:
    lowered = lower("FROM alpine\nRUN --mount=type=cache,target=/c,uid=7 x\n")
    assert [entry.action for entry in actions(lowered)] == [
        MkDirAction("/cache", 0o755, owner=ChownOpt(UserOpt(7), UserOpt(0)))
    ]
    assert runs(lowered)[0].mounts[1].selector == "/cache"
    special = lower("FROM alpine\nRUN --mount=type=cache,target=/c,mode=4750 x\n")
    assert [entry.action for entry in actions(special)] == [
        MkDirAction("/cache", 0o750, owner=ChownOpt(UserOpt(0), UserOpt(0)))
    ]


def test_a_directory_does_not_change_the_platform_of_what_runs_in_it() -> None:
    """An image without layers says nothing about the platform, so that the target's counts."""
    lowered = lower("FROM --platform=linux/arm64 example/nodiff:1\nWORKDIR /w\nRUN x\n")
    assert [vertex.platform for vertex in steps(lowered)] == [None, AMD64]


def test_a_platform_of_one_word_is_completed_by_this_machine() -> None:
    lowered = lower("FROM --platform=windows alpine AS windows\n")
    assert [vertex.platform for vertex in steps(lowered)] == [Platform("windows", host_platform().architecture)]


def test_what_is_no_text_is_replaced_in_the_image_config() -> None:
    text = b"FROM scratch\nLABEL a=caf\xe9\n".decode("utf-8", "surrogateescape")
    image = ImageConfig.from_bytes(lower(text).image.to_bytes())
    assert dict(image.config.labels) == {"a": "caf\ufffd"}
    assert image.history[-1].created_by == "LABEL a=caf\ufffd"


def test_documents_of_run_are_scripts() -> None:
    lowered = lower(
        "FROM alpine\nRUN <<-E\n\techo $x\n\tE\nRUN <<E cat\nx\nE\nRUN <<run.py\n#!/usr/bin/python\n1\nrun.py\n"
    )
    assert [op.meta.args for op in runs(lowered)] == [
        ("/bin/sh", "-c", "echo $x\n"),
        ("/bin/sh", "-c", "<<E cat\nx\nE"),
        ("/bin/sh", "-c", "/dev/pipes/run.py"),
    ]
    assert actions(lowered)[0].action == MkFileAction("/run.py", 0o755, b"#!/usr/bin/python\n1\n")
    assert names(lowered)[1] == "[2/4] RUN <<-E (echo $x)"


def test_copy_is_one_file_op_with_its_sources_in_order() -> None:
    lowered = lower(
        "FROM alpine\nWORKDIR /w\nENV n=v\nCOPY --chown=app:0 --chmod=u=rw --exclude=*.o a $n ../c <<f d/\n$n\nf\n"
    )
    copied = copies(lowered)
    assert [(copy.src, copy.dest) for copy in copied] == [
        ("/a", "/w/d/"), ("/v", "/w/d/"), ("/c", "/w/d/"), ("/f", "/w/d/"),
    ]  # fmt: skip
    assert {(copy.mode, copy.mode_str, copy.exclude_patterns) for copy in copied} == {(0, "u=rw", ("*.o",))}
    assert copied[0].owner == ChownOpt(UserOpt(name="app", input=0), UserOpt(0))
    assert [entry.action for entry in actions(lowered) if isinstance(entry.action, MkFileAction)] == [
        MkFileAction("/f", 0o644, b"v\n")
    ]
    assert sources(lowered)[1].attrs["local.followpaths"] == '["a","c","v"]'
    file = next(op for op in reversed([v.op for v in steps(lowered)]) if isinstance(op, FileOp))
    assert [(a.input, a.secondary_input, a.output) for a in file.actions] == [
        (0, 1, NONE), (3, 1, NONE), (4, 1, NONE), (5, 2, 0),
    ]  # fmt: skip


def test_a_linked_copy_is_merged_onto_its_base() -> None:
    lowered = lower("FROM alpine\nCOPY --link a b\n")
    merge = steps(lowered)[-1]
    assert merge.op == MergeOp((0, 1))
    assert merge.name == "[2/2] LINK COPY --link a b"
    group = merge.metadata.progress_group
    assert group is not None
    assert (group.name, group.weak) == ("[2/2] COPY --link a b", False)


@pytest.mark.parametrize(
    ("source", "identifier", "attrs"),
    [
        ("https://h.test/a%20b.tgz?x=1", "https://h.test/a%20b.tgz?x=1", {"http.filename": "a b.tgz"}),
        ("https://h.test/", "https://h.test/", {"http.filename": "__unnamed__"}),
        (
            "git@h.test:o/r.git#v1:sub",
            "git://h.test/o/r.git#v1:sub",
            {"git.fullurl": "git@h.test:o/r.git", "git.mountsshsock": "default"},
        ),
        (
            "https://h.test/r.git?tag=v1&submodules=false&keep-git-dir",
            "git://h.test/r.git#refs/tags/v1",
            {"git.fullurl": "https://h.test/r.git", "git.skipsubmodules": "true", "git.keepgitdir": "true"},
        ),
    ],
)
def test_remote_sources_of_add(source: str, identifier: str, attrs: dict[str, str]) -> None:
    op = sources(lower(f"FROM scratch\nADD {source} /x\n"))[0]
    secrets = {"git.authheadersecret": "GIT_AUTH_HEADER", "git.authtokensecret": "GIT_AUTH_TOKEN"}
    assert op.identifier == identifier
    assert dict(op.attrs) == attrs | (secrets if identifier.startswith("git:") else {})


def test_build_wide_settings_reach_every_process() -> None:
    op = runs(
        lower(
            "FROM alpine\nRUN x\n",
            network=NetMode.HOST,
            extra_hosts=(HostIP("db", "10.0.0.1"),),
            ulimits=(Ulimit("nofile", 1, 2),),
            shm_size=64,
            hostname="h",
            cgroup_parent="/p",
            build_args={"http_proxy": "a", "HTTP_PROXY": "b"},
        )
    )[0]
    assert op.network is NetMode.HOST
    assert op.mounts[1] == Mount("/dev/shm", NONE, output=NONE, type=MountType.TMPFS, tmpfs_size=64)
    assert (op.meta.hostname, op.meta.cgroup_parent) == ("h", "/p")
    assert (op.meta.extra_hosts, op.meta.ulimits) == ((HostIP("db", "10.0.0.1"),), (Ulimit("nofile", 1, 2),))
    assert op.meta.proxy_env is not None
    assert op.meta.proxy_env.http_proxy == "a"


def test_an_older_engine_gets_what_it_knows() -> None:
    text = "FROM alpine\nCOPY --link a b\nRUN --mount=type=bind,target=/x,rw y\n"
    missing = frozenset(
        {"mergeop", "exec.mount.bind.readwrite-nooutput", "exec.meta.ulimit", "exec.meta.setsdefaultpath"}
    )
    lowered = lower(text, unsupported=missing, ulimits=(Ulimit("nofile", 1, 2),))
    assert not any(isinstance(vertex.op, MergeOp) for vertex in steps(lowered))
    run = steps(lowered)[-1]
    assert isinstance(run.op, ExecOp)
    assert (run.op.mounts[1].output, run.op.meta.ulimits) == (1, ())
    assert not missing & run.metadata.caps


def test_no_cache_marks_steps_of_the_wanted_stages() -> None:
    text = "FROM alpine AS a\nRUN 1\nWORKDIR /x\nFROM alpine AS b\nCOPY --from=a x y\n"
    lowered = lower(text, no_cache_filter=("A",))
    assert [vertex.name for vertex in steps(lowered) if vertex.metadata.ignore_cache] == ["[a 2/3] RUN 1"]
    assert lower(text, no_cache=True).uncached


def test_ignored_files_are_excluded_and_told() -> None:
    lowered = lower("FROM alpine\nCOPY secret/x /\n", ignore="\ufeff# note\n /secret/ \n\n./a/../b\n")
    assert sources(lowered)[1].attrs["local.excludepatterns"] == '["secret","b"]'
    assert [warning.message for warning in lowered.warnings] == [
        'Attempting to Copy file "secret/x" that is excluded by .dockerignore'
    ]


def test_contexts_replace_images_and_stages() -> None:
    text = (
        "FROM base AS one\nRUN 1\nFROM alpine AS two\nRUN 2\nFROM scratch\nCOPY --from=one a b\nCOPY --from=two a b\n"
    )
    lowered = lower(
        text,
        contexts=FrozenMap(
            {"base": ImageContext("busybox:1"), "two": LocalContext("dir", "s", shared_key="k", ignore="x")}
        ),
    )
    assert [op.identifier for op in sources(lowered)] == ["docker-image://docker.io/library/busybox:1", "local://dir"]
    assert dict(sources(lowered)[1].attrs) == {
        "local.session": "s",
        "local.sharedkeyhint": "context:two-k",
        "local.excludepatterns": '["x"]',
        "local.followpaths": '["a"]',
    }
    assert [op.meta.args[2] for op in runs(lowered)] == ["1"]


def test_a_context_can_be_an_oci_layout() -> None:
    digest = "sha256:" + "a" * 64
    op = sources(lower("FROM base\nRUN x\n", contexts=FrozenMap({"base": LayoutContext(f"store@{digest}", "s")})))[0]
    assert op.identifier == f"oci-layout://docker.io/library/base@{digest}"
    assert dict(op.attrs) == {"oci.session": "s", "oci.store": "store"}


def test_another_target_is_taken_over_byte_by_byte() -> None:
    base = lower("FROM alpine\nENV A=1\nRUN base\n")
    context = GraphContext(base.graph, base.head, base.image)
    lowered = lower("FROM base\nRUN echo $A\n", contexts=FrozenMap({"base": context}))
    assert [vertex.data for vertex in steps(lowered)[:2]] == [vertex.data for vertex in steps(base)]
    assert runs(lowered)[1].meta.env == (PATH, "A=1")
    assert [entry.created_by for entry in lowered.image.history][-2:] == [
        "RUN /bin/sh -c base # buildkit",
        "RUN /bin/sh -c echo $A # buildkit",
    ]


def test_a_stage_replaced_by_a_target_without_config_is_for_the_target_platform() -> None:
    base = lower("FROM alpine\n", platform=Platform("windows", "amd64"))
    context = GraphContext(base.graph, base.head)
    lowered = lower("FROM x AS base\nFROM base\nRUN y\n", contexts=FrozenMap({"base": context}))
    assert [vertex.platform for vertex in steps(lowered)] == [Platform("windows", "amd64"), AMD64]


def test_the_main_context_can_be_remote() -> None:
    text = "FROM scratch\nCOPY a b\n"
    git = sources(lower(text, context=GitContext("https://h.test/r.git#main"), build_args={"SOURCE_DATE_EPOCH": "1"}))
    assert (git[0].identifier, git[0].attrs["git.mtime"]) == ("git://h.test/r.git#main", "commit")
    archive = lower(text, context=HTTPContext("https://h.test/x.tgz", archive=True), context_subdir="sub")
    assert [(copy.src, copy.dest) for copy in copies(archive)] == [("/context", "/"), ("/sub", "/"), ("/a", "/b")]


def test_triggers_run_before_the_stage() -> None:
    text = "FROM alpine AS base\nONBUILD RUN echo $X\nONBUILD ENV X=1\nFROM base\nRUN own\n"
    lowered = lower(text)
    assert names(lowered)[1:] == ["[stage-1 1/3] ONBUILD RUN echo $X", "[stage-1 2/3] RUN own"]
    assert [place.start.line for place in steps(lowered)[1].locations[0]] == [4]
    assert lowered.image.config.on_build == ()


def test_platforms_of_steps_and_image() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM golang AS build\nARG TARGETARCH\nRUN build\n"
        "FROM alpine\nCOPY --from=build a b\n"
    )
    lowered = lower(text, platform=Platform("linux", "arm64"), multi_platform=True)
    run = steps(lowered)[2]
    assert run.platform == AMD64
    assert run.name == "[linux/amd64->arm64 build 2/2] RUN build"
    assert lowered.image.platform == Platform("linux", "arm64")
    assert steps(lowered)[-1].platform is None


def test_source_date_epoch_dates_directories_and_history() -> None:
    lowered = lower("FROM alpine\nWORKDIR /w\n", build_args={"SOURCE_DATE_EPOCH": "1"})
    assert lowered.epoch == 1
    assert actions(lowered)[0].action == MkDirAction("/w", 0o755, make_parents=True, timestamp=10**9)
    assert lowered.image.history[-1].created == "1970-01-01T00:00:01Z"


def test_paths_of_windows() -> None:
    text = (
        '# escape=`\nFROM example/windows:1\nWORKDIR C:\\app\nCOPY a\\b dest\\\nRUN dir\nSHELL ["powershell"]\nCMD x\n'
    )
    lowered = lower(text, platform=Platform("windows", "amd64"))
    assert lowered.image.config.working_dir == "\\app"
    assert lowered.image.config.cmd == ("powershell", "x")
    assert (copies(lowered)[0].src, copies(lowered)[0].dest) == ("/a/b", "/app/dest/")
    assert runs(lowered)[0].meta.args == ("cmd", "/S", "/C", "dir")
    assert runs(lowered)[0].meta.cwd == "/app"


def test_a_drive_in_the_middle_of_a_path_is_refused_by_the_next_stage() -> None:
    text = "# escape=`\nFROM example/windows:1 AS w\nWORKDIR C:\\x\\C:\\v\n"
    assert lower(text, platform=Platform("windows", "amd64")).image.config.working_dir == "\\x\\C:\\v"
    with pytest.raises(DockerfileError, match="drive"):
        lower(text + "FROM w\n", platform=Platform("windows", "amd64"))


@pytest.mark.parametrize("keyword", ["CMD", "ENTRYPOINT"])
def test_undecodable_commands_of_the_image(keyword: str) -> None:
    """The history tells each byte, the config has what JSON can hold."""
    text = f'FROM alpine\n{keyword} y \udcff\n{keyword} ["y\udcff"]\n'
    image = lower(text).image
    assert [line.created_by for line in image.history[-2:]] == [
        f'{keyword} ["/bin/sh" "-c" "y \\xff"]',
        f'{keyword} ["y\ufffd"]',
    ]
    first = lower(text.rpartition(keyword)[0]).image.config
    assert (first.cmd or first.entrypoint) == ("/bin/sh", "-c", "y \ufffd")


def test_undecodable_commands_are_refused() -> None:
    raw = b"FROM alpine\nRUN \xfc\n".decode("utf-8", "surrogateescape")
    with pytest.raises(Exception, match="the command of a RUN is not UTF-8"):
        lower(raw)


def test_digests_are_those_of_the_bytes() -> None:
    lowered = lower("FROM alpine\nRUN a\nCOPY --link b c\nADD https://h.test/x /y\nWORKDIR /z\n")
    assert all(vertex.digest == Digest.of(vertex.data) for vertex in steps(lowered))


def test_what_is_built_on_a_tree_without_a_config_has_no_type_until_it_is_exported() -> None:
    text = "FROM alpine AS base\nFROM base AS mid\nRUN x\nENV A=b\nFROM mid\nWORKDIR /w\n"
    folder = LocalContext("src", "s")
    lowered = lower(text, contexts=FrozenMap(base=folder))
    assert lowered.image.rootfs_type == ""
    given = GraphContext(lowered.graph, lowered.head, ImageConfig.from_bytes(lowered.image.to_bytes()))
    assert lower("FROM base AS top\nRUN y\n", contexts=FrozenMap(top=given)).image.rootfs_type == ""
    assert lower("FROM folder\nRUN x\n", contexts=FrozenMap(folder=folder)).image.rootfs_type == "layers"
    assert lower(text).image.rootfs_type == "layers"


def test_stages_upon_stages_can_not_copy_without_end() -> None:
    text = "FROM alpine AS s0\n" + "".join(f"FROM s{n - 1} AS s{n}\nENV A{n}=1\n" for n in range(1, 1000))
    with pytest.raises(DockerfileError, match="stages take over more than 262144 variables, labels, ports and volumes"):
        lower(text)
