"""Many accounts in one run: each with its own failures, limits and turns, in shared part files."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from aiohttp import web

import streamlic
from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.records import ResumePoint
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import (
    Emulator,
    EmulatorConfig,
    emulated_accounts,
    running_emulator,
)
from streamlic.job.export import export_async
from streamlic.job.scheduler import Bounds, ScheduledAccount, Scheduler, scheduled
from streamlic.storage.local import LocalStore
from streamlic.truto.client import Connection
from streamlic.truto.rate_limit import Permit, RateLimit
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings
from tests.support.cli import (
    TOKEN,
    check_accounts,
    check_landed,
    run_cli,
    start_cli,
    unfinished_rows,
)

Fault = Callable[[web.Request, str], web.StreamResponse | None]


@asynccontextmanager
async def faulty(config: EmulatorConfig, fault: Fault) -> AsyncIterator[Emulator]:
    """Run an emulator that gives ``fault``'s answer to a request where there is one."""
    emulator = Emulator(config)

    async def answer(request: web.Request) -> web.StreamResponse:
        wrong = fault(request, request.query.get("integrated_account_id", ""))
        return await emulator.answer(request) if wrong is None else wrong

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        emulator.url = f"http://{host}:{port}"
        yield emulator
    finally:
        await runner.cleanup()


def refused(status: int, **body: Any) -> web.Response:
    return web.json_response({"statusCode": status, "error": "Error", **body}, status=status)


def ids(count: int, **given: Any) -> list[str]:
    return list(emulated_accounts(count, **given))


async def exported(
    dest: Path,
    url: str,
    accounts: Iterable[str],
    *,
    rate_limit: RateLimit | None = None,
    on_progress: Any = None,
    response_format: str = "stream",
    cancel: Any = None,
    **options: Any,
) -> streamlic.Summary:
    connection = Connection(
        ConnectionSettings(
            token=streamlic.TokenSource.from_value(TOKEN),
            base_url=url,
            rate_limit=rate_limit,
            retry=RetryPolicy(retry_for_seconds=0, backoff_seconds=0.01),
        )
    )
    requests = [
        streamlic.LicensesRequest(account=account, response_format=response_format)
        for account in accounts
    ]
    given = streamlic.JobOptions(account_details=False, **options)
    return await export_async(str(dest), requests, connection, given, on_progress, cancel=cancel)


async def test_small_accounts_share_one_part_file_and_one_commit(tmp_path: Path) -> None:
    accounts = ids(100)
    async with faulty(EmulatorConfig(records=20), lambda *_: None) as emulator:
        summary = await exported(tmp_path, emulator.url, accounts)
    assert summary.parts == 1
    check_landed(tmp_path, 20, accounts=tuple(accounts))
    [run] = load_runs(LocalStore(tmp_path))
    assert run.commits == 1
    table = ds.dataset(tmp_path / "licenses").to_table(columns=["integrated_account_id"])
    column = table["integrated_account_id"].to_pylist()
    changes = sum(one != other for one, other in itertools.pairwise(column))
    assert changes == 99, "an account's rows lie together"


async def test_a_failure_is_its_accounts_own_and_the_next_run_does_what_is_left(
    tmp_path: Path,
) -> None:
    """One is blocked, one needs its owner, one is gone, one's second page is always cut."""
    accounts = sorted(ids(20))
    blocked, unhealthy, gone, cut = accounts[3], accounts[7], accounts[11], accounts[19]
    is_mended = False
    times: Counter[str] = Counter()

    def fault(request: web.Request, account: str) -> web.Response | None:
        times[account] += 1
        if is_mended:
            return None
        if account == blocked:
            return refused(503, message="Account is blocked")
        if account == unhealthy:
            return refused(401, truto_is_remote_error=True, message="")
        if account == gone:
            return refused(404, message="not found")
        if account == cut and request.query.get("next_cursor"):
            return web.Response(body=b'{"result":[{"id":"x"}', content_type="application/json")
        return None

    async with faulty(EmulatorConfig(records=50, page_size=20), fault) as emulator:
        with pytest.raises(streamlic.AccountsFailed) as caught:
            await exported(tmp_path, emulator.url, accounts)
        summary = caught.value.summary
        assert times[blocked] == times[unhealthy] == times[gone] == 1, "not retried"
        assert times[cut] == 1 + 4, "its second page was asked for four times"
        errors = {one.account: one.error for one in summary.accounts if one.error}
        assert {
            account: error and (error.kind, error.retryable) for account, error in errors.items()
        } == {
            blocked: ("AccountBlocked", False),
            unhealthy: ("AccountNeedsReauth", False),
            gone: ("ApiError", False),
            cut: ("TruncatedBody", True),
        }
        assert [one.account for one in summary.failed] == [blocked, unhealthy, gone, cut]
        assert [one.retryable for one in summary.failed] == [False, False, False, True]
        assert all(one.kind in str(errors[one.account]) for one in summary.failed)
        assert not summary.complete
        assert caught.value.exit_code == 1, "a retry can help one of them"
        assert sum(one.complete for one in summary.accounts) == 16
        assert unfinished_rows(tmp_path) == 16 * 50 + 20
        assert verify_dataset(LocalStore(tmp_path)).is_sound
        assert "unfinished" in verify_dataset(LocalStore(tmp_path)).notes[0]
        is_mended = True
        times.clear()
        ended = await exported(tmp_path, emulator.url, reversed(accounts))
    assert ended.complete
    assert ended.resumed
    assert times == {blocked: 3, unhealthy: 3, gone: 3, cut: 2}
    check_landed(tmp_path, 50, accounts=tuple(accounts))


