"""What commands print at their end fits a screen, and says what to do next."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlic.cli.resume_command import add_resume_commands, command_of
from streamlic.cli.watch import command_again
from streamlic.dataset.inspect import inspect_dataset
from streamlic.dataset.verify import TableReport, VerifyReport
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from streamlic.formatting import bytes_text, clipped, counted, duration_text
from streamlic.job.export import export_async
from streamlic.job.limits import Limits
from streamlic.job.options import JobOptions
from streamlic.job.summary import (
    AccountsFailed,
    AccountSummary,
    CarriedOverAccount,
    FailedAccount,
    SkippedAccount,
    Summary,
)
from streamlic.reports import text as results
from streamlic.reports.text import read_command, summary_text, verify_text
from streamlic.storage.local import LocalStore
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings
from tests.support.batches import open_local
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN, run_cli

SUMMARY = Summary(
    run="20261123T235821Z-97d7a5f7",
    run_key=None,
    complete=True,
    resumed=True,
    repeated=False,
    rows=123_456_789_012,
    rescued=99_999_999,
    pages=12_345_678,
    parts=54_321,
    bytes_received=9_876_543_210_987,
    bytes_written=987_654_321_098,
    seconds=123_456.7,
    engine="reference",
    partial_response=True,
    retries=123_456,
    accounts=[],
)
RESUME = "streamlic export licenses --account " + ACCOUNT


def failing(number: int) -> FailedAccount:
    return FailedAccount(
        account=f"{number:036}", kind="ApiError", reason="word " * 200, retryable=number % 2 == 0
    )


def test_a_summary_fits_a_screen() -> None:
    text = summary_text(SUMMARY, "licenses")
    assert max(len(line) for line in text.splitlines() if not line.startswith("read:")) <= 80
    for figure in ("123,456,789,012 rows", "54,321 part files", "9.9 TB received", "80.0 MB/s",
                   "123,456 retries", "engine reference", "99,999,999 values"):  # fmt: skip
        assert figure in text, figure


def test_a_run_that_has_expired_is_said_to_be_and_has_no_figures_of_accounts() -> None:
    expired = replace(SUMMARY, run_key="night", repeated=True, expired=True, rows=60)
    [first, *rest] = summary_text(expired, "licenses").splitlines()
    assert first == (
        f"run {SUMMARY.run} (night): complete since an earlier command, so nothing was exported"
    )
    assert " ".join(rest).startswith("its 60 rows had expired: streamlic expire let them go")
    assert "0 accounts" not in " ".join(rest)


def test_all_failed_accounts_are_named_and_no_line_is_too_wide() -> None:
    failed = replace(SUMMARY, complete=False, failed=[failing(one) for one in range(25)])
    lines = summary_text(failed, "licenses", RESUME).splitlines()
    assert max(len(line) for line in lines if RESUME not in line and "read:" not in line) <= 80
    for number in range(25):
        retry = "no retry can help" if number % 2 else "a retry may help"
        assert sum(f"failed: {number:036} ({retry})" in line for line in lines) == 1


def test_all_accounts_that_were_skipped_or_kept_are_named() -> None:
    """With their reasons, several of the same reason on a line."""
    skipped = [
        SkippedAccount(account=f"{number:036}", reason=reason)
        for reason in ("blocked", "needs_reauth")
        for number in range(300)
    ]
    kept = [
        CarriedOverAccount(account=one.account, reason=one.reason, rows=7)
        for one in skipped
        if one.reason == "blocked"
    ]
    kept.append(CarriedOverAccount(account=None, reason="not asked for", rows=1))
    kept.append(CarriedOverAccount(account="f", reason="failed: HTTP 404: gone", rows=2))
    text = summary_text(replace(SUMMARY, skipped=skipped, carried_over=kept), "licenses")
    lines = text.splitlines()
    assert max(len(line) for line in lines if "read:" not in line) <= 80
    assert sum(line.startswith("skipped, blocked: ") for line in lines) == 1
    assert sum(line.startswith("skipped, needs_reauth: ") for line in lines) == 1
    assert "2,103 rows of 302 accounts that were not read are carried over" in lines
    assert "123,456,786,909 rows of 0 accounts" in text, "those that were read"
    assert "carried over, not asked for: no account (1 row)" in lines
    assert "carried over, failed: f (2 rows)" in lines
    for number in range(300):
        assert text.count(f"{number:036}") == 3, "skipped for two reasons, kept for one"


def test_the_summary_names_the_next_steps() -> None:
    complete = summary_text(SUMMARY, "li censes", RESUME)
    assert "resume:" not in complete
    assert "verify:  streamlic verify 'li censes'" in complete
    assert f"read:    {read_command('li censes')}" in complete
    unfinished = summary_text(replace(SUMMARY, complete=False), "licenses", RESUME)
    assert f"resume:  {RESUME}" in unfinished.splitlines()


DUCKDB = """#!{python}
import duckdb, sys
_, option, query = sys.argv
assert option == "-c"
duckdb.sql(query).show()
"""


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("it's mine", "the command"),
        ('a "b" $HOME `c` !', "the command"),
        ("it's mine", "the package"),
        ('a "b" $HOME `c` !', "neither"),
    ],
)
def test_the_line_that_reads_a_dataset_works_with_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, has: str
) -> None:
    monkeypatch.chdir(tmp_path)
    licenses = Path(name) / "licenses"
    licenses.mkdir(parents=True)
    pq.write_table(pa.table({"seats": [4711]}), licenses / "part-1.parquet")
    commands = tmp_path / "bin"
    commands.mkdir()
    if has == "the command":
        (commands / "duckdb").write_text(DUCKDB.format(python=sys.executable))
        (commands / "duckdb").chmod(0o755)
    elif has == "neither":
        monkeypatch.setattr(results, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    line = read_command(name)
    assert ("duckdb" in line) == (has != "neither")
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "4711" in ended.stdout


async def test_the_line_for_a_delta_table_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("deltalake")
    monkeypatch.chdir(tmp_path)
    Path("body.json").write_text('{"result": [{"id": "4711"}]}')
    ended = await run_cli("convert", "body.json", "la ke", "--format", "delta")
    assert ended.code == 0, ended.err
    line = read_command("la ke", "delta")
    assert f"read:    {line}" in ended.out
    read = subprocess.run(  # noqa: ASYNC221  # nothing else runs
        ["bash", "-c", line], capture_output=True, text=True, check=False
    )
    assert (read.returncode, read.stderr) == (0, "")
    assert "4711" in read.stdout


def test_a_lake_in_a_bucket_is_read_with_head() -> None:
    assert read_command("s3://bucket/la ke") == "streamlic head 's3://bucket/la ke'"


def test_the_line_names_the_python_that_has_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / "its env"
    environment.mkdir()
    (environment / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert read_command("x").startswith(f"'{environment}/python' -c ")
    monkeypatch.chdir(tmp_path)
    assert read_command("x").startswith("'its env/python' -c ")
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin")
    assert read_command("x").startswith("python -c ")


def test_the_command_again_restarts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py", "export", "a b", "--restart", "--limit", "5"])
    assert command_again() == "streamlic export 'a b' --limit 5"


async def test_the_summary_of_failed_accounts_has_the_resume_command(tmp_path: Path) -> None:
    fault = parse_fault("status=404@1")
    async with running_emulator(EmulatorConfig(records=5), faults=(fault,)) as emulator:
        args = ["export", str(tmp_path), "--base-url", emulator.url, "--rate-limit", "none",
                "--account", ACCOUNT, "--account", OTHER_ACCOUNT]  # fmt: skip
        ended = await run_cli(*args)
        [resume] = [line for line in ended.out.splitlines() if line.startswith("resume:")]
        program, *again = shlex.split(resume.removeprefix("resume:"))
        assert (program, again) == ("streamlic", args)
        assert (await run_cli(*again)).code == 0


async def test_what_helps_with_a_failed_account_is_spelled_as_its_reader_spells_it(
    tmp_path: Path,
) -> None:
    """In the summary and in the error; the JSON and the commit log have the parameter apart."""
    accounts = (ACCOUNT, OTHER_ACCOUNT)
    async with running_emulator(EmulatorConfig(records=5, page_size=2)) as emulator:
        args = ["export", str(tmp_path / "a"), "--base-url", emulator.url, "--rate-limit", "none",
                "--max-pages", "1", *(f"--account={one}" for one in accounts)]  # fmt: skip
        ended = await run_cli(*args)
        as_json = await run_cli(*args, "--json", "--quiet")
        with pytest.raises(AccountsFailed) as failed:
            await export_async(
                str(tmp_path / "b"),
                [LicensesRequest(account=account) for account in accounts],
                Connection(ConnectionSettings(token=TOKEN, base_url=emulator.url, rate_limit=None)),
                JobOptions(limits=Limits(max_pages=1)),
            )
    message = "expected at most 1 page of the account, got more"
    for text in (ended.out, ended.err):
        assert f"{message} (--max-pages)" in " ".join(text.split())
    assert [(one["reason"], one["parameter"]) for one in as_json.summary["failed"]] == [
        (message, "max_pages")
    ] * 2
    assert f"{message} (max_pages); a retry cannot help" in str(failed.value)


REQUEST: dict[str, Any] = {"response_format": "stream", "rows_at": "result"}


@pytest.mark.parametrize(
    ("request_of_run", "mode", "accounts", "expected"),
    [
        (REQUEST, "error", ["a", "b"], "export d --account a --account b"),
        (REQUEST, "overwrite", ["a"], "export d --account a --mode overwrite"),
        (REQUEST, "error", list("abcd"), "export d --accounts-file FILE"),
        ({**REQUEST, "differing": {}}, "error", ["a"], "export d --accounts-file FILE"),
        (
            {**REQUEST, "all_of": {"integration": "github", "tenant": None}}, "error", ["a"],
            "export d --all-accounts --integration github",
        ),
        (
            {**REQUEST, "response_format": "raw", "rows_at": "value"}, "error", ["a"],
            "export d --account a --response-format raw --rows-at value",
        ),
        (
            {**REQUEST, "product": "onedrive", "limit": 5, "ignore_limit": False,
             "ignore_remote_data": True, "exclude_fields": ["roles", "products"],
             "remote_query": [["remote_query[a]", "1"]], "query": [["b[gt]", "2"]]}, "error", ["a"],
            ("export d --account a --product onedrive --limit 5 --ignore-remote-data "
             "--exclude-field roles --exclude-field products --remote-query 'remote_query[a]=1' "
             "--query 'b[gt]=2'"),
        ),
        (
            {"source": "b.json", "rows_at": "value", "ndjson": False, "raw": True}, "append",
            ["a"], "convert b.json d --account a --rows-at value --no-lines --raw --mode append",
        ),
        (
            {"source": "b.json", "ndjson": None, "raw": False, "key_by": "id"}, "error",
            [None], "convert b.json d --key-by id",
        ),
    ],
)  # fmt: skip
def test_the_log_knows_the_resume_command(
    request_of_run: dict[str, Any], mode: str, accounts: list[str], expected: str
) -> None:
    command = command_of("d", request=request_of_run, mode=mode, accounts=accounts, settings={})
    assert command == f"streamlic {expected}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "--mode overwrite"),
        ({"absent_accounts": "drop"}, "--mode overwrite --absent-accounts drop"),
        ({"skip_failed": True}, "--mode overwrite --skip-failed"),
        (
            {"absent_accounts": "drop", "skip_failed": True},
            "--mode overwrite --absent-accounts drop --skip-failed",
        ),
    ],
)
def test_the_resume_command_ends_the_run_as_it_would(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    """The log has the settings, which the request has not."""
    settings = JobOptions(mode="overwrite", **options).settings()
    store = LocalStore(tmp_path)
    open_local(tmp_path, request=REQUEST, accounts=["a"], mode="overwrite", settings=settings)
    [run] = runs = inspect_dataset(store).runs
    add_resume_commands(str(tmp_path), runs)
    assert run["resume_command"] == f"streamlic export {tmp_path} --account a {expected}"


def test_the_last_line_of_verify_is_the_verdict() -> None:
    tables = {"licenses": TableReport(1, 3, 3_000), "runs": TableReport(1, 1, 1_000)}
    sound = VerifyReport(runs=1, files=2, rows=3, bytes=4_000, tables=tables, notes=["n"])
    assert verify_text(sound, "d").splitlines() == [
        "note: n", "1 run, 3 licenses, 2 part files in 2 tables, 4.0 kB",
        "sound: every file, byte and row is as committed",
    ]  # fmt: skip
    damaged = replace(sound, problems=["p", "q"])
    assert verify_text(damaged, "d").splitlines()[-1] == "NOT SOUND: 2 problems in d"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB"),
     (1_500_000_000, "1.5 GB"), (9e15, "9,000.0 TB")],
)  # fmt: skip
def test_sizes(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 m 00 s"), (3_599, "59 m 59 s"), (3_720, "1 h 02 m")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_counts_and_clipped_texts() -> None:
    assert (counted(1, "page"), counted(2_000, "page")) == ("1 page", "2,000 pages")
    assert counted(0, "retry", "retries") == "0 retries"
    assert clipped("a\n b", 10) == "a b"
    assert clipped("x" * 50, 10) == "x" * 7 + "..."


def test_a_run_that_is_complete_without_accounts_counts_those_that_it_has() -> None:
    accounts = [
        AccountSummary(account=f"{number:036}", rows=1, rescued=0, pages=1, partial_response=False,
                       complete=number > 0)
        for number in range(3)
    ]  # fmt: skip
    summary = replace(SUMMARY, rows=2, accounts=accounts, failed=[failing(0)])
    assert "2 rows of 2 of 3 accounts from" in summary_text(summary, "licenses")
