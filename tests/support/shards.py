"""Shards of a run without a network, each as a process has it, and what they must land."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq

import streamlic
from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import LICENSES, STAGING
from streamlic.dataset.records import shard_of
from streamlic.dataset.verify import verify_dataset
from streamlic.errors import StreamlicError
from streamlic.job.job import Job
from streamlic.job.progress import SourceStatus
from streamlic.job.shards import ShardRun
from streamlic.job.source import RunRequest, Source
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore

SHARDS = 3
PAGES = 2
PAGE_ROWS = 3
ACCOUNTS = ("a", "b", "c", "d", "e", "f")
KEY = "night"
OfShard = {
    number: [one for one in ACCOUNTS if shard_of(one, SHARDS) == number]
    for number in range(1, SHARDS + 1)
}
"""The accounts of each shard: none is empty."""

Hook = Callable[[str, int], None]


def ids_of(account: str, tag: str = KEY) -> list[str]:
    """Return the ids of an account's licenses, in order."""
    rows = range(PAGES * PAGE_ROWS)
    return [f"{tag}-{account}-{row}" for row in rows]


class Pages(Source):
    """The pages of accounts. ``before`` is called before each with the account and its number."""

    def __init__(
        self,
        before: Hook | None = None,
        failing: Mapping[str, StreamlicError] = MappingProxyType({}),
        existing: Sequence[str] = (),
        tag: str = KEY,
    ) -> None:
        self.read: list[tuple[str, int]] = []
        self._before = before
        self._failing = failing
        self._existing = existing
        self._tag = tag
        self._failed: dict[str, StreamlicError] = {}
        self._done = 0

    @property
    def failed(self) -> Mapping[str, StreamlicError]:
        return self._failed

    def status(self) -> SourceStatus:
        return SourceStatus(
            accounts_done=self._done,
            accounts_failed=len(self._failed),
            pages_under_way=0,
            bytes_received=0,
            retries=0,
        )

    async def still_existing(self, accounts: list[str]) -> set[str]:
        return {*accounts} & {*self._existing}

    async def read_pages(self, job: Job) -> None:
        for account in job.run.accounts:
            assert account
            await self._read_account(job, account)

    async def _read_account(self, job: Job, account: str) -> None:
        for page in range(job.run.point(account).pages, PAGES):
            if self._before:
                self._before(account, page)
            if page and account in self._failing:
                self._failed[account] = self._failing[account]
                return
            rows = ids_of(account, self._tag)[page * PAGE_ROWS :][:PAGE_ROWS]
            is_last = page + 1 == PAGES
            body = {
                "result": [{"id": one} for one in rows],
                "next_cursor": None if is_last else str(page + 1),
            }
            await job.read_page(account, job.options.open_decoder, _chunks(body), lambda _: None)
            self.read.append((account, page))
        self._done += 1


async def _chunks(body: object) -> AsyncGenerator[bytes, None]:
    yield json.dumps(body).encode()


async def read_shard(
    store: Store,
    number: int,
    source: Pages | None = None,
    *,
    of: int = SHARDS,
    accounts: Sequence[str] = ACCOUNTS,
    request: RunRequest | None = None,
    **given: Any,
) -> streamlic.Summary:
    """Read a shard to its end, as a process does."""
    request = request or RunRequest(identity={"tag": KEY}, accounts=[*accounts])
    defaults: dict[str, Any] = {"run_key": KEY, "commit_seconds": 0.0, "compression": "none"}
    options = streamlic.JobOptions(shard=f"{number}/{of}", **{**defaults, **given})
    assert options.own_shard
    return await ShardRun(store, request, source or Pages(), options, shard=options.own_shard).run()


def visible(dest: Path) -> list[str]:
    """Return the ids that a reader of plain Parquet sees, sorted."""
    found = [pq.ParquetFile(path).read(["id"])["id"] for path in dest.glob("licenses/*.parquet")]
    return sorted(one for ids in found for one in ids.to_pylist())


def expected(accounts: Sequence[str] = ACCOUNTS, tag: str = KEY) -> list[str]:
    """Return the ids of these accounts, sorted."""
    return sorted(one for account in accounts for one in ids_of(account, tag))


def check_lake(store: Store, accounts: Sequence[str] = ACCOUNTS) -> None:
    """Compare the lake with what one complete run is: its log, its files, and no others."""
    report = verify_dataset(store)
    assert report.problems == []
    [run] = load_lake(store).runs.values()
    assert run.is_finished
    assert run.totals(LICENSES).rows == len(accounts) * PAGES * PAGE_ROWS
    assert store.names(STAGING) == []
    names = Counter(name.rpartition("/")[2] for name in (file.name for file in run.files))
    assert not names or max(names.values()) <= 3, "a name in each table at most"


class UnlockedStore(LocalStore):
    """A directory on a disk whose locks keep nobody out, as leases that were lost."""

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        self.make_directory(name.rpartition("/")[0])
        yield
