"""A RecordBatchReader of licenses: what reads Arrow takes it, and the API waits for who reads."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, license_json
from tests.support import reading
from tests.support.cli import TOKEN
from tests.support.oracle import check_rows, parsed
from tests.support.raw_server import server
from tests.support.reading import ids, until
from tests.support.server_thread import (
    WAIT_SECONDS,
    Endless,
    ended,
    in_a_thread,
    served,
    threads_of_ours,
)

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
OTHER = "0aa44730-dd91-461e-bd6a-aedd9e0ad79d"
WHOSE = ["integrated_account_id", "integration", "tenant_id"]


def read(url: str, account: str | list[str] = ACCOUNT, **given: Any) -> streamlic.LicensesReader:
    return reading.read(url, account, **given)


@pytest.fixture
def endless() -> Iterator[tuple[str, Endless]]:
    answer = Endless()
    with in_a_thread(lambda: server(answer)) as (url, _):
        yield url, answer
        gc.collect()


def test_every_row_is_read_once_with_its_account_and_in_order() -> None:
    with served(EmulatorConfig(records=1000, token=TOKEN)) as emulator:
        with read(emulator.url, [OTHER, ACCOUNT], limit=300) as reader:
            table = reader.read_all()
        assert len(emulator.requests) == 8
    assert table.schema.names == [*WHOSE, *streamlic.LICENSE_SCHEMA.names]
    assert table["integration"].null_count == table["tenant_id"].null_count == 2000
    for account in (OTHER, ACCOUNT):
        of_account = table.filter(pc.field("integrated_account_id") == account)
        rows = of_account.drop(WHOSE).to_pylist()
        check_rows(rows, [parsed(license_json(7, account, i)) for i in range(1000)])
    assert threads_of_ours() == []


def test_a_reader_that_is_not_read_asks_for_nothing() -> None:
    with served(EmulatorConfig(records=1000)) as emulator:
        with read(emulator.url) as reader:
            assert isinstance(reader, pa.RecordBatchReader)
            assert reader.schema.names[:4] == [*WHOSE, "id"]
            assert threads_of_ours() == []
        assert len(emulator.requests) == 0
        with pytest.raises(streamlic.UsageError, match="closed"):
            reader.read_next_batch()


def test_who_reads_no_further_keeps_the_api_waiting(endless: tuple[str, Endless]) -> None:
    """Of a body without end as much comes as may be held: 8 MiB of batches, and what is under way.

    Each further batch lets more come.
    """
    url, answer = endless
    with read(url) as reader:
        reader.read_next_batch()
        stopped_at = standing_still(answer)
        assert stopped_at < 40e6
        for _ in range(60):
            reader.read_next_batch()
        assert standing_still(answer) > stopped_at


def standing_still(answer: Endless) -> int:
    """Return how many bytes were written when for a while no more are."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        if seen != answer.written_bytes:
            seen, since = answer.written_bytes, time.monotonic()
        time.sleep(0.02)
    return seen


@pytest.mark.parametrize("how", ["close", "with", "del", "handed on"])
def test_a_reader_that_is_left_early_ends_thread_and_connection(
    endless: tuple[str, Endless], how: str
) -> None:
    url, answer = endless
    reader: Any = read(url)
    if how == "with":
        with reader:
            reader.read_next_batch()
    elif how == "handed on":
        handed_on = pa.RecordBatchReader.from_stream(reader)
        handed_on.read_next_batch()
        reader = None
        gc.collect()
        assert handed_on.read_next_batch().num_rows > 0, "somebody still reads"
        del handed_on
    else:
        reader.read_next_batch()
        assert threads_of_ours()
        if how == "close":
            reader.close()
            reader.close()
    if how in ("close", "with"):
        assert threads_of_ours() == [], "closing waits for the end"
        with pytest.raises(streamlic.UsageError, match="read_licenses"):
            reader.read_next_batch()
    reader = None
    gc.collect()
    assert answer.is_left.wait(WAIT_SECONDS)
    until(lambda: threads_of_ours() == [])


def test_closing_wakes_who_waits_for_a_batch() -> None:
    """In another thread: the server is silent, so that no batch would come for long."""
    with served(EmulatorConfig(records=1000), "stall=600:3000") as emulator:
        reader = read(emulator.url)
        raised: list[BaseException] = []

        def wait() -> None:
            try:
                reader.read_next_batch()
            except streamlic.UsageError as error:
                raised.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: len(emulator.requests) == 1)
        reader.close()
        waiting.join(WAIT_SECONDS)
        assert "closed" in str(raised[0])


