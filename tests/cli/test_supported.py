"""What can not be done yet is refused at its place, or told."""

import pytest

from bakepy.cli.supported import called, check_bake, check_engine, granted, notes
from bakepy.errors import BakeError, DefinitionErrors, UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, CacheEntry, PolicyEntry, Target


def bake(*targets: Target) -> BakeFile:
    return BakeFile(FrozenMap({target.name: target for target in targets}), FrozenMap())


def refusal(target: Target) -> str:
    with pytest.raises(BakeError) as caught:
        check_bake(bake(target), frozenset())
    return str(caught.value)


def test_attestations_are_refused_unless_they_are_off() -> None:
    on: FrozenMap[str, str] = FrozenMap({"type": "sbom"})
    assert refusal(Target("t", attest=(on,))) == (
        "target.t.attest[0]: attestations (sbom) are not supported yet\n"
        "hint: take it out, or turn it off: --set '*.attest=type=sbom,disabled=true'"
    )
    check_bake(bake(Target("t", attest=(FrozenMap({"type": "sbom", "disabled": "true"}),))), frozenset())


def test_entitlements_need_a_grant() -> None:
    target = Target("t", entitlements=("network.host",))
    assert refusal(target) == (
        "target.t.entitlements[0]: network.host is not allowed\nhint: --allow network.host grants it"
    )
    check_bake(bake(target), granted(["network.host"]))


def test_policies_and_unknown_calls_are_refused() -> None:
    assert refusal(Target("t", call="outlien")) == (
        "target.t.call: there is no call 'outlien'\nhint: did you mean 'outline'?"
    )
    assert refusal(Target("t", policy=(PolicyEntry(("a.rego",)),))).startswith("target.t.policy[0]: ")


def test_refusals_of_several_targets_come_together() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        check_bake(bake(Target("a", call="x"), Target("b", call="y")), frozenset())
    assert len(caught.value.errors) == 2


def test_caches_are_left_out_and_that_is_told() -> None:
    cache = (CacheEntry("registry"),)
    targets = [Target(name, cache_from=cache) for name in "abcd"]
    assert list(notes(bake(*targets, Target("e", cache_to=cache)))) == [
        "cache-from is not supported yet and left out (a, b, c, …)",
        "cache-to is not supported yet and left out (e)",
    ]


def test_unknown_engines_and_entitlements_are_refused() -> None:
    with pytest.raises(UsageError, match="there is no engine 'docker'"):
        check_engine("docker")
    with pytest.raises(UsageError) as caught:
        granted(["network.hots"])
    assert str(caught.value) == (
        "--allow network.hots: there is no entitlement 'network.hots'\nhint: did you mean 'network.host'?"
    )


def test_targets_are_called_or_built_but_not_both() -> None:
    linked = Target("base", linked=True)
    asked = Target("app", call="lint")
    assert called(bake(asked, linked, Target("docs", call="targets"))) == {"app": "check", "docs": "targets"}
    assert called(bake(Target("a"), Target("b", call="build"))) == {}
    with pytest.raises(BakeError) as caught:
        called(bake(asked, Target("web")))
    assert str(caught.value) == (
        "target.web: the target is to be built, but 'app' is called for check: one run does only one of both\n"
        "hint: name the targets that you want, or give --call check"
    )


def test_devices_are_granted_all_or_by_name() -> None:
    target = Target("t", entitlements=("device=vendor.com/x=y",))
    assert refusal(target) == (
        "target.t.entitlements[0]: device=vendor.com/x=y is not allowed\nhint: --allow device=vendor.com/x=y grants it"
    )
    check_bake(bake(target), granted(["device"]))
    check_bake(bake(target), granted(["device=vendor.com/x=y"]))
    with pytest.raises(UsageError) as caught:
        granted(["network.host=1"])
    assert str(caught.value) == "--allow network.host=1: network.host takes no value\nhint: --allow network.host"


def test_a_source_policy_of_the_environment_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "policy.json")
    assert refusal(Target("t")) == (
        "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY is set, but source policies are not supported yet\nhint: unset it"
    )
