"""What a definition may reach on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bakepy.cli.rights import check_rights
from bakepy.errors import BakeError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, CacheEntry, OutputEntry, SecretEntry, SSHEntry, Target


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "here"
    folder.mkdir(parents=True)
    return folder


def asked(
    here: Path,
    target: Target,
    *allowed: str,
    far: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Sequence[str]:
    """The lines that say what a target needs a grant for; none if it needs none."""
    bake = BakeFile(FrozenMap({target.name: target}), FrozenMap())
    try:
        check_rights(bake, allowed, environment or {}, far=far, directory=here)
    except BakeError as error:
        return (*error.detail, error.hint)
    return ()


def test_all_that_is_outside_is_named_with_the_flags_that_grant_it(here: Path) -> None:
    target = Target(
        "app",
        context="..",
        contexts=FrozenMap({"in": "lib", "out": "/etc/x", "image": "docker-image://a", "layout": "oci-layout://../l"}),
        dockerfile="cwd:///srv/Dockerfile",
        secrets=(SecretEntry("a", src="/root/.netrc"), SecretEntry("b", env="B")),
        ssh=(SSHEntry("default"), SSHEntry("key", ("/root/.ssh/id",))),
        outputs=(OutputEntry("local", "/out"), OutputEntry("local", "out"), OutputEntry("tar", "-")),
        cache_from=(CacheEntry("local", FrozenMap({"src": "/cache"})),),
        cache_to=(CacheEntry("local", FrozenMap({"dest": "/cache"})),),
    )
    assert asked(here, target) == (
        "reading .. (target.app.context)",
        "reading /etc/x (target.app.contexts.out)",
        "reading ../l (target.app.contexts.layout)",
        "reading /srv/Dockerfile (target.app.dockerfile)",
        "reading /root/.netrc (target.app.secret)",
        "using the SSH agent (target.app.ssh)",
        "reading /root/.ssh/id (target.app.ssh)",
        "writing /out (target.app.output[0])",
        "reading /cache (target.app.cache-from)",
        "writing /cache (target.app.cache-to)",
        "--allow fs.read=.. --allow fs.read=/etc/x --allow fs.read=../l --allow fs.read=/srv/Dockerfile "
        "--allow fs.read=/root/.netrc --allow ssh --allow fs.read=/root/.ssh/id --allow fs.write=/out "
        "--allow fs.read=/cache --allow fs.write=/cache grants it; BUILDX_BAKE_ENTITLEMENTS_FS=0 grants all files",
    )


@pytest.mark.parametrize("grant", ["fs=..", "fs.read=..", "fs.read=*", "fs=/"])
def test_a_grant_covers_what_is_below(here: Path, grant: str) -> None:
    assert asked(here, Target("app", context="../other/sub"), grant) == ()


def test_a_grant_to_read_is_none_to_write(here: Path) -> None:
    target = Target("app", outputs=(OutputEntry("local", "../out"),))
    assert asked(here, target, "fs.read=..")[0] == "writing ../out (target.app.output[0])"
    assert asked(here, target, "fs.write=..") == ()


def test_a_link_does_not_lead_out(here: Path) -> None:
    (here / "link").symlink_to("/etc")
    assert asked(here, Target("app", context="link"))[0] == "reading /etc (target.app.context)"


@pytest.mark.parametrize(
    ("far", "environment", "expected"),
    [
        (False, {}, False),
        (False, {"BUILDX_BAKE_ENTITLEMENTS_FS": "1"}, True),
        (True, {"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}, False),
        (True, {"BAKE_ALLOW_REMOTE_FS_ACCESS": "true"}, False),
        (True, {"BAKE_ALLOW_REMOTE_FS_ACCESS": "true", "BUILDX_BAKE_ENTITLEMENTS_FS": "1"}, True),
    ],
)
def test_definitions_from_elsewhere_are_asked(
    here: Path, far: bool, environment: Mapping[str, str], expected: bool
) -> None:
    assert bool(asked(here, Target("app", context=".."), far=far, environment=environment)) is expected


def test_the_variable_is_a_bool(here: Path) -> None:
    with pytest.raises(BakeError) as caught:
        check_rights(
            BakeFile(FrozenMap(), FrozenMap()), (), {"BUILDX_BAKE_ENTITLEMENTS_FS": "x"}, far=False, directory=here
        )
    assert str(caught.value) == "BUILDX_BAKE_ENTITLEMENTS_FS must be true or false, not 'x'"
