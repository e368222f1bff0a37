"""The whole way over real HTTP: what is asked, what lands, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import streamlic
from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.writer import DatasetWriter
from streamlic.emulator import Emulator, EmulatorConfig, parse_fault, running_emulator
from streamlic.emulator.records import license_json
from streamlic.errors import StoreError
from streamlic.job.export import export_async
from streamlic.job.pipeline.pipeline import Pipeline
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.truto.client import Connection
from streamlic.truto.settings import ConnectionSettings
from tests.support.cli import (
    ACCOUNT,
    OTHER_ACCOUNT,
    TOKEN,
    asked,
    check_landed,
    export_args,
    files_of,
    landed,
    run_cli,
    run_process,
    start_cli,
    unfinished_rows,
    without_run,
)


@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_every_record_lands_once_with_its_values(tmp_path: Path, engine: str) -> None:
    dest = tmp_path / "out"
    async with running_emulator(EmulatorConfig(records=5000, token=TOKEN)) as emulator:
        args = export_args(dest, emulator.url, "--limit", "700", "--engine", engine)
        ended = await run_cli(*args)
    assert ended.code == 0, ended.err
    check_landed(dest, 5000)
    summary = ended.summary
    assert summary["complete"] is True
    assert (summary["rows"], summary["pages"], summary["retries"]) == (5000, 8, 0)
    assert summary["engine"] == engine
    assert summary["rescued"] > 0
    assert summary["accounts"] == [
        {
            "account": ACCOUNT,
            "rows": 5000,
            "rescued": summary["rescued"],
            "pages": 8,
            "partial_response": False,
            "complete": True,
            "error": None,
        }
    ]
    assert (await run_cli("verify", str(dest))).code == 0


async def test_one_body_lands_what_pages_land(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=3000)) as emulator:
        for name, more in [("pages", ["--limit", "100"]), ("one", ["--ignore-limit"])]:
            ended = await run_cli(*export_args(tmp_path / name, emulator.url, *more))
            assert ended.code == 0
            check_landed(tmp_path / name, 3000)
    assert json.loads(ended.out)["pages"] == 1


async def test_accounts_land_in_the_same_dataset_and_are_a_column(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=150)) as emulator:
        args = export_args(tmp_path, emulator.url, "--account", ACCOUNT, "--account", OTHER_ACCOUNT)
        ended = await run_cli(*args)
    assert [one["rows"] for one in ended.summary["accounts"]] == [150, 150]
    check_landed(tmp_path, 150, accounts=(ACCOUNT, OTHER_ACCOUNT))
    assert ended.summary["parts"] == 1


async def test_compressed_bodies_land_the_same(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=2000, compress=True)) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url, "--ignore-limit"))
    check_landed(tmp_path, 2000)
    assert ended.summary["bytes_received"] < 600_000


@pytest.mark.parametrize(
    ("more", "pair", "integration"),
    [
        (["--response-format", "unified"], ("truto_response_format", "unified"), "generic"),
        (["--response-format", "normalized"], ("truto_response_format", "normalized"), "generic"),
        ([], ("truto_response_format", "stream"), "generic"),
        (["--limit", "7"], ("limit", "7"), "generic"),
        (["--ignore-limit"], ("truto_ignore_limit", "true"), "generic"),
        (["--key-by", "id"], ("truto_key_by", "id"), "generic"),
        (["--product", "onedrive"], ("product", "onedrive"), "microsoft365"),
        (["--organization-id", "acme"], ("organization_id", "acme"), "github"),
        (["--exclude-field", "name"], ("truto_exclude_fields[]", "name"), "generic"),
        (["--ignore-remote-data"], ("truto_ignore_remote_data", "true"), "generic"),
        (["--remote-query", "first=30"], ("remote_query[first]", "30"), "generic"),
        (["--query", "updated_at[lt]=2026-01-01"], ("updated_at[lt]", "2026-01-01"), "generic"),
    ],
)
async def test_every_parameter_is_sent_and_changes_the_answer(
    tmp_path: Path, more: list[str], pair: tuple[str, str], integration: str
) -> None:
    config = EmulatorConfig(records=50, page_size=20, integration=integration)
    async with running_emulator(config) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url, *more))
        requests = list(emulator.requests)
    assert ended.code == 0, ended.err
    assert all(pair in one.query for one in requests)
    assert all(("integrated_account_id", ACCOUNT) in one.query for one in requests)
    rows = landed(tmp_path)
    option = more[0] if more else ""
    pages = {"--limit": 8, "--ignore-limit": 1, "--remote-query": 2, "--query": 1}.get(option, 3)
    assert len(requests) == pages
    assert [one.value("next_cursor") is None for one in requests] == [True] + [False] * (pages - 1)
    updated = sum("updated_at" in json.loads(license_json(7, ACCOUNT, i)) for i in range(50))
    assert len(rows) == {"--remote-query": 30, "--query": updated}.get(option, 50)
    remote = [json.loads(row["remote_data"]) if row["remote_data"] else {} for row in rows]
    assert all(one.get("product") == "onedrive" for one in remote) == (option == "--product")
    assert all(one.get("organization") == "acme" for one in remote) == (
        option == "--organization-id"
    )
    assert any(row["name"] for row in rows) == (option != "--exclude-field")
    assert any(remote) == (option != "--ignore-remote-data")


async def test_raw_bodies_land_whole(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=40)) as emulator:
        raw = ["--response-format", "raw", "--rows-at", "value"]
        ended = await run_cli(*export_args(tmp_path / "a", emulator.url, *raw, "--ignore-limit"))
        rows = landed(tmp_path / "a", None)
        cut = await run_cli(*export_args(tmp_path / "b", emulator.url, *raw, "--limit", "10"))
        without = await run_cli(
            *export_args(tmp_path / "c", emulator.url, "--response-format", "raw")
        )
    assert ended.code == 0
    assert list(rows[0]) == [
        *("integrated_account_id", "integration", "tenant_id", "key", "record"),
        *("_exported_at", "_run"),
    ]
    truth = [json.loads(license_json(7, ACCOUNT, i))["remote_data"] for i in range(40)]
    assert [json.loads(row["record"]) for row in rows] == truth
    assert cut.code == 3, "a vendor's next link cannot be followed, and is reported as partial"
    assert without.code == 5
    assert "@odata.context, value" in without.err
    assert "--rows-at" in without.err


async def test_an_account_without_licenses_lands_one_empty_file(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=0)) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url))
    assert ended.summary["parts"] == 1
    assert landed(tmp_path) == []
    assert (await run_cli("verify", str(tmp_path))).code == 0


async def test_a_partial_response_lands_and_is_reported(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=10, is_partial=True)) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url))
    assert ended.code == 3
    assert ended.summary["partial_response"] is True
    assert len(landed(tmp_path)) == 10
    inspected = await run_cli("inspect", str(tmp_path), "--json")
    assert inspected.summary["runs"][0]["partial_response"] is True


async def test_both_rate_limits_are_kept_without_meeting_a_429(tmp_path: Path) -> None:
    config = EmulatorConfig(records=53, page_size=1, rate_limits=True, window_seconds=1)
    async with running_emulator(config) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url, "--rate-limit", "50/1s"))
        assert len(emulator.requests) == 53
    assert ended.code == 0
    assert ended.summary["retries"] == 0


async def test_a_429_is_waited_out(tmp_path: Path) -> None:
    answers = [(429, {"Retry-After": "1"}), (503, {}), (200, {})]
    async with answering(answers) as url:
        ended = await run_cli(*export_args(tmp_path, url), STREAMLIC_RETRY_FOR="600")
    assert ended.code == 0
    assert ended.summary["retries"] == 2


class answering:  # noqa: N801  (it is used like a function)
    """Answer each request with the next (status, headers or body)."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers
        self.count = 0

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        address = self._runner.addresses[0]
        return f"http://{address[0]}:{address[1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        status, given = self._answers[min(self.count, len(self._answers) - 1)]
        self.count += 1
        if isinstance(given, bytes):
            return web.Response(status=status, body=given, content_type="application/json")
        body = b'{"result":[{"id":"x"}]}' if status == 200 else b'{"message":"try later"}'
        return web.Response(
            status=status, body=body, headers=given, content_type="application/json"
        )


