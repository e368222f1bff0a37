"""Whatever goes wrong on the way: no row is lost, none is doubled, and the error says what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import streamlic
from streamlic.emulator import FAULTS, Asked, EmulatorConfig, parse_fault, running_emulator
from streamlic.emulator.faults import FaultPlan
from streamlic.errors import StreamlicError, UsageError
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.truto.client import Connection
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.timeouts import Timeouts
from tests.support.cli import ACCOUNT, TOKEN, check_landed, landed, unfinished_rows, without_run
from tests.support.fault_matrix import TROUBLES, Once, Trouble
from tests.support.raw_server import BODY, server, whole

RECORDS = 200
PAGE = 50
ENGINES = ["fast", "reference"]
OF_BODIES = {
    *("reset", "close", "stall", "drip", "length", "no-end", "cut-gzip", "break-gzip", "bomb"),
    *("cut-json", "break-json", "envelope", "late-error", "error-record", "error-line"),
    *("error-body", "count", "repeat-cursor", "same-page"),
}
"""The faults that a decoder has part in; the others are decided before a body."""


async def exported(
    dest: Path,
    url: str,
    engine: str = "auto",
    backoff_seconds: float = 0.01,
    retry_for_seconds: float = 0.0,
) -> streamlic.Summary:
    """Export with a little patience: 2 attempts, and half a second of silence is too long."""
    connection = Connection(
        ConnectionSettings(
            token=streamlic.TokenSource.from_value(TOKEN),
            base_url=url,
            rate_limit=None,
            retry=RetryPolicy(retry_for_seconds=retry_for_seconds, backoff_seconds=backoff_seconds),
            timeouts=Timeouts(silence_seconds=0.5),
        )
    )
    options = JobOptions(engine=engine, commit_seconds=0, account_details=False)
    request = streamlic.LicensesRequest(account=ACCOUNT, limit=PAGE)
    return await export_async(str(dest), [request], connection, options)


@pytest.mark.parametrize(
    ("trouble", "engine"),
    [
        pytest.param(trouble, engine, id=f"{trouble.fault}-{engine}")
        for trouble in TROUBLES
        for engine in (ENGINES if trouble.fault.partition("=")[0] in OF_BODIES else ["auto"])
    ],
)
async def test_a_fault_that_passes_costs_no_row(
    tmp_path: Path, trouble: Trouble, engine: str
) -> None:
    """The third page has a fault, once. A run that it stops is resumed."""
    fault = parse_fault(f"{quick(trouble)}@row=100,times=1")
    config = EmulatorConfig(records=RECORDS)
    async with running_emulator(config, faults=(fault,)) as emulator:
        if trouble.once is Once.FATAL:
            with pytest.raises(StreamlicError):
                await exported(tmp_path, emulator.url, engine)
            assert unfinished_rows(tmp_path) == 100
        summary = await exported(tmp_path, emulator.url, engine, backoff(trouble))
    assert emulator.faults.done == [str(fault)]
    assert (summary.retries > 0) is (trouble.once is Once.AGAIN)
    assert summary.resumed is (trouble.once is Once.FATAL)
    check_landed(tmp_path, RECORDS)


@pytest.mark.parametrize("passes", [True, False])
async def test_other_failures_do_not_use_up_the_second_chance_of_a_spoilt_body(
    tmp_path: Path, *, passes: bool
) -> None:
    bad, spoilt = whole(b"{}", status=b"502 Bad Gateway"), whole(b'{"result":[}')
    answers = [bad, spoilt] if passes else [spoilt, bad, spoilt]
    async with server(*answers, whole(BODY)) as (url, asked):
        if passes:
            assert (await exported(tmp_path, url, retry_for_seconds=60)).rows == 2
        else:
            with pytest.raises(streamlic.DecodeError):
                await exported(tmp_path, url, retry_for_seconds=60)
    assert len(asked) == 3


def quick(trouble: Trouble) -> str:
    """Return the fault without the second that its answer asks a client to wait."""
    return {"429=1": "429=0", "429=date:1": "429=date:0"}.get(trouble.fault, trouble.fault)


def backoff(trouble: Trouble) -> float:
    """Return seconds to wait in which the fault is over."""
    return 2.0 if trouble.fault.startswith("refuse") else 0.01


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.fault)
async def test_a_fault_that_stays_is_reported_and_the_run_resumes_once_it_is_over(
    tmp_path: Path, trouble: Trouble
) -> None:
    """The third page has a fault as often as it is asked for, until somebody mends it."""
    fault = parse_fault(f"{quick(trouble)}@row=100")
    async with running_emulator(EmulatorConfig(records=RECORDS), faults=(fault,)) as emulator:
        if trouble.error:
            with pytest.raises(trouble.error) as raised:
                await exported(tmp_path, emulator.url)
            said = str(raised.value)
            assert re.search(trouble.says, said)
            assert "\n" not in said
            assert TOKEN not in said
            assert type(raised.value) is trouble.error
            assert raised.value.exit_code == trouble.exit_code
            assert unfinished_rows(tmp_path) == 100
    async with running_emulator(EmulatorConfig(records=RECORDS)) as emulator:
        await exported(tmp_path, emulator.url)
    check_landed(tmp_path, RECORDS)


async def test_a_page_that_changes_between_two_fetches_is_not_mixed(tmp_path: Path) -> None:
    """The first fetch breaks off after some rows, and the second one has others."""
    faults = tuple(map(parse_fault, ("reset=20000@row=100,times=1", "changed@row=100")))
    async with running_emulator(EmulatorConfig(records=RECORDS), faults=faults) as emulator:
        await exported(tmp_path, emulator.url)
        assert emulator.faults.done == ["reset=20000", "changed"]
    rows = list(map(without_run, landed(tmp_path)))
    async with running_emulator(EmulatorConfig(records=RECORDS, seed=8)) as emulator:
        await exported(tmp_path / "changed", emulator.url)
    changed = list(map(without_run, landed(tmp_path / "changed")))
    assert [row["id"] for row in rows] == [row["id"] for row in changed]
    assert rows[100:150] == changed[100:150]
    assert not any(row in changed for row in rows[:100] + rows[150:])


async def test_a_page_that_comes_again_after_a_run_was_broken_off_is_known(tmp_path: Path) -> None:
    faults = tuple(map(parse_fault, ("status=404@row=100,times=1", "same-page@row=100,times=1")))
    async with running_emulator(EmulatorConfig(records=RECORDS), faults=faults) as emulator:
        with pytest.raises(StreamlicError):
            await exported(tmp_path, emulator.url)
        assert (await exported(tmp_path, emulator.url)).resumed
        assert emulator.faults.done == ["status=404", "same-page"]
    check_landed(tmp_path, RECORDS)


async def test_a_stored_cursor_that_is_refused_names_restart(tmp_path: Path) -> None:
    """Whatever the words: only --restart asks for another. Without one it would not help."""
    for at, is_named in ((0, False), (100, False), (100, True)):
        fault = parse_fault(f"status=409@row={at}")
        async with running_emulator(EmulatorConfig(records=RECORDS), faults=(fault,)) as emulator:
            with pytest.raises(streamlic.ApiError, match="409") as caught:
                await exported(tmp_path, emulator.url)
        assert ("restart the run" in str(caught.value)) is is_named
    async with running_emulator(EmulatorConfig(records=RECORDS)) as emulator:
        await exported(tmp_path, emulator.url)
    check_landed(tmp_path, RECORDS)


def test_every_fault_is_in_the_list_or_has_a_test_of_its_own() -> None:
    listed = {one.fault.partition("=")[0] for one in TROUBLES}
    assert FAULTS.keys() - listed == {"partial", "changed"}


def test_the_same_seed_chooses_the_same_requests() -> None:
    def chosen(seed: int, *faults: str) -> list[str]:
        plan = FaultPlan(tuple(map(parse_fault, faults)), seed)
        asked = Asked("GET", "/", [], {})
        return [str(plan.next(asked) or "") for _ in range(300)]

    both = chosen(1, "reset@10%", "html@5%")
    assert both == chosen(1, "reset@10%", "html@5%") != chosen(2, "reset@10%", "html@5%")
    assert 15 < both.count("reset") < 50
    assert [one == "reset" for one in both] == [
        one == "reset" for one in chosen(1, "reset@10%", "no-end@90%")
    ]
    assert chosen(1, "html@1,times=1", "html@3,times=1")[:4] == ["html", "", "html", ""]
    assert chosen(1, "html@2-4,times=2")[:6] == ["", "html", "html", "", "", ""]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flood", "expected one of 429, status"),
        ("status=200", "a status is from 400 to 599"),
        ("status=400:nonsense", "an insight is one of"),
        ("429=later", "expected 429=SECONDS, date:SECONDS or none"),
        ("reset=x", "expected reset=BYTE"),
        ("html@sometimes", "row=N"),
        ("html@0", "a condition that can be met"),
        ("html@7-3", "a condition that can be met"),
        ("html@150%", "a condition that can be met"),
        ("reset=-5", "expected reset=BYTE"),
        ("stall=nan", "expected stall=SECONDS"),
        ("429=date:999999999999", "expected 429=SECONDS"),
    ],
)
def test_a_fault_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_fault(text)
