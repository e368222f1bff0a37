"""The lease of a writer that was killed: of those who wait for it, one takes it over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event

import pytest

from streamlic.errors import DatasetConflict
from tests.cloud.test_stores import opened

RIVALS = 6
LEASE_SECONDS = 2.0
HOLDER = """
import sys
from pathlib import Path
from tests.cloud.test_stores import opened
with opened(sys.argv[1], Path(sys.argv[2]), lease_seconds=float(sys.argv[3])).lock("lease"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(dest: str, scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lease until its input ends, or it is killed."""
    given = [sys.executable, "-c", HOLDER, dest, str(scratch), str(LEASE_SECONDS)]
    with subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "held\n"
        try:
            yield one
        finally:
            one.kill()


def test_of_many_rivals_one_takes_the_lease_of_a_writer_that_was_killed(
    dest: str, tmp_path: Path
) -> None:
    with holder(dest, tmp_path) as killed:
        killed.kill()
        killed.wait()
    barrier, others_lost = Barrier(RIVALS), Event()
    lost: list[str] = []

    def take() -> bool:
        store = opened(dest, tmp_path, lease_seconds=LEASE_SECONDS)
        barrier.wait()
        try:
            with store.lock("lease"):
                assert others_lost.wait(60)
        except DatasetConflict as error:
            lost.append(str(error))
            if len(lost) == RIVALS - 1:
                others_lost.set()
            return False
        return True

    with ThreadPoolExecutor(RIVALS) as threads:
        taken = list(threads.map(lambda _: take(), range(RIVALS)))
    assert taken.count(True) == 1
    assert all("another writer is active" in one for one in lost)


def test_a_writer_that_lives_keeps_its_lease(dest: str, tmp_path: Path) -> None:
    with holder(dest, tmp_path) as living:
        rival = opened(dest, tmp_path, lease_seconds=LEASE_SECONDS)
        with pytest.raises(DatasetConflict, match=f"process {living.pid} on "):
            rival.lock("lease").__enter__()
        living.communicate()
    with rival.lock("lease"):
        pass