def page(ids: str, cursor: str | None, **facts: Any) -> tuple[int, bytes]:
    body = {"result": [{"id": one} for one in ids], "next_cursor": cursor, **facts}
    return 200, json.dumps(body).encode()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([page("a", "1"), page("b", "1")], "the same cursor twice"),
        ([page("a", "1"), page("b", "2"), page("c", "1")], "the same cursor twice"),
        (
            [page("ab", None, result_count=3)],
            "expected 3 rows, as the page's result_count says, got 2",
        ),
    ],
)
async def test_a_server_that_contradicts_itself_is_caught(
    tmp_path: Path, answers: list[Any], says: str
) -> None:
    async with answering(answers) as url:
        ended = await run_cli(*export_args(tmp_path, url, "--publish", "commits"))
    assert ended.code == 5
    assert says in ended.err
    ids = (
        [row["id"] for row in landed(tmp_path)] if list(tmp_path.glob("licenses/*.parquet")) else []
    )
    assert ids == sorted(set(ids)), "no row of the doubtful page is there"


async def test_a_page_is_asked_for_again_when_its_count_was_wrong_once(tmp_path: Path) -> None:
    async with answering(
        [page("ab", None, result_count=3), page("abc", None, result_count=3)]
    ) as url:
        ended = await run_cli(*export_args(tmp_path, url))
    assert ended.code == 0
    assert [row["id"] for row in landed(tmp_path)] == ["a", "b", "c"]


