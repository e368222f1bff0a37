"""A small lake that processes write while they are killed or stopped, and what it must have.

Its nights: ``one`` is shown as it commits; ``two`` overwrites it, reads one account and carries the
other one over; ``lost`` is not finished; ``three`` discards it and adds rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.destination import writer_lock
from streamlic.dataset.records import Promise, ResumePoint, WantedFormat
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.storage.base import Store
from streamlic.storage.open_store import StoreSettings, open_store
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from streamlic.tables.runs import open_run
from tests.support.batches import SCHEMA, license_batch
from tests.support.stepped_store import Steps, stepped

Ids = frozenset[str]
PAGES = 2
PAGE_ROWS = 3
OPTIONS = WriteOptions(compression="none")
CATALOG = "matrix"
"""The name of the Iceberg catalog. Each lake has a namespace of its own."""
FORMATS = ("parquet", "delta", "iceberg")


@dataclass(frozen=True)
class Night:
    """A run of the lake, by its key."""

    key: str
    mode: str = "append"
    publish: str = "complete"
    failing: Mapping[str, int] = field(default_factory=dict)
    """Accounts that fail after so many pages."""
    accounts: Sequence[str] = ("a", "b")

    def ids(self, account: str, page: int) -> Ids:
        """Return the ids of a page."""
        return frozenset(f"{self.key}-{account}-{page}-{row}" for row in range(PAGE_ROWS))


ONE = Night("one", publish="commits")
TWO = Night("two", mode="overwrite", failing={"b": 1})
LOST = Night("lost")
THREE = Night("three", accounts=("a",))


def _states() -> tuple[Ids, ...]:
    """Return all that readers of ``licenses`` may see, in order."""
    states = [Ids()]
    for account in ONE.accounts:
        states += [states[-1] | ONE.ids(account, 0)]
        states += [states[-1] | ONE.ids(account, 1)]
    kept = ONE.ids("b", 0) | ONE.ids("b", 1)
    states += [kept | TWO.ids("a", 0) | TWO.ids("a", 1)]
    return (*states, states[-1] | THREE.ids("a", 0) | THREE.ids("a", 1))


STATES = _states()
WHOLE_FROM = {ONE.key: 4, TWO.key: 5, THREE.key: 6}
"""The state of ``licenses`` from which a night is whole, by its key."""


def write_lake(
    dest: str,
    table_format: str,
    *,
    catalog: str | None = None,
    restarts: bool = True,
    kills: tuple[int, str] | None = None,
) -> None:
    """Write all nights, or what is left of them.

    The third one discards the lost one because it ``restarts``, or because of its other key: of two
    writers that restart each starts a run.

    ``kills`` is a step of a local lake, see ``stepped``; the steps are printed.
    """
    chosen = WantedFormat(name=table_format, catalog=catalog)
    with stepped(Steps(*kills) if kills else None):
        store = open_store(dest, StoreSettings(takes_over=True, upload_bytes=32 << 20))
        for night in (ONE, TWO, LOST, THREE):
            _write(store, chosen, night, restarts=restarts)


def _write(store: Store, chosen: WantedFormat, night: Night, *, restarts: bool) -> None:
    """Write a night, unless it is complete, or is to be lost and another one came after it."""
    with writer_lock(store):
        keys = {run.key for run in load_lake(store).runs.values()}
        if night is LOST and THREE.key in keys:
            return
        lake = LakeWriter(store, chosen)
        run = open_run(
            lake,
            request={"night": night.key},
            accounts=[*night.accounts],
            mode=night.mode,
            restart=restarts and night is THREE and LOST.key in keys,
            key=night.key,
            publish=night.publish,
        )
        if run.is_complete:
            return
        writer = DatasetWriter(store, run, schema=SCHEMA, options=OPTIONS)
        try:
            _write_run(lake, run, writer, night)
        except BaseException:
            writer.discard()  # As the job does.
            raise


def _write_run(lake: LakeWriter, run: RunState, writer: DatasetWriter, night: Night) -> None:
    for account in night.accounts:
        while run.point(account).pages < night.failing.get(account, PAGES):
            if night is LOST and run.commits:
                return
            _write_page(lake, run, writer, night, account)
    failed = dict.fromkeys(night.failing, "gone")
    keeps = carrying(lake.store, run, failed, batch_bytes=2_000)
    complete_run(lake, run, writer, Ending(engine="fast", keeps=keeps))


def _write_page(
    lake: LakeWriter, run: RunState, writer: DatasetWriter, night: Night, account: str
) -> None:
    before = run.point(account)
    prefix = f"{night.key}-{account}-{before.pages}"
    writer.write_whole(license_batch(0, PAGE_ROWS, prefix), [(account, PAGE_ROWS)])
    moved = ResumePoint(
        cursor=str(before.pages + 1),
        is_done=before.pages + 1 == PAGES,
        rows=before.rows + PAGE_ROWS,
        pages=before.pages + 1,
    )
    lake.commit(run, Promise(files=writer.finish(), points={account: moved}))
