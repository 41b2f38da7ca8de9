"""Frontend attributes as options."""

from __future__ import annotations

import pytest

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.frontend import context_of, options_of, platforms_of
from bakepy.dockerfile.options import (
    GitContext,
    HTTPContext,
    ImageContext,
    InvalidContext,
    LayoutContext,
    LocalContext,
    LowerOptions,
    NamedContext,
)
from bakepy.llb.op import HostIP, LinuxResources, NetMode, Ulimit
from bakepy.model.platform import Platform
from tests.support.dockerfiles import AMD64


def options(**attrs: str) -> LowerOptions:
    named = {name.replace("__", ":").replace("_", "-"): value for name, value in attrs.items()}
    return options_of(named, build_platform=AMD64, main=LocalContext())


def test_every_attribute_has_its_place() -> None:
    made = options_of(
        {
            "target": "t",
            "build-arg:A": "1",
            "build-arg:BUILDKIT_CACHE_MOUNT_NS": "ns",
            "build-arg:BUILDKIT_SANDBOX_HOSTNAME": "h",
            "build-arg:BUILDKIT_DOCKERFILE_CHECK": "skip=all",
            "label:l": "v",
            "no-cache": "a,b",
            "force-network-mode": "host",
            "add-hosts": "DB=::FFFF:10.0.0.1,x=2001:DB8::1",
            "ulimit": "nofile=1:2,core=3",
            "shm-size": "64",
            "cgroup-parent": "/p",
            "image-resolve-mode": "local",
            "memory": "5",
            "memswap": "-1",
            "cpusetcpus": "0-3, 7,",
            "local-sessionid:context": "other",
        },
        build_platform=AMD64,
        main=LocalContext(session="s"),
    )
    assert (made.target, made.labels["l"], made.build_args["A"]) == ("t", "v", "1")
    assert (made.cache_namespace, made.hostname, made.check) == ("ns", "h", "skip=all")
    assert (made.no_cache, made.no_cache_filter, made.network) == (False, ("a", "b"), NetMode.HOST)
    assert made.extra_hosts == (HostIP("db", "10.0.0.1"), HostIP("x", "2001:db8::1"))
    assert made.ulimits == (Ulimit("nofile", 1, 2), Ulimit("core", 3, 3))
    assert (made.shm_size, made.cgroup_parent, made.resolve_mode) == (64, "/p", "local")
    assert made.resources == LinuxResources(memory=5, memory_swap=-1, cpuset_cpus="0-3, 7,")
    assert made.context == LocalContext(session="other")


@pytest.mark.parametrize(
    "attrs",
    [
        {"force_network_mode": "bridge"},
        {"image_resolve_mode": "always"},
        {"add_hosts": "x"},
        {"add_hosts": "x=1.2.3"},
        {"add_hosts": 'x"y'},
        {"ulimit": "nofile"},
        {"ulimit": 'nofile"=1'},
        {"shm_size": "64m"},
        {"memory": "0"},
        {"memswap": "-2"},
        {"cpusetmems": "3-1"},
        {"cpusetmems": "8193"},
        {"add_hosts": "x=fe80::1%eth0"},
        {"override_copy_image": "x"},
        {"build_arg__BUILDKIT_DISABLE_FILEOP": "1"},
    ],
)
def test_values_that_mean_nothing_are_refused(attrs: dict[str, str]) -> None:
    named = {
        name.replace("__", ":").replace("_", "-")
        if "BUILDKIT" not in name
        else "build-arg:BUILDKIT_DISABLE_FILEOP": value
        for name, value in attrs.items()
    }
    with pytest.raises(DockerfileError):
        options_of(named, build_platform=AMD64, main=LocalContext())


@pytest.mark.parametrize(
    ("context", "made"),
    [
        ("", LocalContext()),
        ("https://h.test/r.git#v1", GitContext("https://h.test/r.git#v1")),
        ("github.com/a/b", GitContext("github.com/a/b")),
        ("https://h.test/x.tgz", HTTPContext("https://h.test/x.tgz", archive=True)),
        ("https://h.test/Dockerfile", HTTPContext("https://h.test/Dockerfile")),
    ],
)
def test_the_main_context(context: str, made: object) -> None:
    assert options(context=context).context == made


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("docker-image://alpine", ImageContext("alpine")),
        ("oci-layout://x@sha256:1", LayoutContext("x@sha256:1", "s")),
        ("git@h.test:r.git", GitContext("git@h.test:r.git")),
        ("https://h.test/r.git", GitContext("https://h.test/r.git")),
        ("https://h.test/x", HTTPContext("https://h.test/x")),
        ("nothing", InvalidContext("invalid context specifier nothing for n")),
        ("dcker-image:x", InvalidContext(
            "unsupported context source dcker-image for n; did you mean 'docker-image'?")),
        ("https://h.test/r.git?zip=1", InvalidContext('the context \'n\': unexpected query "zip" in a git URL')),
    ],
)  # fmt: skip
def test_named_contexts_are_read_but_not_judged(spec: str, made: NamedContext) -> None:
    assert context_of("n", spec, session="s") == made


def test_platforms() -> None:
    assert platforms_of({}) == ([], False)
    assert platforms_of({"platform": "linux/arm"}) == ([Platform("linux", "arm", "v7")], False)
    assert platforms_of({"platform": "linux/amd64,linux/arm64/v8"}) == ([AMD64, Platform("linux", "arm64")], True)
    assert platforms_of({"platform": "linux/amd64", "multi-platform": "1"}) == ([AMD64], True)
    for attrs in ({"multi-platform": "x"}, {"platform": "linux/amd64,linux/arm64", "multi-platform": "false"}):
        with pytest.raises(DockerfileError):
            platforms_of(attrs)