GONE = b'{"statusCode":404,"error":"Not Found","message":"gone"}'
ERRORS: list[tuple[int, dict[str, Any], int, list[str]]] = [
    (
        400,
        {
            "message": "organization_id is required",
            "truto_error_insight": {
                "missing_required_query_parameters": {"value": ["organization_id"]}
            },
        },
        6,
        ["400 Bad Request", "missing organization_id (--organization-id)"],
    ),
    (401, {"message": "bad"}, 4, ["token is wrong or expired", "--token-file"]),
    (401, {"truto_is_remote_error": True, "message": ""}, 4, ["must connect the account again"]),
    (
        403,
        {
            "message": "no",
            "truto_error_insight": {"forbidden_error": {"value": {"missing_scopes": ["a.read"]}}},
        },
        6,
        ["403 Forbidden", 'missing scopes: ["a.read"]'],
    ),
    (404, {"message": "gone"}, 6, ["unknown, or not visible to this token"]),
    (
        409,
        {"truto_is_remote_error": True, "message": "x"},
        6,
        ["remote provider returned this error"],
    ),
    (422, {"truto_is_remote_error": True, "raw_response": {}}, 6, ["422"]),
    (503, {"message": "Account is blocked"}, 4, ["the account is blocked in Truto"]),
    (400, {"message": f"line\none {TOKEN}\x1b[31m" + "x" * 900}, 6, ["line one ***"]),
]


@pytest.mark.parametrize(("status", "body", "code", "says"), ERRORS)
async def test_each_error_envelope_ends_in_one_line_and_its_exit_code(
    tmp_path: Path, status: int, body: dict[str, Any], code: int, says: list[str]
) -> None:
    dest = tmp_path / "out"
    envelope = {"statusCode": status, "error": "Error", **body}
    async with answering([(status, json.dumps(envelope).encode())]) as url:
        ended = await run_cli(*export_args(dest, url))
    assert ended.code == code
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err
    for text in says:
        assert text in ended.err
    assert not list(dest.glob("licenses/*.parquet"))


