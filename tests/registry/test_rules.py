"""The pure parts: how long to wait, whom to speak plain http with, when a proxy is used."""

from __future__ import annotations

import pytest

from bakepy.registry.hosts import base_url, proxy_for
from bakepy.registry.retry import RetryPolicy, parse_retry_after


@pytest.mark.parametrize(
    ("failures", "asked", "chance", "seconds"),
    [
        (1, None, 0.0, 0.5),
        (1, None, 1.0, 1.0),
        (3, None, 1.0, 4.0),
        (30, None, 1.0, 10.0),
        (1, 5.0, 1.0, 5.0),
        (3, 0.1, 1.0, 4.0),
        (1, 9999.0, 1.0, 60.0),
    ],
)
def test_pause_grows_is_spread_and_bounded(failures: int, asked: float | None, chance: float, seconds: float) -> None:
    policy = RetryPolicy(first=1.0, longest=10.0, longest_asked=60.0)

    assert policy.delay(failures, asked, chance) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=1000.0) == seconds


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("localhost", "http://localhost"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.1.2.3:5000", "http://127.1.2.3:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("plain.test:80", "http://plain.test:80"),
        ("ported.test:5000", "http://ported.test:5000"),
        ("ported.test", "https://ported.test"),
    ],
)
def test_plain_http_is_for_loopback_and_for_those_named(domain: str, url: str) -> None:
    assert base_url(domain, insecure=("plain.test", "ported.test:5000")) == url


def test_proxies_come_from_the_environment_but_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")

    assert proxy_for("https://ghcr.io/v2/") == "http://proxy.test:3128"
    assert proxy_for("https://registry.inside.test/v2/") is None
    assert proxy_for("https://localhost:5000/v2/") is None
    assert proxy_for("http://plain.test/v2/") is None
