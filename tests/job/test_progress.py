"""Snapshots of a job: frozen, complete, and with every event once."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

import streamlic
from streamlic.decoder import Envelope
from streamlic.emulator import EmulatorConfig
from streamlic.errors import TransportError
from streamlic.job import progress as module
from streamlic.job.progress import (
    AccountEnded,
    ActiveAccount,
    Committed,
    OnProgress,
    PageDone,
    Progress,
    ProgressRecorder,
    SourceStatus,
)
from streamlic.truto.retry import Retry
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus
from tests.job.test_many_accounts import exported, faulty, ids, refused

WAIT = WaitStatus(WaitCause(WaitReason.BACKOFF), until=1.0, accounts=1)


@dataclass
class FakeSource:
    """Counts how often the expensive questions are asked."""

    now: SourceStatus = field(default_factory=lambda: SourceStatus(pages_under_way=1))
    asked: int = 0

    def status(self) -> SourceStatus:
        return self.now

    def waits(self) -> list[WaitStatus]:
        self.asked += 1
        return [WAIT]

    def slowest(self) -> list[ActiveAccount]:
        return [ActiveAccount("a", 1, 2.0)]


def recorder_of(source: FakeSource, observer: OnProgress | None) -> ProgressRecorder:
    return ProgressRecorder(source, observer, run="r", accounts=2, resumed_rows=7, parts=1)


def test_a_snapshot_does_not_change() -> None:
    seen: list[Progress] = []
    recorder = recorder_of(FakeSource(), seen.append)
    recorder.notify()
    recorder.record_page("a", Envelope(rows=3, rescued=1))
    recorder.record(Committed(rows=10, parts=2))
    recorder.notify()
    first, second = seen
    assert (first.rows, first.pages, first.parts, first.account) == (0, 0, 1, None)
    assert (second.rows, second.pages, second.parts, second.account) == (3, 1, 2, "a")
    assert (second.rescued, second.resumed_rows, second.accounts) == (1, 7, 2)
    assert second.started == first.started <= first.at <= second.at
    with pytest.raises(FrozenInstanceError):
        first.rows = 1  # type: ignore[misc]


def test_every_event_is_in_one_snapshot_in_its_order() -> None:
    seen: list[Progress] = []
    recorder = recorder_of(FakeSource(), seen.append)
    retry = Retry(TransportError("cut"), 1, 0.5, "a")
    recorder.record(retry)
    recorder.record_page("a", Envelope(rows=3))
    recorder.notify()
    recorder.notify()
    recorder.record(AccountEnded("a"))
    recorder.notify()
    assert [one.events for one in seen] == [
        (retry, PageDone("a", 3)),
        (),
        (AccountEnded("a"),),
    ]


def test_events_of_another_thread_are_not_lost() -> None:
    seen: list[Progress] = []
    recorder = recorder_of(FakeSource(), seen.append)

    def commit() -> None:
        for number in range(2_000):
            recorder.record(Committed(number, number))

    thread = threading.Thread(target=commit)
    thread.start()
    while thread.is_alive():
        recorder.notify()
    thread.join()
    recorder.notify()
    rows = [one.rows for shot in seen for one in shot.events if isinstance(one, Committed)]
    assert rows == list(range(2_000))


def test_expensive_facts_are_renewed_five_times_a_second_or_while_nothing_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    seen: list[Progress] = []
    source = FakeSource()
    recorder = recorder_of(source, seen.append)
    for _ in range(10):
        recorder.notify()
    assert source.asked == 1
    assert {(one.waits, one.slowest) for one in seen} == {((WAIT,), (ActiveAccount("a", 1, 2.0),))}
    now += 0.25
    recorder.notify()
    assert source.asked == 2
    source.now = SourceStatus(pages_under_way=0)
    recorder.notify()
    recorder.notify()
    assert source.asked == 4


def test_an_observer_that_failed_is_called_no_more_and_costs_no_memory() -> None:
    calls: list[int] = []

    def observer(_: Progress) -> None:
        calls.append(1)
        raise ValueError("the observer's own")

    recorder = recorder_of(FakeSource(), observer)
    with pytest.raises(ValueError, match="own"):
        recorder.notify()
    assert recorder.observer_failed
    recorder.record(AccountEnded("a"))
    recorder.notify()
    assert calls == [1]
    assert not recorder._events


def test_without_an_observer_no_event_is_kept() -> None:
    source = FakeSource()
    recorder = recorder_of(source, None)
    recorder.record(AccountEnded("a"))
    recorder.notify()
    assert not recorder._events
    assert source.asked == 0


async def test_an_export_reports_pages_ends_failures_and_commits(tmp_path: Path) -> None:
    good, bad = sorted(ids(2))
    events: list[object] = []
    is_faulty = True

    def fault(_: web.Request, account: str) -> web.Response | None:
        return refused(404) if is_faulty and account == bad else None

    async def export() -> None:
        events.clear()
        await exported(
            tmp_path,
            emulator.url,
            [good, bad],
            on_progress=lambda progress: events.extend(progress.events),
        )

    async with faulty(EmulatorConfig(records=30, page_size=10), fault) as emulator:
        with pytest.raises(streamlic.AccountsFailed):
            await export()
        failed = events.copy()
        is_faulty = False
        await export()
    assert [one for one in events if isinstance(one, PageDone)] == [PageDone(bad, 10)] * 3
    assert [one for one in events if isinstance(one, AccountEnded)] == [AccountEnded(bad)]
    assert events[-1] == Committed(rows=60, parts=2)
    events = failed
    assert [one for one in events if isinstance(one, PageDone)] == [PageDone(good, 10)] * 3
    ends = {one.account: one.error for one in events if isinstance(one, AccountEnded)}
    assert ends.keys() == {good, bad}
    assert ends[good] is None
    assert isinstance(ends[bad], streamlic.ApiError)
    assert sum(isinstance(one, AccountEnded) for one in events) == 2
