"""Docker's configuration: which credential is used for which registry."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bakepy.errors import UsageError
from bakepy.session.credentials import ANONYMOUS, Credential, Credentials


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_auths_by_host_url_and_docker_hub() -> None:
    credentials = Credentials(
        {
            "auths": {
                "ghcr.io": {"auth": auth("ann", "a:b")},
                "https://quay.io/v2/": {"username": "bob", "password": "pw"},
                "https://index.docker.io/v1/": {"auth": auth("hub", "pw")},
                "token.test": {"identitytoken": "ID"},
                "empty.test": {},
            }
        }
    )

    assert credentials.find("ghcr.io") == Credential("ann", "a:b")
    assert credentials.find("quay.io") == Credential("bob", "pw")
    assert credentials.find("docker.io") == Credential("hub", "pw")
    assert credentials.find("token.test") == Credential(identity_token="ID")
    assert credentials.find("empty.test") == credentials.find("other.test") == ANONYMOUS


def test_helper_of_the_host_comes_before_the_common_one_and_that_before_auths() -> None:
    asked: list[tuple[str, str]] = []

    def helper(name: str, server: str) -> str:
        asked.append((name, server))
        if server == "unknown.test":
            raise LookupError(server)
        secret = {"Username": "<token>", "Secret": "ID"} if name == "gcloud" else {"Username": "ann", "Secret": "pw"}
        return json.dumps({"ServerURL": server, **secret})

    config: dict[str, Any] = {
        "auths": {"unknown.test": {"auth": auth("file", "pw")}, "gcr.io": {"auth": auth("file", "pw")}},
        "credHelpers": {"gcr.io": "gcloud"},
        "credsStore": "pass",
    }
    credentials = Credentials(config, helper)

    assert credentials.find("gcr.io") == Credential(identity_token="ID")
    assert credentials.find("docker.io") == Credential("ann", "pw")
    assert credentials.find("unknown.test") == Credential("file", "pw")
    assert asked == [("gcloud", "gcr.io"), ("pass", "https://index.docker.io/v1/"), ("pass", "unknown.test")]


def test_real_helper_program_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text(
        "#!/bin/sh\n"
        "read -r server\n"
        'case "$1 $server" in\n'
        '"get known.test") echo \'{"ServerURL": "x", "Username": "ann", "Secret": "pw"}\' ;;\n'
        '"get none.test") echo "credentials not found in native keychain"; exit 1 ;;\n'
        '"get odd.test") echo "[]" ;;\n'
        '*) echo "keychain is locked"; exit 2 ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    credentials = Credentials({"credsStore": "test"})

    assert credentials.find("known.test") == Credential("ann", "pw")
    assert credentials.find("none.test") == ANONYMOUS
    with pytest.raises(UsageError) as caught:
        credentials.find("locked.test")
    assert str(caught.value) == (
        "the credential helper docker-credential-test failed for locked.test\n    keychain is locked"
    )
    with pytest.raises(UsageError, match="gave no usable answer for odd"):
        credentials.find("odd.test")


def test_missing_helper_program_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        Credentials({"credsStore": "no-such-helper"}).find("a.test")

    assert caught.value.what == "the credential helper docker-credential-no-such-helper is not installed"


def test_configuration_is_found_by_variable_and_in_the_home(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {"a.test": {"auth": auth("home", "pw")}}}))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"a.test": {"auth": auth("variable", "pw")}}}))

    assert Credentials.load({"HOME": str(tmp_path)}).find("a.test").username == "home"
    both = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    assert Credentials.load(both).find("a.test").username == "variable"
    assert Credentials.load({"HOME": "/nonexistent"}).find("a.test") == ANONYMOUS


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": [1]}'])
def test_broken_configuration_is_a_usage_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(UsageError, match=f"can not read {tmp_path}/config.json: "):
        Credentials.load({"DOCKER_CONFIG": str(tmp_path)}).find("a.test")


def test_malformed_auth_is_a_usage_error_that_does_not_show_it() -> None:
    with pytest.raises(UsageError) as caught:
        Credentials({"auths": {"a.test": {"auth": "%s3cret%"}}}).find("a.test")

    assert "s3cret" not in str(caught.value)


def test_values_show_in_no_representation() -> None:
    assert repr(Credential("ann", "s3cret", "IDENTITY", "TOKEN")) == "Credential(username='ann')"
