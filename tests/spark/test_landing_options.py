"""What ``export_with_spark`` decides before it needs a cluster: permits, settings, arguments."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

import streamlic
from streamlic.integrations.spark import __main__ as program
from streamlic.integrations.spark.task_rate import TaskRate, settings_of_tasks, task_rate
from streamlic.truto.budget.leased import LeasedBudget
from streamlic.truto.rate_limit import LocalBudget, RateLimit
from tests.support.cli import TOKEN

URL = "http://127.0.0.1:9"
SETTINGS = streamlic.ConnectionSettings(
    token=streamlic.TokenSource.from_environment(), base_url=URL
)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUTO_API_TOKEN", TOKEN)


class Context:
    """What is read of a SparkContext, which needs a cluster."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host

    def getConf(self) -> dict[str, str]:  # noqa: N802  (pyspark's name)
        return {"spark.driver.host": self._host}


def rate_of(
    settings: streamlic.ConnectionSettings, *, leases: bool, host: str = "127.0.0.1"
) -> TaskRate:
    context: Any = Context(host)
    return task_rate(context, settings, 4, leases=leases)


def test_tasks_lease_permits_of_the_driver_whose_key_shows_nowhere() -> None:
    rate = rate_of(SETTINGS, leases=True)
    assert rate.permits
    assert rate.permits.key not in repr(rate)
    budget = rate.settings(settings_of_tasks(SETTINGS)).budget
    assert isinstance(budget, LeasedBudget)
    assert budget.fallback == RateLimit(100, 10)
    assert rate.permits.key.encode() not in pickle.dumps(budget)


def test_without_leases_each_task_and_the_driver_have_an_equal_part() -> None:
    """And a process keeps its count from one task to the next."""
    rate = rate_of(SETTINGS, leases=False)
    assert rate == TaskRate(None, RateLimit(100, 10))
    budget = rate.settings(settings_of_tasks(SETTINGS)).budget
    assert isinstance(budget, LocalBudget)
    assert rate.settings(settings_of_tasks(SETTINGS)).budget is budget


def test_a_driver_that_cannot_listen_warns_and_gives_parts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert rate_of(SETTINGS, leases=True, host="192.0.2.77").permits is None
    assert "each task has an equal part: cannot listen on 192.0.2.77" in caplog.text


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"rate_limit": "none"}, None),
        ({"token_rate_limit": None}, None),
        ({"token_share": "1/2"}, RateLimit(50, 10)),
        ({"token_rate_limit": "50/1s"}, RateLimit(10, 1)),
    ],
)
def test_the_limit_that_is_shared(given: Mapping[str, Any], part: RateLimit | None) -> None:
    settings = streamlic.ConnectionSettings(token=SETTINGS.token, base_url=URL, **given)
    rate = rate_of(settings, leases=False)
    assert rate == TaskRate(None, part)
    assert settings_of_tasks(settings).token_share is None
    rate.settings(settings_of_tasks(settings))


def test_a_budget_of_one_process_is_refused() -> None:
    settings = streamlic.ConnectionSettings(token=SETTINGS.token, budget=LocalBudget())
    with pytest.raises(streamlic.UsageError, match="other processes share, such as LeasedBudget"):
        rate_of(settings, leases=True)


def test_settings_of_tasks_hold_the_drivers_url_and_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRUTO_API_BASE_URL", URL)
    settings = settings_of_tasks(streamlic.ConnectionSettings())
    assert settings.base_url == URL
    assert TOKEN.encode() not in pickle.dumps(settings)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--accounts-file", "/nowhere", "--account", "a"],
            "expected account or accounts_file, got both (--accounts-file)",
        ),
        (["--accounts-file", "/nowhere"], "cannot be read"),
        (["--all-accounts", "--limit", "many"], "limit: expected a whole number"),
    ],
)
def test_wrong_arguments_end_the_program_before_spark_starts(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["lake", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_the_program_hands_on_what_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options have the names of ``streamlic export``."""
    seen: dict[str, Any] = {}

    def export(given: dict[str, Any]) -> streamlic.Summary:
        seen.update(given)
        raise streamlic.DatasetConflict("it is there", advice="add to it with {mode=append}")

    monkeypatch.setattr(program, "_export", export)
    with pytest.raises(SystemExit) as ended:
        program.main(["lake", "--all-accounts", "--run-key", "k", "--slots", "3"])
    assert ended.value.code == 2
    assert seen == {"dest": "lake", "all_accounts": True, "run_key": "k", "slots": 3}
    assert "add to it with --mode append" in capsys.readouterr().err
    assert json.dumps(seen)