WRONG_USES: list[tuple[list[str], str]] = [
    (["--account", "nonsense"], "must be a UUID"),
    (["--account", ACCOUNT, "--account", ACCOUNT], "given twice"),
    (["--limit", "0"], "1 or more"),
    (["--limit", "many"], "--limit"),
    (["--concurrency", "0"], "expected 1 to 500, got 0 (--concurrency)"),
    (["--commit-seconds", "nan"], "'--commit-seconds': expected a number, got 'nan'"),
    (["--commit-seconds", "-1"], "--commit-seconds"),
    (["--max-depth", "4"], "'--max-depth': 4 is not in the range 5<=x<=512"),
    (["--max-pages", "0"], "--max-pages"),
    (["--max-records", "-1"], "--max-records"),
    (["--max-body-bytes", "100"], "'--max-body-bytes': expected at least 1KiB, got 100 bytes"),
    (["--product", "teams"], "teams"),
    (["--response-format", "csv"], "csv"),
    (["--key-by", "name", "--exclude-field", "name"], "which is excluded"),
    (["--query", "limit=1"], "limit has a parameter of its own"),
    (["--query", "nonsense"], "expected KEY=VALUE"),
    (["--remote-query", "a["], "--remote-query"),
    (["--rate-limit", "fast"], "50/10s"),
    (["--memory", "1MiB"], "at least 128MiB"),
    (["--memory", "much"], "a size such as 256MiB"),
    (["--part-bytes", "10"], "'--part-bytes': expected at least 16KiB, got 10 bytes"),
    (["--part-bytes", "1"], "'--part-bytes': expected at least 16KiB, got 1 byte\n"),
    (["--rows-at", "a..b"], "--rows-at"),
    (["--max-record-bytes", "1"], "'--max-record-bytes': expected at least 1KiB, got 1 byte\n"),
    (["--max-record-bytes", "2GiB"], "expected at most 1GiB, got 2,147,483,648 bytes"),
    (["--exclude-field", "bogus"], "a license has no field 'bogus': expected id, name, "),
    (["--exclude-field", "Statuss.x"], "no field 'Statuss' (did you mean status?): expected id"),
    (["--key-by", "sku"], "a license has no field 'sku': expected id, name, "),
    (["--base-url", "http://example.com"], "--allow-http"),
    (["--base-url", "nonsense"], "--base-url"),
    (["--base-url", "https://a..b"], "--base-url"),
    (["--base-url", "https://user:pass@example.com"], "--base-url"),
    (["--token-file", "/nonexistent"], "--token-file"),
    (["--organization-id", "a\udcff"], "--organization-id"),
    (["--remote-query", "a=\udcff"], "--remote-query"),
    (["--query", "a\udcff=1"], "--query"),
    (["--exclude-field", "a\udcff"], "--exclude-field"),
    (["--nonsense"], "--nonsense"),
]


async def test_an_engine_that_was_not_built_is_refused_and_auto_does_without(
    tmp_path: Path,
) -> None:
    async with running_emulator(EmulatorConfig(records=20)) as emulator:
        args = export_args(tmp_path / "out", emulator.url)
        ended = await run_process(*args, "--engine", "fast", STREAMLIC_NO_FAST="1")
        assert ended.code == 2
        assert "not part of this installation" in ended.err
        assert not (tmp_path / "out").exists()
        ended = await run_process(*args, STREAMLIC_NO_FAST="1")
    assert ended.summary["engine"] == "reference"


@pytest.mark.parametrize(("more", "says"), WRONG_USES, ids=lambda value: " ".join(value)[:40])
async def test_each_wrong_use_ends_in_2_and_touches_nothing(
    tmp_path: Path, more: list[str], says: str
) -> None:
    dest = tmp_path / "out"
    ended = await run_cli(*export_args(dest, "http://127.0.0.1:9", *more))
    assert ended.code == 2
    assert says in ended.err
    assert ended.out == ""
    assert not dest.exists()
    named = re.findall(r"--[a-z][a-z-]*", ended.err.splitlines()[-1])
    assert len(named) == len(set(named)), "an option is named twice"


async def test_without_a_token_the_message_says_where_it_comes_from(tmp_path: Path) -> None:
    ended = await run_cli(*export_args(tmp_path / "out", "http://127.0.0.1:9"), TRUTO_API_TOKEN="")
    assert ended.code == 2
    assert "set TRUTO_API_TOKEN or give a token file (--token-file)" in ended.err


async def test_modes_decide_what_happens_to_a_finished_dataset(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=30)) as emulator:
        args = export_args(tmp_path, emulator.url)
        assert (await run_cli(*args)).code == 0
        refused = await run_cli(*args)
        assert refused.code == 2
        assert "--mode append" in refused.err
        assert "--mode overwrite" in refused.err
        assert len(landed(tmp_path)) == 30
        assert (await run_cli(*args, "--mode", "append")).code == 0
        assert len(landed(tmp_path)) == 60
        assert (await run_cli(*args, "--mode", "overwrite")).code == 0
        check_landed(tmp_path, 30)
    assert (await run_cli("verify", str(tmp_path))).code == 0
    names = files_of(tmp_path)
    parts = Counter(name.partition("/")[0] for name in names if name.endswith(".parquet"))
    assert parts == {"licenses": 1, "accounts": 3, "runs": 3}
    assert len(load_runs(LocalStore(tmp_path))) == 3


