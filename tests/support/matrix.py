"""A small lake that processes write while they are killed or stopped, and what it must have.

Its nights: ``one`` is shown as it commits; ``two`` overwrites it, reads one account and carries the
other one over; ``lost`` is not finished; ``three`` discards it and adds rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

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
PAGE_ROWS = 3
OPTIONS = WriteOptions(compression="none")
CATALOG = "matrix"
"""The name of the Iceberg catalog. Each lake has a namespace of its own."""
FORMATS = ("parquet", "delta", "iceberg")
ONE, TWO, LOST, THREE = "one", "two", "lost", "three"
"""The keys of the nights."""


@dataclass(frozen=True)
class Night:
    """A run of the lake, by its key."""

    key: str
    pages: int
    """Of each account."""
    mode: str = "append"
    publish: str = "complete"
    failing: Mapping[str, int] = field(default_factory=dict)
    """Accounts that fail after so many pages."""
    accounts: Sequence[str] = ("a", "b")

    def ids(self, account: str, page: int) -> Ids:
        """Return the ids of a page."""
        return frozenset(f"{self.key}-{account}-{page}-{row}" for row in range(PAGE_ROWS))

    def ids_of(self, account: str) -> Ids:
        """Return the ids of all pages of an account."""
        return Ids().union(*(self.ids(account, page) for page in range(self.pages)))


@dataclass(frozen=True)
class Nights:
    """The nights of a lake whose accounts have so many pages."""

    pages: int = 2

    @cached_property
    def all(self) -> Mapping[str, Night]:
        """All of them, by their keys, in the order in which they are written."""
        nights = (
            Night(ONE, self.pages, publish="commits"),
            Night(TWO, self.pages, mode="overwrite", failing={"b": 1}),
            Night(LOST, self.pages),
            Night(THREE, self.pages, accounts=("a",)),
        )
        return {night.key: night for night in nights}

    @cached_property
    def states(self) -> Sequence[Ids]:
        """All that readers of ``licenses`` may see, in order."""
        states, one = [Ids()], self.all[ONE]
        for account in one.accounts:
            for page in range(self.pages):
                states += [states[-1] | one.ids(account, page)]
        states += [one.ids_of("b") | self.all[TWO].ids_of("a")]
        return (*states, states[-1] | self.all[THREE].ids_of("a"))

    @cached_property
    def whole_from(self) -> Mapping[str, int]:
        """The state of ``licenses`` from which a night is whole, by its key."""
        last = len(self.states) - 1
        return {ONE: last - 2, TWO: last - 1, THREE: last}


def write_lake(
    dest: str,
    table_format: str,
    *,
    pages: int,
    catalog: str | None = None,
    restarts: bool = True,
    kills: tuple[int, str] | None = None,
) -> None:
    """Write all nights, or what is left of them; accounts have so many ``pages``.

    The third one discards the lost one because it ``restarts``, or because of its other key: of two
    writers that restart each starts a run.

    ``kills`` is a step of a local lake, see ``stepped``; the steps are printed.
    """
    chosen = WantedFormat(name=table_format, catalog=catalog)
    with stepped(Steps(*kills) if kills else None):
        store = open_store(dest, StoreSettings(takes_over=True, upload_bytes=32 << 20))
        for night in Nights(pages).all.values():
            _write(store, chosen, night, restarts=restarts)


def _write(store: Store, chosen: WantedFormat, night: Night, *, restarts: bool) -> None:
    """Write a night, unless it is complete, or is to be lost and another one came after it."""
    with writer_lock(store):
        keys = {run.key for run in load_lake(store).runs.values()}
        if night.key == LOST and THREE in keys:
            return
        lake = LakeWriter(store, chosen)
        run = open_run(
            lake,
            request={"night": night.key},
            accounts=[*night.accounts],
            mode=night.mode,
            restart=restarts and night.key == THREE and LOST in keys,
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
        while run.point(account).pages < night.failing.get(account, night.pages):
            if night.key == LOST and run.commits:
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
        is_done=before.pages + 1 == night.pages and account not in night.failing,
        rows=before.rows + PAGE_ROWS,
        pages=before.pages + 1,
    )
    lake.commit(run, Promise(files=writer.finish(), points={account: moved}))