async def test_a_run_can_be_ended_without_those_that_failed(tmp_path: Path) -> None:
    first, second, third = ids(3)

    def fault(_: web.Request, account: str) -> web.Response | None:
        return refused(503, message="Account is blocked") if account == second else None

    args = ["export", str(tmp_path), "--json", "--quiet", "--rate-limit", "none"]
    for account in (first, second, third):
        args += ["--account", account]
    async with faulty(EmulatorConfig(records=10), fault) as emulator:
        args += ["--base-url", emulator.url]
        left = await run_cli(*args)
        inspected = await run_cli("inspect", str(tmp_path), "--json")
        ended = await run_cli(*args, "--skip-failed")
        overwriting = await run_cli(*args, "--skip-failed", "--mode", "overwrite")
    assert left.code == ended.code == overwriting.code == 6, "no retry can help what failed"
    assert left.summary["complete"] is False
    assert inspected.summary["runs"][0]["accounts_done"] == 2
    assert "--skip-failed" in left.err
    assert left.err.count("\n") == 1
    assert ended.summary["complete"] is True
    assert overwriting.summary["rows"] == 20
    assert [one["account"] for one in overwriting.summary["failed"]] == [second]
    assert overwriting.summary["carried_over"] == [], "it never had rows"
    check_landed(tmp_path, 10, accounts=(first, third))
    assert (await run_cli("verify", str(tmp_path))).code == 0
    text = await run_cli("inspect", str(tmp_path))
    assert "1 account failed" in " ".join(text.out.split())


@pytest.mark.parametrize("failing", [1, 3], ids=["one", "all"])
async def test_an_outage_overwrites_nothing_though_failures_may_be_left_out(
    tmp_path: Path, failing: int
) -> None:
    """An account that cannot be had now may be had tomorrow, and yesterday's rows are there."""
    accounts = ids(3)

    def fault(_: web.Request, account: str) -> web.Response | None:
        return refused(502) if account in accounts[:failing] else None

    async with running_emulator(EmulatorConfig(records=10)) as emulator:
        await exported(tmp_path, emulator.url, accounts)
    nightly: dict[str, Any] = {"mode": "overwrite", "skip_failed": True}
    async with faulty(EmulatorConfig(records=10, seed=8), fault) as emulator:
        with pytest.raises(streamlic.AccountsFailed, match=r"again to retry them$") as failed:
            await exported(tmp_path, emulator.url, accounts, **nightly)
    assert failed.value.summary.complete is False
    check_landed(tmp_path, 10, accounts=tuple(accounts))
    async with running_emulator(EmulatorConfig(records=10, seed=8)) as emulator:
        assert (await exported(tmp_path, emulator.url, accounts, **nightly)).resumed
    check_landed(tmp_path, 10, seed=8, accounts=tuple(accounts))


async def test_accounts_that_failed_hold_nothing_of_their_pages() -> None:
    """Thousands may fail: an error's frames would keep its page's body, and its decoder."""
    connection = Connection(
        ConnectionSettings(
            token=streamlic.TokenSource.from_value(TOKEN),
            base_url="http://127.0.0.1:9",
            retry=RetryPolicy(retry_for_seconds=0, backoff_seconds=0),
        )
    )

    async def fails(account: ScheduledAccount, _: Permit) -> None:
        try:
            raise OSError(account.account)
        except OSError as error:
            raise streamlic.TransportError("gone") from error

    requests = [streamlic.LicensesRequest(account=account) for account in ids(3)]
    scheduler = Scheduler(connection, fails, Bounds(2, 1), lambda _: None)
    points = ((request, ResumePoint()) for request in requests)
    await scheduler.run(scheduled(points, connection.policy))
    assert len(scheduler.failed) == 3
    for error in scheduler.failed.values():
        assert error.__traceback__ is None
        assert error.__cause__ is not None
        assert error.__cause__.__traceback__ is None


