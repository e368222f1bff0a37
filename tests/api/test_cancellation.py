"""Stopping an export from Python: whole pages are kept, and the same call resumes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import EmulatorConfig
from streamlic.storage.local import LocalStore
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN, check_landed, unfinished_rows
from tests.support.server_thread import ended, served, threads_of_ours

SLOW = EmulatorConfig(records=1200, page_size=50, latency_ms=5)


def export(dest: Path, url: str, account: str | list[str] = ACCOUNT, **given: Any) -> Any:
    """Export, with listings as the only requests: tests count them."""
    settings = streamlic.ConnectionSettings(token=TOKEN, base_url=url, rate_limit="none")
    given = {"options": streamlic.JobOptions(account_details=False), **given}
    return streamlic.export(dest, account, connection=settings, **given)


def check_resumes(dest: Path, url: str, *accounts: str) -> None:
    """Check that the same call completes the run: every record is there once."""
    assert verify_dataset(LocalStore(dest)).is_sound
    summary = export(dest, url, list(accounts) or ACCOUNT)
    assert summary.resumed
    assert summary.complete
    check_landed(dest, 1200, accounts=accounts or (ACCOUNT,))


def test_a_cancelled_export_keeps_its_pages_and_resumes(tmp_path: Path) -> None:
    cancel = threading.Event()

    def on_progress(progress: streamlic.Progress) -> None:
        if progress.rows >= 500:
            cancel.set()

    with served(SLOW) as emulator:
        with pytest.raises(streamlic.Cancelled, match="the same call resumes the run") as caught:
            export(tmp_path, emulator.url, on_progress=on_progress, cancel=cancel)
        summary = caught.value.summary
        assert 500 <= summary.rows < 1200
        assert not summary.complete
        assert unfinished_rows(tmp_path) == summary.rows
        assert threads_of_ours() == []
        check_resumes(tmp_path, emulator.url)


def test_of_many_accounts_those_that_are_done_stay_so(tmp_path: Path) -> None:
    cancel = threading.Event()
    accounts = [ACCOUNT, OTHER_ACCOUNT]

    def on_progress(progress: streamlic.Progress) -> None:
        if progress.accounts_done == 1:
            cancel.set()

    with served(SLOW, "stall=600:3000@24") as emulator:
        options = streamlic.JobOptions(concurrency=2, account_details=False)
        with pytest.raises(streamlic.Cancelled, match="with 1 of 2 accounts done") as caught:
            export(tmp_path, emulator.url, accounts, options=options, on_progress=on_progress,
                   cancel=cancel)  # fmt: skip
        assert sorted(one.complete for one in caught.value.summary.accounts) == [False, True]
        check_resumes(tmp_path, emulator.url, *accounts)


def test_a_silent_server_keeps_nobody_waiting_who_cancels(tmp_path: Path) -> None:
    cancel = threading.Event()
    with served(SLOW, "stall=600:3000@4") as emulator:

        def cancel_at_the_fourth() -> None:
            while len(emulator.requests) < 4:
                time.sleep(0.01)
            cancel.set()

        watching = threading.Thread(target=cancel_at_the_fourth)
        watching.start()
        with pytest.raises(streamlic.Cancelled) as caught:
            export(tmp_path, emulator.url, cancel=cancel)
        watching.join()
        assert caught.value.summary.rows == 150
        check_resumes(tmp_path, emulator.url)


def test_what_is_cancelled_already_asks_for_nothing(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with served(SLOW) as emulator:
        with pytest.raises(streamlic.Cancelled, match="after 0 rows of 0 pages"):
            export(tmp_path, emulator.url, cancel=cancel)
        assert len(emulator.requests) == 0
        assert export(tmp_path, emulator.url).rows == 1200


def test_what_is_done_when_it_is_cancelled_is_complete(tmp_path: Path) -> None:
    cancel = threading.Event()

    def on_progress(progress: streamlic.Progress) -> None:
        if progress.accounts_done == 1:
            cancel.set()

    with served(SLOW) as emulator:
        summary = export(tmp_path, emulator.url, on_progress=on_progress, cancel=cancel)
    assert cancel.is_set()
    assert summary.complete


@pytest.mark.parametrize("is_page", [True, False], ids=["at a page", "while nothing comes"])
def test_what_on_progress_raises_ends_it_and_keeps_its_pages(tmp_path: Path, is_page: bool) -> None:
    class Enough(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def on_progress(progress: streamlic.Progress) -> None:
        came_before = (progress.pages, threading.get_ident()) in seen
        seen.append((progress.pages, threading.get_ident()))
        if progress.pages == 3 and came_before is not is_page:
            raise Enough

    with served(SLOW, *([] if is_page else ["stall=600:3000@4"])) as emulator:
        with pytest.raises(Enough):
            export(tmp_path, emulator.url, on_progress=on_progress)
        assert unfinished_rows(tmp_path) == 150
        check_resumes(tmp_path, emulator.url)
    [thread] = {thread for _, thread in seen}
    assert thread != threading.get_ident()


@pytest.mark.parametrize(
    "error",
    [
        streamlic.TransportError("the watcher's own connection failed"),
        streamlic.PageMismatch("the watcher's own pages differ"),
        streamlic.ListingTooLarge("the watcher has had enough"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_on_progress_is_not_a_failure_of_the_page(
    tmp_path: Path, error: streamlic.StreamlicError
) -> None:
    def on_progress(progress: streamlic.Progress) -> None:
        if progress.pages == 3:
            raise error

    with served(SLOW) as emulator:
        with pytest.raises(type(error), match="the watcher"):
            export(tmp_path, emulator.url, on_progress=on_progress)
        assert unfinished_rows(tmp_path) == 150
        check_resumes(tmp_path, emulator.url)
        # The fourth may have been under way when it ended.
        assert len(emulator.requests) <= 25


def test_what_on_progress_raises_at_a_retry_ends_it_too(tmp_path: Path) -> None:
    def on_progress(progress: streamlic.Progress) -> None:
        for event in progress.events:
            if isinstance(event, streamlic.Retry):
                raise event.error

    with served(SLOW, "status=503@4") as emulator:
        with pytest.raises(streamlic.ApiError, match="503"):
            export(tmp_path, emulator.url, on_progress=on_progress)
        assert unfinished_rows(tmp_path) == 150
        check_resumes(tmp_path, emulator.url)


async def test_an_export_runs_where_a_loop_runs(tmp_path: Path) -> None:
    """As in a notebook."""
    with served(EmulatorConfig(records=100)) as emulator:
        assert export(tmp_path, emulator.url).rows == 100
    check_landed(tmp_path, 100)


async def test_its_own_error_comes_out_where_a_loop_runs(tmp_path: Path) -> None:
    with served(SLOW, "status=404@2") as emulator:
        with pytest.raises(streamlic.ApiError, match="404"):
            export(tmp_path, emulator.url)


PLAIN = """
import signal, sys, streamlic
{before}
def run():
    settings = streamlic.ConnectionSettings(rate_limit="none")
    options = streamlic.JobOptions(account_details=False)
    return streamlic.export({dest!r}, {account!r}, connection=settings, options=options)
{call}
"""
IN_A_LOOP = """
import asyncio
async def main():
    run()
    await asyncio.sleep(0)
    print("continued")