async def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b")
    async with running_emulator(EmulatorConfig(records=3)) as emulator:
        ended = await run_cli(*export_args(tmp_path, emulator.url))
    assert ended.code == 2
    assert "mine.csv" in ended.err


async def test_an_unfinished_run_of_another_request_is_refused(tmp_path: Path) -> None:
    answers = [page("a", "1"), (404, GONE)]
    async with answering(answers) as url:
        failed = await run_cli(*export_args(tmp_path, url))
        assert failed.code == 6
    assert unfinished_rows(tmp_path) == 1, "the whole page is kept"
    async with answering([page("z", None)]) as url:
        refused = await run_cli(*export_args(tmp_path, url, "--limit", "5"))
        assert refused.code == 2
        assert "limit was None, now is 5" in refused.err
        assert "--restart" in refused.err
        restarted = await run_cli(*export_args(tmp_path, url, "--limit", "5", "--restart"))
        assert restarted.code == 0
    assert [row["id"] for row in landed(tmp_path)] == ["z"]
    assert (await run_cli("verify", str(tmp_path))).code == 0


async def test_a_run_that_came_to_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    source, dest = tmp_path / "body", tmp_path / "out"
    source.write_bytes(b'{"id":"a"}\n{"id":"b"}\n')
    args = ["convert", str(source), str(dest), "--quiet"]
    assert (await run_cli(*args)).code == 5
    assert (await run_cli(*args, "--lines")).code == 0
    assert [row["id"] for row in landed(dest)] == ["a", "b"]
    assert (await run_cli("verify", str(dest))).code == 0