async def test_a_huge_page_keeps_no_small_ones_from_being_committed(tmp_path: Path) -> None:
    """``commit_seconds`` is a promise of its own: no page may end for long."""
    small, huge = ids(2)
    is_over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["integrated_account_id"] == small:
            return web.json_response({"result": [{"id": "a"}], "next_cursor": None})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"result":[' + b'{"id":"b"},' * 40_000)
        await is_over.wait()
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    running = asyncio.create_task(
        exported(
            tmp_path, f"http://{host}:{port}", [small, huge], commit_seconds=0.1, publish="commits"
        )
    )
    try:
        async with asyncio.timeout(60):
            while not list(tmp_path.glob("licenses/*.parquet")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert ds.dataset(tmp_path / "licenses").to_table()["id"].to_pylist() == ["a"]
    finally:
        running.cancel()
        is_over.set()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await runner.cleanup()


async def test_a_token_that_is_refused_ends_the_run_for_all(tmp_path: Path) -> None:
    accounts = sorted(ids(200))
    times: Counter[str] = Counter()

    def fault(_: web.Request, account: str) -> web.Response | None:
        times[account] += 1
        return refused(401, message="Invalid API token") if account == accounts[20] else None

    async with faulty(EmulatorConfig(records=10, latency_ms=20), fault) as emulator:
        with pytest.raises(streamlic.AuthenticationError):
            await exported(tmp_path, emulator.url, accounts, concurrency=10)
        assert len(times) < 60
        summary = await exported_after_mending(tmp_path, emulator, accounts)
    assert summary.rows == 2000


async def exported_after_mending(
    dest: Path, emulator: Emulator, accounts: list[str]
) -> streamlic.Summary:
    """Resume with an emulator of the same records, without its faults."""
    async with faulty(emulator.config, lambda *_: None) as sound:
        return await exported(dest, sound.url, accounts)


async def test_small_accounts_do_not_wait_for_a_huge_one(tmp_path: Path) -> None:
    """The huge one comes first and is large besides; when the small ones end it is far from it."""
    huge, *small = sorted(ids(40))
    config = EmulatorConfig(accounts={huge: 6_000, **dict.fromkeys(small, 20)}, page_size=300)
    done_at: list[int] = []
    huge_pages = 0

    def fault(_: web.Request, account: str) -> None:
        nonlocal huge_pages
        huge_pages += account == huge
        done_at.append(huge_pages)

    async with faulty(config, fault) as emulator:
        summary = await exported(tmp_path, emulator.url, [huge, *small], concurrency=2)
        order = [one.value("integrated_account_id") for one in emulator.requests]
    assert summary.rows == 6_000 + 39 * 20
    last_small = max(at for at, account in enumerate(order) if account != huge)
    assert order[: last_small + 1].count(huge) < 20
    check_accounts(tmp_path, {huge: 6_000, **dict.fromkeys(small, 20)})


async def test_who_waits_for_a_retry_keeps_nobody_out(tmp_path: Path) -> None:
    """With one page at a time: while vendors say to wait, the others pass."""
    accounts = sorted(ids(10))
    slow = set(accounts[:5])
    seen: list[str] = []
    times: list[float] = []

    def fault(_: web.Request, account: str) -> web.Response | None:
        seen.append(account)
        times.append(asyncio.get_running_loop().time())
        if account in slow:
            slow.discard(account)
            answer = refused(429, truto_is_remote_error=True)
            answer.headers["Retry-After"] = "1"
            return answer
        return None

    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        summary = await exported(tmp_path, emulator.url, accounts, concurrency=1)
    assert seen[:10] == accounts
    assert sorted(seen[10:]) == accounts[:5]
    assert times[-1] - times[0] < 4, "five waits of a second passed together"
    assert summary.retries == 5


@pytest.mark.parametrize("tier", ["token", "account"])
async def test_a_429_pauses_whom_it_concerns(tmp_path: Path, tier: str) -> None:
    accounts = sorted(ids(6))
    first = accounts[0]
    seen: list[tuple[str, float]] = []
    limit = {"token": "500;w=10", "account": "50;w=10"}[tier]

    def fault(_: web.Request, account: str) -> web.Response | None:
        seen.append((account, asyncio.get_running_loop().time()))
        if len(seen) == 1:
            answer = refused(429)
            answer.headers.update(
                {"Retry-After": "1", "RateLimit-Limit": limit, "RateLimit-Remaining": "0"}
            )
            return answer
        return None

    async with faulty(EmulatorConfig(records=5), fault) as emulator:
        await exported(
            tmp_path, emulator.url, accounts, concurrency=1, rate_limit=RateLimit(50, 10)
        )
    others = [at for account, at in seen if account != first]
    again = [at for account, at in seen if account == first][1]
    refused_at = seen[0][1]
    assert again - refused_at >= 1
    assert (min(others) - refused_at >= 1) == (tier == "token")


async def test_both_limits_hold_with_many_accounts(tmp_path: Path) -> None:
    """560 pages: more than the token's window, and one account with more than its own."""
    huge, *small = sorted(ids(506))
    accounts = {huge: 55, **dict.fromkeys(small, 1)}
    config = EmulatorConfig(accounts=accounts, page_size=1, rate_limits=True, window_seconds=4,
                            latency_ms=5)  # fmt: skip
    loop = asyncio.get_running_loop()
    async with faulty(config, lambda *_: None) as emulator:
        started = loop.time()
        summary = await exported(tmp_path, emulator.url, accounts, rate_limit=RateLimit(50, 4))
        took = loop.time() - started
    assert summary.retries == 0, "no 429 was met"
    assert summary.rows == 55 + 505
    assert took >= 4


async def test_what_the_bounds_say_is_kept(tmp_path: Path) -> None:
    """Never more pages under way than --concurrency says, and never two of an account."""
    accounts = sorted(ids(40))
    under_way: Counter[str] = Counter()
    most = 0

    class Counting(Emulator):
        async def answer(self, request: web.Request) -> web.StreamResponse:
            nonlocal most
            account = request.query["integrated_account_id"]
            under_way[account] += 1
            assert under_way[account] == 1
            most = max(most, under_way.total())
            try:
                return await super().answer(request)
            finally:
                under_way[account] -= 1

    config = EmulatorConfig(records=30, page_size=10, latency_ms=5)
    emulator = Counting(config)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", emulator.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    await exported(tmp_path, f"http://{host}:{port}", accounts, concurrency=7)
    await runner.cleanup()
    assert 2 <= most <= 8, "an answer that was sent may not be counted as ended yet"


async def test_progress_tells_of_all_accounts(tmp_path: Path) -> None:
    accounts = sorted(ids(12))

    def fault(_: web.Request, account: str) -> web.Response | None:
        return refused(404) if account == accounts[5] else None

    seen: list[tuple[int, int, int]] = []
    slowest: list[str] = []

    def watch(progress: streamlic.Progress) -> None:
        seen.append((progress.accounts, progress.accounts_done, progress.accounts_failed))
        slowest.extend(one.account for one in progress.slowest)

    async with faulty(EmulatorConfig(records=30, page_size=10, latency_ms=100), fault) as emulator:
        with pytest.raises(streamlic.AccountsFailed):
            await exported(tmp_path, emulator.url, accounts, on_progress=watch)
    assert seen[-1] == (12, 11, 1)
    assert set(slowest) <= set(accounts)
    assert slowest


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
async def test_random_faults_and_kills_lose_and_double_nothing(tmp_path: Path, kills: int) -> None:
    """Pages are cut, refused and limited at random, accounts fail, and the process is killed."""
    rng = random.Random(kills)
    known = emulated_accounts(60, records=30, sizes="power-law")
    sizes = {account.id: min(account.records, 1500) for account in known.values()}
    dest = tmp_path / "out"
    file = tmp_path / "accounts"
    file.write_text("\n".join(sizes))
    is_faulty = True

    def fault(_: web.Request, account: str) -> web.Response | None:
        if not is_faulty or rng.random() > 0.1:
            return None
        limited = refused(429, truto_is_remote_error=True)
        limited.headers["Retry-After"] = "0"
        cut = web.Response(body=b'{"result":[{"id":"x"},', content_type="application/json")
        return rng.choice([refused(502), refused(404), limited, cut, refused(503)])

    args = ["export", str(dest), "--accounts-file", str(file), "--rate-limit", "none", "--json",
            "--quiet", "--commit-seconds", "0.02", "--part-bytes", "64KiB"]  # fmt: skip
    async with faulty(EmulatorConfig(accounts=sizes, latency_ms=2), fault) as emulator:
        args += ["--base-url", emulator.url]
        for _ in range(kills):
            process = await start_cli(*args)
            before = len(emulator.requests)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while len(emulator.requests) < before + rng.randrange(2, 200):
                        if process.returncode is not None:
                            break
                        await asyncio.sleep(0.005)
            if process.returncode is None:
                process.kill()
            await process.communicate()
            if process.returncode == 0:  # It was done before its turn to die.
                break
        else:
            is_faulty = False
            ended = await run_cli(*args)
            assert ended.code == 0, ended.err
            assert ended.summary["rows"] == sum(sizes.values())
    check_accounts(dest, sizes)
    assert (await run_cli("verify", str(dest))).code == 0