asyncio.run(main())
"""
UNTIL_IT_ENDS = """
try:
    run()
finally:  # What Python prints at its end is not the subject, and a signal can cut it off.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
"""
RAISING = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"


@pytest.mark.parametrize(
    ("before", "call", "number", "times"),
    [
        ("", "run()", signal.SIGINT, 1),
        ("", UNTIL_IT_ENDS, signal.SIGINT, 20),
        ("", IN_A_LOOP, signal.SIGINT, 1),
        (RAISING, "run()", signal.SIGTERM, 1),
    ],
    ids=["Ctrl-C", "again and again", "in a loop", "a handler that raises"],
)
def test_a_signal_ends_it_at_once_and_in_order(
    tmp_path: Path, before: str, call: str, number: signal.Signals, times: int
) -> None:
    """The server is silent, so that nothing else would end it for long."""
    script = PLAIN.format(before=before, call=call, dest=str(tmp_path / "out"), account=ACCOUNT)
    with served(SLOW, "stall=600:3000@10") as emulator:
        env = {**os.environ, "TRUTO_API_TOKEN": TOKEN, "TRUTO_API_BASE_URL": emulator.url}
        with subprocess.Popen(
            [sys.executable, "-c", script], env=env, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            while len(emulator.requests) < 10:
                time.sleep(0.01)
            time.sleep(0.2)  # For the pages before it to be taken.
            for _ in range(times):
                if process.poll() is None:
                    process.send_signal(number)
                    time.sleep(0.01)
            code, out, err = ended(process)
        assert out == ""
        if number == signal.SIGINT:
            assert code == -signal.SIGINT
            assert "KeyboardInterrupt" in err
            assert "the same call resumes the run" in err
        else:
            assert (code, err) == (7, "")
        assert unfinished_rows(tmp_path / "out") == 450
        check_resumes(tmp_path / "out", emulator.url)


async def test_a_task_that_is_cancelled_ends_the_export_that_it_awaits(tmp_path: Path) -> None:
    """In a thread, as a server has it done: the event is what reaches it there."""
    cancel = threading.Event()
    with served(SLOW, "stall=600:3000@4") as emulator:
        work = asyncio.to_thread(export, tmp_path, emulator.url, cancel=cancel)
        task = asyncio.create_task(work)
        while len(emulator.requests) < 4:  # noqa: ASYNC110  # they come in another thread
            await asyncio.sleep(0.01)
        cancel.set()
        with pytest.raises(streamlic.Cancelled):
            await task
        await asyncio.to_thread(check_resumes, tmp_path, emulator.url)
