"""A reader that looks at a small lake all the while. It finds rows without the log.

Delta and Iceberg tables must always be one of the states that the lake goes through, in order. A
directory of Parquet files has no transaction: while a night is published, a reader sees some of its
files, or those of the night that it replaces, too. The newest night in ``runs`` is whole always.
"""

from __future__ import annotations

import io
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import ObjectStore

from streamlic.dataset.lake import run_of
from tests.support.matrix import CATALOG, Nights
from tests.support.nights import Poller

Rows = list[dict[str, Any]]
_PAUSE_SECONDS = {"parquet": 0.1, "delta": 0.5, "iceberg": 1.0}
"""A look is up to dozens of requests: without a pause, looks take more than what they look at."""


class Vanished(Exception):
    """A file was deleted between the listing and its reading: look again."""


class Reader(Poller):
    """Reads the tables of a lake in a bucket, below a prefix, or at a URL."""

    def __init__(
        self, files: ObjectStore, prefix: str, url: str, table_format: str,
        env: Mapping[str, str], *, nights: Nights,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pause_seconds = _PAUSE_SECONDS[table_format]
        self._turn = threading.Lock()
        self._files = files
        self.namespace = prefix
        """Of the lake's Iceberg tables."""
        self._prefix = prefix
        self._url = url
        self._format = table_format
        self._env = env
        self._nights = nights
        self._state = 0
        self._contents: dict[tuple[str, str], bytes] = {}
        self.looks = 0

    def check_end(self) -> None:
        """Compare all three tables with what they must be when all nights were written."""
        self.look()
        assert not self.wrong, self.wrong
        ids, nights = self._column("licenses", "id"), self._column("runs", "run_key")
        assert Counter(ids) == dict.fromkeys(self._nights.states[-1], 1), sorted(ids)
        assert Counter(nights) == dict.fromkeys(self._nights.whole_from, 1), nights
        accounts = self._rows("accounts", ["_run", "integrated_account_id"])
        assert len({tuple(row.values()) for row in accounts}) == len(accounts) == 5

    def look(self) -> None:
        """Look once. ``runs`` comes first: what is in it must be whole in the other tables."""
        with self._turn:  # The test looks, too: at what each death leaves.
            self._look()

    def _look(self) -> None:
        nights = self._column("runs", "run_key")
        assert max(Counter(nights).values(), default=1) == 1, nights
        if self._format == "parquet":
            self._look_at_files(nights)
        else:
            self._look_at_table(nights)
        self.looks += 1

    def _look_at_table(self, nights: Sequence[str]) -> None:
        ids = self._column("licenses", "id")
        assert len({*ids}) == len(ids), f"doubled: {Counter(ids).most_common(3)}"
        states = self._nights.states
        assert frozenset(ids) in states, f"neither before nor after a commit: {sorted(ids)}"
        state = states.index(frozenset(ids))
        assert state >= self._state, f"readers saw state {self._state}, and now {state}"
        self._state = state
        for night in nights:
            assert state >= self._nights.whole_from[night], (
                f"{night} is in runs, and licenses are at {state}"
            )

    def _look_at_files(self, nights: Sequence[str]) -> None:
        try:
            found = self._files_of("licenses", ["id"])
        except Vanished:
            return
        # Of the run whose file it is: rows that were carried over have another one in ``_run``.
        rows = [(run_of(name), row["id"]) for name, part in found.items() for row in part]
        assert len({*rows}) == len(rows), f"doubled: {Counter(rows).most_common(3)}"
        early = found.keys() - self._shown_files()
        assert not early, f"{early}, which the log does not show yet"
        if self._column("runs", "run_key") != nights:
            return  # Another night has just been published, and its rows may replace these.
        newest = max((self._nights.whole_from[night] for night in nights), default=0)
        ids = frozenset(id_ for _, id_ in rows)
        lost = self._nights.states[newest] - ids
        assert not lost, f"{nights} are in runs, and licenses lack {sorted(lost)}"

    def _shown_files(self) -> set[str]:
        """Return the names of the part files that the log, read after the rows, shows."""
        directory = f"{self._prefix}/_streamlic/log/"
        shown, commits = set[str](), set[str]()
        promised: dict[str, set[str]] = defaultdict(set)
        for key, tag in self._keys(directory).items():
            if key.rpartition("/")[2].startswith("."):
                continue  # A disk's file in progress.
            record = json.loads(self._get(key, tag))
            if record["kind"] == "begin" and record["publish"] == "commits":
                commits.add(record["run"])
            if record["kind"] in ("commit", "complete"):
                run = record["run"]
                promised[run] |= {file["name"] for file in record["files"]}
                promised[run] -= {*record["superseded"]}
                if record["kind"] == "complete" or run in commits:
                    shown |= promised[run]
        return shown

    def _column(self, table: str, column: str) -> list[Any]:
        while True:
            try:
                return [row[column] for row in self._rows(table, [column])]
            except Vanished:
                pass

    def _rows(self, table: str, columns: list[str]) -> Rows:
        """Return the rows of a table as its readers see it; none if there is no table."""
        if self._format == "delta":
            return _delta_rows(f"{self._url}/{table}", columns, self._env)
        if self._format == "iceberg":
            return _iceberg_rows(self.namespace, table, columns)
        return [row for part in self._files_of(table, columns).values() for row in part]

    def _files_of(self, table: str, columns: list[str]) -> dict[str, Rows]:
        """Return the rows of each Parquet file in a table's directory, by its name in the lake."""
        return {
            key.removeprefix(f"{self._prefix}/"): pq.ParquetFile(io.BytesIO(self._get(key, tag)))
            .read(columns=columns)
            .to_pylist()
            for key, tag in self._keys(f"{self._prefix}/{table}/").items()
            if key.endswith(".parquet")
        }

    def _keys(self, directory: str) -> dict[str, str]:
        """Return the files in a directory, with their entity tags."""
        found = obstore.list(self._files, directory.strip("/")).collect()
        return {one["path"]: one["e_tag"] or "" for one in sorted(found, key=itemgetter("path"))}

    def _get(self, key: str, tag: str) -> bytes:
        """Return the content that has this tag. It is read once: so there is time to look often."""
        if not tag or (key, tag) not in self._contents:
            try:
                self._contents[key, tag] = bytes(obstore.get(self._files, key).bytes())
            except FileNotFoundError as error:
                raise Vanished(key) from error
        return self._contents[key, tag]


def _delta_rows(url: str, columns: list[str], env: Mapping[str, str]) -> Rows:
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        table = DeltaTable(url, storage_options={**env})
    except TableNotFoundError:
        return []
    rows: Rows = pa.table(table.to_pyarrow_table(columns=columns)).to_pylist()
    return rows


def _iceberg_rows(namespace: str, table: str, columns: list[str]) -> Rows:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.utils.config import Config
    from sqlalchemy.exc import OperationalError

    # What pyiceberg reads from the environment by itself, it reads once.
    properties: Any = Config().get_catalog_config(CATALOG)
    try:
        found = load_catalog(CATALOG, **properties).load_table((namespace, table))
    except NoSuchTableError:
        return []
    except OperationalError as error:
        if "already exists" not in str(error):
            raise
        return []  # The writer has just created the catalog's own tables, and none of the lake's.
    rows: Rows = found.scan(selected_fields=tuple(columns)).to_arrow().to_pylist()
    return rows
