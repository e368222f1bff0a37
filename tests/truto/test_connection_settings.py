"""How to connect: one object, which travels to other processes and shows no token."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import streamlic
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import RateLimit

TOKEN = "a-token-that-nobody-may-see"


def test_settings_pickle_and_mean_the_same_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    for token in (
        TOKEN,
        streamlic.TokenSource.from_value(TOKEN),
        streamlic.TokenSource.from_file(file),
    ):
        settings = streamlic.ConnectionSettings(
            token=token,
            base_url="http://localhost:9",
            rate_limit="9/1s",
            timeouts=streamlic.Timeouts(silence_seconds=7),
            retry=streamlic.RetryPolicy(retry_for_seconds=8),
        )
        other = pickle.loads(pickle.dumps(settings))  # noqa: S301  (our own, of just now)
        assert other.token_source().read() == TOKEN
        assert other.account_rate_limit() == RateLimit(9, 1)
        assert (other.url(), other.timeouts, other.retry) == (
            settings.base_url,
            settings.timeouts,
            settings.retry,
        )
        assert Connection(other).policy == settings.retry


def test_without_a_token_and_a_url_the_environment_is_read_where_they_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = pickle.loads(pickle.dumps(streamlic.ConnectionSettings()))  # noqa: S301
    monkeypatch.setenv("TRUTO_API_TOKEN", TOKEN)
    monkeypatch.setenv("TRUTO_API_BASE_URL", "https://there.example")
    assert settings.token_source().read() == TOKEN
    assert settings.url() == "https://there.example"
    monkeypatch.setenv("TRUTO_API_BASE_URL", "")
    with pytest.raises(streamlic.UsageError, match="TRUTO_API_BASE_URL is empty"):
        settings.url()


def test_settings_do_not_show_the_token() -> None:
    assert TOKEN not in repr(streamlic.ConnectionSettings(token=TOKEN))
    with pytest.raises(streamlic.UsageError, match="rate_limit"):
        streamlic.ConnectionSettings(rate_limit="fast")
    assert streamlic.ConnectionSettings(rate_limit="none").account_rate_limit() is None
