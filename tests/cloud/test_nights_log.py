"""A log of many commits: opening its lake takes as many requests as one of a few hundred."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from streamlic.dataset.records import Promise, ResumePoint
from streamlic.storage.open_store import StoreSettings, open_store
from streamlic.tables.base import LakeWriter
from tests.support.matrix_proxy import stepped_proxy
from tests.support.object_servers import MotoServer
from tests.tables.lake_tests import start

ROUND_TRIP_SECONDS = 0.05
MOST_REQUESTS = 130
"""A snapshot is written every hundred records: those after it are read one by one."""


@pytest.mark.parametrize("commits", [350, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_long_log_is_opened_with_few_requests(
    moto: MotoServer, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    dest = moto.dest(f"long-{uuid4().hex[:8]}")
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    lake = LakeWriter(open_store(dest))
    lake.open()
    run = start(lake)
    for number in range(commits):
        point = ResumePoint(cursor=str(number), pages=number + 1)
        lake.commit(run, Promise(points={f"account-{number % 100}": point}))
    with stepped_proxy(moto.port, counts_reads=True, more_seconds=ROUND_TRIP_SECONDS) as proxy:
        for name, value in moto.environment_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        proxy.watch()
        store, started = open_store(dest, StoreSettings(takes_over=True)), time.monotonic()
        with store.lock("_streamlic/lock"):
            [found] = LakeWriter(store).open()
        seconds = time.monotonic() - started
        print(f"{commits:,} commits: opened in {seconds:.1f} s with {proxy.count} requests")
    assert (found.id, found.commits, len(found.points)) == (run.id, commits, min(commits, 100))
    assert proxy.count < MOST_REQUESTS