async def test_a_failed_run_is_resumed(tmp_path: Path) -> None:
    async with answering([page("a", "1"), page("b", "2"), (404, GONE)]) as url:
        assert (await run_cli(*export_args(tmp_path, url))).code == 6
    async with answering([page("c", None)]) as url:
        ended = await run_cli(*export_args(tmp_path, url))
    assert ended.code == 0
    assert ended.summary["resumed"] is True
    assert (ended.summary["rows"], ended.summary["pages"]) == (3, 3)
    assert [row["id"] for row in landed(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_an_interrupted_run_keeps_its_pages_and_resumes(
    tmp_path: Path, number: int, code: int
) -> None:
    config = EmulatorConfig(records=1000, page_size=50, latency_ms=20)
    async with running_emulator(config) as emulator:
        args = export_args(tmp_path, emulator.url)
        process = await start_cli(*args)
        await asked(emulator, 10)
        process.send_signal(number)
        _, err = await process.communicate()
        assert process.returncode == code
        assert b"run the same command again to resume" in err
        assert 0 < unfinished_rows(tmp_path) < 1000
        ended = await run_cli(*args)
    assert ended.summary["resumed"] is True
    check_landed(tmp_path, 1000)


async def test_a_disk_that_failed_promises_nothing_though_the_api_failed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second page is still being written when the third is refused; then the disk fails.

    That error is the one to report: it loses whole pages.
    """
    write_whole, close = DatasetWriter.write_whole, Pipeline.close
    is_over, pages = threading.Event(), itertools.count(1)

    def fails_late(writer: DatasetWriter, *given: Any) -> None:
        if next(pages) == 2:
            is_over.wait(10)
            raise StoreError("no room")
        write_whole(writer, *given)

    def closes(pipeline: Pipeline) -> None:
        is_over.set()
        close(pipeline)

    monkeypatch.setattr(DatasetWriter, "write_whole", fails_late)
    monkeypatch.setattr(Pipeline, "close", closes)
    refused = (404, b'{"statusCode":404,"error":"Not Found"}')
    async with answering([page("a", "1"), page("b", "2"), refused]) as url:
        with pytest.raises(StoreError, match="no room"):
            await _exported(tmp_path, url)
    assert not list(tmp_path.glob("licenses/*.parquet"))
    monkeypatch.undo()
    async with answering([page("a", "1"), page("b", "2"), page("c", None)]) as url:
        summary = await _exported(tmp_path, url)
    assert summary.rows == 3
    assert [row["id"] for row in landed(tmp_path)] == ["a", "b", "c"]


async def test_a_disk_that_fails_while_no_page_ends_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(LakeWriter, "commit", fails)
    config = EmulatorConfig(records=1000, page_size=100)
    async with running_emulator(config, faults=(parse_fault("stall=600:1000@4-99"),)) as emulator:
        with pytest.raises(StoreError, match="no room"):
            await asyncio.wait_for(_exported(tmp_path, emulator.url, commit_seconds=1), 30)
        assert len(emulator.requests) == 4


async def test_a_signal_in_the_last_commit_comes_too_late(tmp_path: Path) -> None:
    """Were the command run again, as an interrupted one may be, it would add all rows again."""
    async with running_emulator(EmulatorConfig(records=200)) as emulator:
        args = export_args(tmp_path, emulator.url, "--mode", "append")
        process = await start_cli(*args, altered="SIGTERM in the last commit")
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["complete"] is True
    check_landed(tmp_path, 200)


async def reported_later(dest: Path, emulator: Emulator, mode: str) -> None:
    """Check that a run that could not report its end is reported, and not run, by the next."""
    args = export_args(dest, emulator.url, "--mode", mode)
    asked_before = len(emulator.requests)
    ended = await run_cli(*args)
    assert ended.summary["complete"] is ended.summary["resumed"] is True
    assert len(emulator.requests) == asked_before
    check_landed(dest, 200)
    assert (await run_cli("verify", str(dest))).code == 0
    more = await run_cli(*args)  # The end was reported now: this is another run.
    assert more.code == (2 if mode == "error" else 0)
    assert len(landed(dest)) == (400 if mode == "append" else 200)


@pytest.mark.parametrize("mode", ["append", "error", "overwrite"])
async def test_a_run_that_failed_after_its_last_commit_is_not_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def fails(*_: Any) -> None:
        raise StoreError("the disk is gone")

    async with running_emulator(EmulatorConfig(records=200)) as emulator:
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "publish", fails)
            failed = await run_cli(*export_args(tmp_path, emulator.url, "--mode", mode))
        assert (failed.code, "the disk is gone" in failed.err) == (1, True)
        await reported_later(tmp_path, emulator, mode)


async def test_a_run_that_was_killed_after_its_last_commit_is_not_run_twice(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=200)) as emulator:
        args = export_args(tmp_path, emulator.url, "--mode", "append")
        process = await start_cli(*args, altered="killed after the last commit")
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
        await reported_later(tmp_path, emulator, "append")


async def test_failed_output_does_not_suggest_resuming(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with running_emulator(EmulatorConfig(records=20)) as emulator:
        args = [one for one in export_args(tmp_path, emulator.url) if one != "--quiet"]
        process = await start_cli(*args, stdout=full)
        _, err = await process.communicate()
    os.close(full)
    assert process.returncode == 1
    assert b"No space left" in err
    assert b"resume" not in err
    check_landed(tmp_path, 20)


async def _exported(dest: Path, url: str, **given: Any) -> streamlic.Summary:
    connection = Connection(
        ConnectionSettings(
            token=streamlic.TokenSource.from_value(TOKEN), base_url=url, rate_limit=None
        )
    )
    request = streamlic.LicensesRequest(account=ACCOUNT)
    options = streamlic.JobOptions(account_details=False, **given)
    return await export_async(str(dest), [request], connection, options)


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    config = EmulatorConfig(records=3000, page_size=50, latency_ms=300)
    async with running_emulator(config) as emulator:
        process = await start_cli(*export_args(tmp_path, emulator.url))
        await asked(emulator, 3)
        args = [one for one in export_args(tmp_path, emulator.url) if one != "--quiet"]
        refused = await run_cli(*args)
        process.kill()
        await process.communicate()
    assert refused.code == 1, "a retry can help"
    assert "resume: streamlic export" in refused.err
    assert f"another writer is active in {tmp_path} (process {process.pid}" in refused.err


async def test_strict_fails_at_the_first_value_that_does_not_fit(tmp_path: Path) -> None:
    async with answering([(200, b'{"result":[{"id":"a","seats":5}]}')]) as url:
        ended = await run_cli(*export_args(tmp_path, url, "--strict"))
    assert ended.code == 5
    said = "expected no such field, got number 5 at result[0].seats (byte 29) (--strict)"
    assert said in ended.err


async def test_convert_of_a_file_and_of_a_pipe_equal_the_export(tmp_path: Path) -> None:
    records = b",".join(license_json(7, ACCOUNT, i) for i in range(3000))
    body = b'{"result":[' + records + b'],"next_cursor":null,"result_count":3000}'
    source = tmp_path / "body.json"
    source.write_bytes(body)
    lines = tmp_path / "body.ndjson"
    lines.write_bytes(b"\n".join(license_json(7, ACCOUNT, i) for i in range(3000)))
    more = ["--account", ACCOUNT, "--json", "--quiet"]
    async with running_emulator(EmulatorConfig(records=3000)) as emulator:
        assert (
            await run_cli(*export_args(tmp_path / "x", emulator.url, "--ignore-limit"))
        ).code == 0
    assert (await run_cli("convert", str(source), str(tmp_path / "f"), *more)).code == 0
    assert (await run_process("convert", "-", str(tmp_path / "p"), *more, stdin=body)).code == 0
    assert (await run_cli("convert", str(lines), str(tmp_path / "l"), *more)).code == 0
    tables = [list(map(without_run, landed(tmp_path / name))) for name in "xfpl"]
    assert tables[0] == tables[1] == tables[2] == tables[3]


async def test_convert_of_a_bad_body_lands_nothing(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    body = tmp_path / "body.json"
    body.write_bytes(b'{"result":[{"id":"a"}')
    ended = await run_cli("convert", str(body), str(dest), "--quiet")
    assert ended.code == 5
    assert "the body ended before its JSON was complete at result (byte 21)" in ended.err
    assert not list(dest.glob("licenses/*.parquet"))
    missing = await run_cli("convert", str(tmp_path / "none"), str(dest))
    assert missing.code == 2


async def test_the_client_yields_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUTO_API_TOKEN", TOKEN)
    parameters: dict[str, Any] = {"ignore_limit": True, "response_format": "raw"}
    async with (
        running_emulator(EmulatorConfig(records=1000, token=TOKEN)) as emulator,
        streamlic.Client(
            streamlic.ConnectionSettings(base_url=emulator.url, rate_limit="none")
        ) as client,
    ):
        batches = [batch async for batch in client.licenses(ACCOUNT, limit=300)]
        pages = len(emulator.requests)
        raw = [batch async for batch in client.licenses(ACCOUNT, rows_at="value", **parameters)]
    assert sum(batch.num_rows for batch in batches) == 1000
    assert batches[0].schema == streamlic.LICENSE_SCHEMA
    assert pages == 4
    assert sum(batch.num_rows for batch in raw) == 1000
    assert raw[0].schema == streamlic.RAW_SCHEMA


async def test_the_client_does_not_follow_a_loop_of_cursors() -> None:
    rows = 0
    fault = parse_fault("repeat-cursor@row=200")
    async with (
        running_emulator(EmulatorConfig(records=1000), faults=(fault,)) as emulator,
        streamlic.Client(
            streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url, rate_limit="none")
        ) as client,
    ):
        with pytest.raises(streamlic.PageMismatch, match="loop"):
            async for batch in client.licenses(ACCOUNT, limit=100):
                rows += batch.num_rows
    assert rows == 200, "as in an export, nothing of the page that leads back"


async def test_export_is_callable_where_a_loop_runs(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=100, token=TOKEN)) as emulator:
        seen: list[int] = []
        summary = await asyncio.to_thread(
            streamlic.export,
            tmp_path,
            ACCOUNT,
            connection=streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url),
            on_progress=lambda progress: seen.append(progress.rows),
        )
    assert summary.rows == 100
    assert seen[-1] == 100
    check_landed(tmp_path, 100)
