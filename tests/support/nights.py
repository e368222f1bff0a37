"""What a lake must have after nights of an emulated Truto, and what its readers may see."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamlic.dataset.lake import run_of
from streamlic.emulator import EmulatedAccount, World
from streamlic.emulator.records import Shape
from streamlic.emulator.worlds import texts
from tests.support.oracle import check_rows, parsed

Row = dict[str, Any]
_POLL_SECONDS = 0.005


@dataclass(frozen=True, kw_only=True)
class Night:
    """A night that was completed, and the accounts that failed in it."""

    run: str
    key: str
    started_at: datetime
    world: World
    failed: frozenset[str] = frozenset()


@dataclass
class Expected:
    """What a lake must have after the nights that were added to it."""

    mode: str
    page_rows: int
    accounts: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    licenses: dict[tuple[str, str], Night] = field(default_factory=dict)
    """The night whose licenses there are, by run and account."""

    def add(self, night: Night) -> None:
        """Add a night that was completed."""
        listed = night.world.accounts
        kept: dict[str, Night] = {}
        if self.mode == "overwrite":
            kept = {account: one for (_, account), one in self.licenses.items()}
        rows = [self._account(night, one, kept.get(one.id)) for one in listed.values()]
        read = {row["integrated_account_id"] for row in rows if row["outcome"] == "read"}
        if self.mode == "overwrite":
            self.licenses = {
                key: one for key, one in self.licenses.items() if key[1] in listed.keys() - read
            }
        self.licenses |= {(night.run, account): night for account in read}
        counts = Counter(row["outcome"] for row in rows)
        self.accounts += rows
        self.runs.append(
            {
                "_run": night.run,
                "run_key": night.key,
                "mode": self.mode,
                "complete": not night.failed,
                "accounts": len(rows),
                "accounts_read": counts["read"],
                "accounts_skipped": counts["skipped"],
                "accounts_failed": counts["failed"],
                "accounts_carried_over": counts["carried_over"],
                "accounts_dropped": len(kept.keys() - listed.keys()),
                "rows": sum(row["rows"] for row in rows),
                "rows_carried_over": sum(
                    row["rows"] for row in rows if row["outcome"] == "carried_over"
                ),
                "pages": sum(row["pages"] for row in rows),
                "_exported_at": night.started_at,
            }
        )

    def _account(self, night: Night, one: EmulatedAccount, kept: Night | None) -> Row:
        """Return an account's row of a night; ``kept`` is the night whose rows it keeps."""
        row = {
            "_run": night.run,
            "integrated_account_id": one.id,
            "integration": one.integration,
            "tenant_id": one.tenant_id,
            "status": one.status,
            "is_blocked": one.is_blocked,
            "_exported_at": night.started_at,
        }
        is_skipped = one.is_blocked or one.status != "active"
        if not is_skipped and one.id not in night.failed:
            rows = len(night.world.tonight(one.id).numbers)
            pages = max(1, -(-rows // self.page_rows))
            return row | {"outcome": "read", "rows": rows, "pages": pages,
                          "rows_exported_at": night.started_at}  # fmt: skip
        return row | {
            "outcome": "carried_over" if kept else "skipped" if is_skipped else "failed",
            "rows": len(kept.world.tonight(one.id).numbers) if kept else 0,
            "pages": 0,
            "rows_exported_at": kept.started_at if kept else None,
        }

    def read(self, dest: Path, table: str) -> pa.Table:
        """Return a table as its readers see it."""
        return pq.read_table(dest / table)

    def check(self, dest: Path) -> None:
        """Compare all three tables, row by row."""
        for table, keys, rows in [
            ("runs", ("_run",), self.runs),
            ("accounts", ("_run", "integrated_account_id"), self.accounts),
        ]:
            found = by(keys, self.read(dest, table).to_pylist())
            wanted = by(keys, rows)
            assert found.keys() == wanted.keys()
            for key, row in wanted.items():
                assert {name: found[key][name] for name in row} == row, (table, key)
        self.check_reasons(self.read(dest, "accounts").to_pylist())
        self.check_licenses(dest)

    def check_reasons(self, accounts: list[Row]) -> None:
        """An account that was not read says why, and one that failed with its error."""
        failed = {row["_run"]: row["_exported_at"] for row in self.runs if not row["complete"]}
        for row in accounts:
            is_skipped = row["is_blocked"] or row["status"] != "active"
            is_failed = not is_skipped and row["outcome"] != "read"
            assert (row["error_kind"] == "ApiError") is is_failed
            assert (row["error_message"] is not None) is is_failed
            assert not is_failed or row["_run"] in failed
            if row["outcome"] in ("read", "failed"):
                assert row["reason"] is None
            elif is_skipped:
                assert row["reason"] == ("blocked" if row["is_blocked"] else row["status"])
            else:
                assert row["reason"] == f"failed: {row['error_message']}"

    def check_licenses(self, dest: Path) -> None:
        """Every license of every account is there once, as the emulator has it, and no other."""
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.read(dest, "licenses").to_pylist():
            found[row.pop("_run"), row.pop("integrated_account_id")].append(row)
        assert found.keys() == self.licenses.keys()
        for key, night in self.licenses.items():
            account = night.world.accounts[key[1]]
            for row in found[key]:
                assert row.pop("integration") == account.integration
                assert row.pop("tenant_id") == account.tenant_id
                assert row.pop("_exported_at") == night.started_at
            rows = sorted(found[key], key=lambda row: row["id"])
            check_rows(rows, records_of(night.world, account))


def records_of(world: World, account: EmulatedAccount) -> list[Any]:
    """Return an account's licenses with every digit, by id."""
    shape = Shape(integration=account.integration)
    body = b"".join(texts(world.seed, account.id, world.tonight(account.id), shape))
    records: list[Any] = parsed(b"[" + body + b"]")
    return sorted(records, key=lambda record: record["id"])


def by(keys: tuple[str, ...], rows: list[Row]) -> dict[tuple[Any, ...], Row]:
    """Return rows by the columns that tell them apart."""
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return found


class Poller(ABC):
    """Looks at something all the while, in a thread of its own, until a look finds it wrong."""

    pause_seconds = 0.02

    def __init__(self) -> None:
        self.wrong: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="tests-poller")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None:
        """Look once; raise what is wrong."""

    def _poll(self) -> None:
        while not self._stop.wait(self.pause_seconds):
            try:
                self.look()
            except BaseException as error:  # noqa: BLE001  (the test raises it)
                self.wrong.append(error)
                return


class RunsWatcher(Poller):
    """Looks at licenses all the while: each look sees whole runs, in overwrite mode one.

    ``files`` returns the part files that readers of the table see, by name, with their rows.
    """

    def __init__(self, mode: str, files: Callable[[], Mapping[str, int]]) -> None:
        super().__init__()
        self.mode = mode
        self.seen: set[tuple[str, int]] = set()
        """Runs with their rows, as they were seen."""
        self._files = files

    def look(self) -> None:
        rows: Counter[str] = Counter()
        for name, count in self._files().items():
            run = run_of(name)
            assert run
            rows[run] += count
        assert self.mode == "append" or len(rows) <= 1
        self.seen.update(rows.items())


class Reader(Poller):
    """A reader that looks at a lake all the while, and must never see half a night.

    It knows the files alone. A night that is in ``runs`` is whole: in ``licenses``, or in
    overwrite mode in its own part files there, until a later night is in ``runs``.
    """

    pause_seconds = _POLL_SECONDS

    def __init__(self, dest: Path, mode: str) -> None:
        super().__init__()
        self.dest = dest
        self.mode = mode
        self.looks = 0
        self.nights: set[str] = set()
        """Every run of which it saw a row, in any table."""

    def look(self) -> None:
        """Look at all tables once. What is replaced meanwhile is looked at the next time."""
        try:
            before = self._runs()
            licenses = self._read("licenses", ["integrated_account_id", "_run"])
            accounts = self._read("accounts", ["integrated_account_id", "_run", "rows", "outcome"])
            after = self._runs()
        except FileNotFoundError:
            return
        self.looks += 1
        for table in (*licenses.values(), *accounts.values()):
            self.nights.update(pc.unique(table["_run"]).to_pylist())
        self.nights.update(row["_run"] for row in after)
        whole = before
        if self.mode == "overwrite":
            whole = before[-1:] if before == after else []
        for run in whole:
            self._check_whole(run, licenses, accounts)

    def _check_whole(
        self, run: Row, licenses: Mapping[str, pa.Table], accounts: Mapping[str, pa.Table]
    ) -> None:
        rows: Counter[str] = Counter()
        for name, table in licenses.items():
            if run_of(name) == run["_run"]:
                for entry in pc.value_counts(table["integrated_account_id"]).to_pylist():
                    rows[entry["values"]] += entry["counts"]
        assert rows.total() == run["rows"], (rows.total(), run)
        wanted: Counter[str] = Counter()
        for name, table in accounts.items():
            if run_of(name) == run["_run"]:
                wanted.update({row["integrated_account_id"]: row["rows"]
                               for row in table.to_pylist()})  # fmt: skip
        assert +wanted == rows, run

    def _runs(self) -> list[Row]:
        tables = self._read("runs", ["_run", "rows", "_exported_at"]).values()
        rows = [row for table in tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: row["_exported_at"])

    def _read(self, name: str, columns: list[str]) -> dict[str, pa.Table]:
        """Return a table's part files as they are now, by name."""
        found = sorted((self.dest / name).glob("*.parquet"))
        return {f"{name}/{path.name}": pq.ParquetFile(path).read(columns=columns) for path in found}