def read_by_several(read_one: Callable[[], Any]) -> tuple[list[str], list[BaseException]]:
    """Have several threads read; return what they read, and what was raised in them."""
    rows: list[str] = []
    raised: list[BaseException] = []

    def read_to_end() -> None:
        try:
            while True:
                rows.extend(read_one().column("id").to_pylist())
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  # it is looked at below
            raised.append(error)

    threads = [threading.Thread(target=read_to_end, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "each has come to the end"
    return rows, raised


@pytest.mark.parametrize("how", ["next", "read_next_batch", "custom metadata", "read_all"])
def test_several_threads_read_every_row_once_and_all_come_to_the_end(how: str) -> None:
    with served(EmulatorConfig(records=3000)) as emulator:
        reader = read(emulator.url, limit=100)

        def read_one() -> Any:
            if how == "custom metadata":
                return reader.read_next_batch_with_custom_metadata().batch
            if how == "read_all" and (table := reader.read_all()).num_rows:
                return table
            return next(reader) if how == "next" else reader.read_next_batch()

        rows, raised = read_by_several(read_one)
    assert raised == []
    assert sorted(rows) == sorted(ids(ACCOUNT, 3000))


def test_an_error_is_raised_in_every_thread_that_reads() -> None:
    with served(EmulatorConfig(records=1000), "vendor=401@3") as emulator:
        reader = read(emulator.url, limit=250)
        rows, raised = read_by_several(reader.read_next_batch)
    assert sorted(rows) == sorted(ids(ACCOUNT, 500))
    assert [type(error) for error in raised] == [streamlic.AccountNeedsReauth] * 4


def test_closing_ends_all_who_wait() -> None:
    """Whether it is their turn or not."""
    with served(EmulatorConfig(records=1000), "stall=600:3000") as emulator:
        reader = read(emulator.url)

        def close() -> None:
            until(lambda: len(emulator.requests) == 1)
            reader.close()

        closing = threading.Thread(target=close)
        closing.start()
        rows, raised = read_by_several(reader.read_next_batch)
        closing.join()
    assert rows == []
    assert [type(error) for error in raised] == [streamlic.UsageError] * 4


@pytest.mark.parametrize("fault", ["reset=3000@2", "cut-json=2000@2", "status=503@2"])
def test_a_page_that_fails_is_asked_for_again_and_doubles_nothing(fault: str) -> None:
    with served(EmulatorConfig(records=1000), fault) as emulator:
        table = read(emulator.url, limit=250).read_all()
        assert len(emulator.requests) >= 5
    assert table["id"].to_pylist() == ids(ACCOUNT, 1000)


def test_a_small_page_that_fails_for_good_gives_none_of_its_rows() -> None:
    with served(EmulatorConfig(records=1000), "break-json=20000@row=500") as emulator:
        reader = read(emulator.url, limit=250)
        rows = []
        with pytest.raises(streamlic.DecodeError) as caught:
            for batch in reader:
                rows += batch.column("id").to_pylist()
        assert rows == ids(ACCOUNT, 500)
        assert caught.value.position == 20000
        assert len(emulator.requests) == 2 + 2, "two pages, and two attempts at the third"
        until(lambda: threads_of_ours() == [])
        with pytest.raises(streamlic.DecodeError) as again:
            reader.read_next_batch()
        assert again.value is caught.value


def test_a_large_page_that_fails_is_not_requested_again() -> None:
    """Rows of it were read: they would come twice."""
    records = 40_000
    config = EmulatorConfig(records=records)
    with served(config, f"close={15_000_000}") as emulator:
        rows = []
        with pytest.raises(streamlic.TransportError):
            for batch in read(emulator.url, ignore_limit=True):
                rows += batch.column("id").to_pylist()
        assert len(emulator.requests) == 1
    assert 0 < len(rows) < records
    assert rows == ids(ACCOUNT, len(rows))


def _written(reader: pa.RecordBatchReader, dest: Path) -> int:
    ds.write_dataset(reader, dest, format="parquet", partitioning=["integrated_account_id"])
    rows: int = ds.dataset(dest, partitioning=["integrated_account_id"]).count_rows()
    return rows


def _counted(reader: pa.RecordBatchReader, _: Path) -> int:
    [(rows,)] = duckdb.sql("select count(*) from reader").fetchall()
    assert reader.schema, "DuckDB found it by its name"
    return int(rows)


READERS: dict[str, Callable[[pa.RecordBatchReader, Path], Any]] = {
    "iterated": lambda reader, _: sum(batch.num_rows for batch in reader),
    "read_all": lambda reader, _: reader.read_all().num_rows,
    "polars": lambda reader, _: pl.from_arrow(reader).height,  # type: ignore[union-attr]
    "write_dataset": _written,
    "scanner": lambda reader, _: ds.Scanner.from_batches(reader).count_rows(),
    "handed on": lambda reader, _: pa.RecordBatchReader.from_stream(reader).read_all().num_rows,
    "duckdb": _counted,
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_arrow_reads_it(name: str, tmp_path: Path) -> None:
    with served(EmulatorConfig(records=30_000)) as emulator:
        reader = read(emulator.url, limit=10_000)
        assert READERS[name](reader, tmp_path / "out") == 30_000
        assert reader.accounts["rows"].to_pylist() == [30_000]
    until(lambda: threads_of_ours() == [])


@pytest.mark.parametrize("name", ["iterated", "read_all", "polars", "write_dataset", "scanner"])
def test_they_raise_the_error_itself(name: str, tmp_path: Path) -> None:
    with served(EmulatorConfig(records=1000), "vendor=401@3") as emulator:
        with pytest.raises(streamlic.AccountNeedsReauth) as caught:
            READERS[name](read(emulator.url, limit=250), tmp_path / "out")
    assert ACCOUNT in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("duckdb", duckdb.Error), ("handed on", pa.ArrowException)]
)
def test_others_raise_one_that_quotes_it(name: str, kind: type[Exception], tmp_path: Path) -> None:
    """What has gone through a C stream is a text, by the Arrow C stream interface."""
    with served(EmulatorConfig(records=1000), "vendor=401@3") as emulator:
        with pytest.raises((kind, OSError), match="the owner must connect the account again"):
            READERS[name](read(emulator.url, limit=250), tmp_path / "out")


def test_pandas_reads_it() -> None:
    pandas = pytest.importorskip("pandas")
    with served(EmulatorConfig(records=1000)) as emulator:
        frame = read(emulator.url).read_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["id"]) == ids(ACCOUNT, 1000)


