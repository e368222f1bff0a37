"""How long a command waits, and for how long it tries: options, and Python's arguments."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import streamlic
from streamlic.truto.timeouts import Timeouts
from tests.support.cli import ACCOUNT, export_args, run_cli
from tests.support.raw_server import TOKEN, server, whole
from tests.support.server_thread import in_a_thread

BAD = whole(b"{}", status=b"502 Bad Gateway")
ONE_MINUTE = 60.0


async def test_retry_for_is_named_where_a_page_is_given_up(tmp_path: Path) -> None:
    async with server(BAD) as (url, asked):
        ended = await run_cli(*export_args(tmp_path, url, "--retry-for", "0"))
    assert ended.code == 1
    assert "502 Bad Gateway" in ended.err
    assert "given up after 4 attempts" in ended.err
    assert "--retry-for" in ended.err
    assert len(asked) == 4


async def test_read_timeout_is_named_where_no_byte_comes(tmp_path: Path) -> None:
    is_over = asyncio.Event()

    async def silent(_: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async with server(silent) as (url, _):
        patience = ("--retry-for", "0", "--read-timeout", "0.2")
        ended = await run_cli(*export_args(tmp_path, url, *patience))
        is_over.set()
    assert ended.code == 1
    assert "fell silent for 0.2 s;" in ended.err
    assert ended.err.endswith("(--read-timeout)\n")


@pytest.mark.parametrize(
    "wrong", [("--read-timeout", "0"), ("--retry-for", "-1"), ("--retry-for", "soon")]
)
async def test_no_time_at_all_is_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = await run_cli(*export_args(tmp_path, "http://127.0.0.1:9", *wrong))
    assert ended.code == 2
    assert wrong[0] in ended.err


def test_python_has_both(tmp_path: Path) -> None:
    with in_a_thread(lambda: server(BAD)) as (url, asked):
        with pytest.raises(streamlic.ApiError, match="given up after 4 attempts"):
            streamlic.export(
                tmp_path,
                ACCOUNT,
                options=streamlic.JobOptions(account_details=False),
                connection=streamlic.ConnectionSettings(
                    token=TOKEN,
                    base_url=url,
                    timeouts=Timeouts(silence_seconds=ONE_MINUTE),
                    retry=streamlic.RetryPolicy(retry_for_seconds=0, backoff_seconds=0),
                ),
            )
    pages = [one for one in asked if b"GET /unified" in one]
    assert len(pages) == 4
