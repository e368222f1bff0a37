"""Nights of exports into Delta tables: killed, refused, repeated; the same rows as in Parquet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from streamlic.dataset.lake import LICENSES, RUNS
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import EmulatorConfig, emulated_accounts
from streamlic.storage.local import LocalStore
from streamlic.tables.delta.maintenance import shorten_logs, vacuum
from streamlic.tables.table_format import Kept
from tests.job.test_many_accounts import faulty
from tests.job.test_thirty_nights import (
    GIVEN_UP,
    LONG,
    PAGE_ROWS,
    PLAIN,
    REFUSED,
    REPEATED,
    Platform,
    live_through,
)
from tests.support.nights import Expected, RunsWatcher


class DeltaExpected(Expected):
    def read(self, dest: Path, table: str) -> pa.Table:
        return DeltaTable(dest / table).to_pyarrow_table()


class DeltaPlatform(Platform):
    @property
    def command(self) -> list[str]:
        return [*super().command, "--format", "delta"]

    def parts(self) -> Mapping[str, int]:
        return files_of(self.dest)

    def parts_by_name(self) -> Mapping[str, int]:
        return {f"{LICENSES}/{path}": rows for path, rows in files_of(self.dest).items()}


def files_of(dest: Path) -> Mapping[str, int]:
    """Return the part files of licenses that readers of Delta see, with their rows."""
    try:
        actions = DeltaTable(dest / LICENSES).get_add_actions()
    except TableNotFoundError:
        return {}
    columns = [actions.column(name).to_pylist() for name in ("path", "num_records")]
    return dict(zip(*columns, strict=True))


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    ("accounts", "changes", "nights"),
    [
        pytest.param(12, 0.2, [REFUSED, REPEATED, GIVEN_UP, PLAIN], id="short"),
        pytest.param(
            500, 0.03, [LONG.get(night, PLAIN) for night in range(30)], id="long",
            marks=pytest.mark.long,
        ),
    ],
)  # fmt: skip
async def test_nights_are_whole_and_no_account_is_lost(
    tmp_path: Path, mode: str, accounts: int, changes: float, nights: list[str]
) -> None:
    expected = DeltaExpected(mode, PAGE_ROWS)
    platform = DeltaPlatform(tmp_path / "lake", mode, "45%", expected)
    config = EmulatorConfig(
        accounts=emulated_accounts(accounts, records=15, unhealthy_share=0.05),
        page_size=PAGE_ROWS,
        changes=changes,
    )
    async with faulty(config, platform.fault) as platform.emulator:
        with RunsWatcher(mode, platform.parts_by_name) as watcher:
            for number, what in enumerate(nights):
                platform.emulator.night = number
                await live_through(platform, what)
                await asyncio.to_thread(watcher.look)
        await asyncio.to_thread(expected.check, platform.dest)
    assert not watcher.wrong, watcher.wrong
    rows = expected.read(platform.dest, RUNS).select(["_run", "rows"]).to_pylist()
    assert watcher.seen == {(row["_run"], row["rows"]) for row in rows}
    store = LocalStore(platform.dest)
    assert verify_dataset(store).problems == []
    await asyncio.to_thread(clean, store, expected)


def clean(store: LocalStore, expected: Expected) -> None:
    """Delete what no version needs, and look at every row again."""
    dest = Path(store.where())
    seen = {f"{LICENSES}/{path}" for path in files_of(dest)}
    shorten_logs(store)
    vacuum(store, keep_days=0, kept=Kept())
    left = {f"{LICENSES}/{name}" for name in store.names(LICENSES) if name.endswith(".parquet")}
    assert left == seen
    expected.check(dest)
    assert verify_dataset(store).problems == []