async def test_it_is_read_where_a_loop_runs() -> None:
    """As in a notebook; and in tasks of a server, which have it read in a thread."""
    with served(EmulatorConfig(records=1000)) as emulator:
        assert read(emulator.url).read_all().num_rows == 1000
        reading = [asyncio.to_thread(read(emulator.url).read_all) for _ in range(3)]
        assert [table.num_rows for table in await asyncio.gather(*reading)] == [1000] * 3


def test_raw_records_have_their_account_too() -> None:
    with served(EmulatorConfig(records=10)) as emulator:
        table = read(emulator.url, response_format="raw", rows_at="value").read_all()
    assert table.schema.names == [*WHOSE, "key", "record"]
    assert table.num_rows == 10


@pytest.mark.parametrize(
    "given",
    [
        {"account": "nobody"},
        {"account": []},
        {"account": [ACCOUNT, ACCOUNT]},
        {"limit": 0},
        {"rows_at": ""},
        {"engine": "none"},
        {"url": "ftp://example.com"},
        {"token": "two words"},
        {"rate_limit": "fast"},
    ],
)
def test_what_could_not_be_asked_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(streamlic.UsageError):
        read(**{"url": "http://127.0.0.1:9", **given})


SCRIPT = """
import sys, streamlic
settings = streamlic.ConnectionSettings(rate_limit="none")
reader = streamlic.read_licenses({account!r}, connection=settings, limit=50)
print(reader.read_next_batch().num_rows, flush=True)
"""


def started(script: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN, "TRUTO_API_BASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_may_end_in_the_middle_of_a_listing() -> None:
    with served(EmulatorConfig(records=1000), "stall=600:3000@2") as emulator:
        with started(SCRIPT.format(account=ACCOUNT), emulator.url) as process:
            assert ended(process) == (0, "50\n", "")


INTERRUPTED = """
import threading, time, traceback

def watch():
    main = threading.main_thread().ident
    calls = []
    while "take" not in calls:
        time.sleep(0.01)
        calls = [one.name for one in traceback.extract_stack(sys._current_frames()[main])]
    print("reading", flush=True)

threading.Thread(target=watch).start()
try: reader.read_all()
except KeyboardInterrupt: print("interrupted")
for thread in threading.enumerate():
    if thread.name.startswith("streamlic"): thread.join()
print("ended")
"""
"""Says when the main thread waits for a batch: a signal before it would interrupt no reading."""


def test_ctrl_c_ends_the_reading_and_the_thread() -> None:
    script = SCRIPT.format(account=ACCOUNT) + INTERRUPTED
    with served(EmulatorConfig(records=1000), "stall=600:3000@2") as emulator:
        with started(script, emulator.url) as process:
            assert process.stdout
            assert process.stdout.readline() == "50\n"
            assert process.stdout.readline() == "reading\n"
            process.send_signal(signal.SIGINT)
            assert ended(process) == (0, "interrupted\nended\n", "")
