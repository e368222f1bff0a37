"""A trial of what publication needs of a catalog, before anything is read.

Rules:
1. Nothing is committed. A table that is missing is only staged, which asks a REST catalog if it
   takes the table's place. So a process that dies leaves at most an empty namespace and a file of
   64 bytes, which readers do not see.
2. pyiceberg reaches the lake's files by its own settings. So it writes a file, the lake's store
   must see it, and pyiceberg must read it.
3. Libraries below pyiceberg repeat a request for many minutes, where no signal ends them. So a
   thread makes the trial, and is left alone when it takes too long.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError
from pyiceberg.io import FileIO

from streamlic.dataset.lake import LICENSES
from streamlic.errors import StoreError, StreamlicError, UsageError
from streamlic.storage.base import Store
from streamlic.tables.iceberg.catalog import OpenCatalog, is_denial, shortened, shown

TRIAL_SECONDS = 60.0
_SCHEMA = pa.schema([pa.field("id", pa.string())])
_SETTINGS = {
    "s3": ("s3.endpoint", "s3.region", "s3.access-key-id", "s3.secret-access-key"),
    "gs": ("gcs.service.host", "gcs.oauth2.token"),
    "abfss": ("adls.account-name", "adls.account-key", "adls.connection-string"),
}
"""The properties by which pyiceberg reaches files, by the schemes of their URLs."""
_ALSO = {
    "gs": "; it also takes Google's default credentials, GOOGLE_APPLICATION_CREDENTIALS",
    "abfss": "; it does not take AZURE_STORAGE_ENDPOINT: a connection string has one",
}


def try_out(
    catalog: OpenCatalog,
    store: Store,
    location: str,
    before: Callable[[], object],
) -> None:
    """Try what a commit needs: a table in ``location``, and its files.

    ``before`` runs first, within the same time. A namespace that is missing is created. Raises
    UsageError if the catalog refuses the place, or if pyiceberg's files are not the store's;
    StoreError if it cannot reach them, or not in time.
    """

    def trial() -> None:
        before()
        with catalog.translated(LICENSES):
            found = catalog.find(LICENSES)
            io = found.io if found else _staged(catalog, location)
        _try_files(catalog, io, store, location)

    late = StoreError(
        f"catalog {catalog.name}: pyiceberg did not write and read a file in"
        f" {shortened(location)} within {TRIAL_SECONDS:g} s",
        advice=_advice(catalog, location),
    )
    _within(TRIAL_SECONDS, trial, late)


def _staged(catalog: OpenCatalog, location: str) -> FileIO:
    """Stage a table, and return what reads and writes its files."""
    try:
        return _files_of_staged(catalog, location)
    except NoSuchNamespaceError:  # Not all catalogs say so before the commit.
        # It stays: Glue would delete it with the tables that a writer has created meanwhile.
        with suppress(NamespaceAlreadyExistsError):
            catalog.catalog.create_namespace(catalog.namespace)
        return _files_of_staged(catalog, location)


def _files_of_staged(catalog: OpenCatalog, location: str) -> FileIO:
    identifier = catalog.identifier(LICENSES)
    work = catalog.catalog.create_table_transaction(identifier, _SCHEMA, location=location)
    place = work.table_metadata.location.rstrip("/")
    if place != location:
        raise UsageError(
            f"catalog {catalog.name} puts the table {catalog.full_name(LICENSES)} in"
            f" {shortened(place)}, expected {location}: it chooses the places of its tables itself,"
            " and a lake needs one that takes them where the lake is",
            parameter="catalog",
        )
    return work._table.io  # noqa: SLF001  # pyiceberg has no other way to the files of a staged one


def _try_files(catalog: OpenCatalog, io: FileIO, store: Store, location: str) -> None:
    """Write a file as pyiceberg does, look at it as the lake does, and read it again."""
    file = f"metadata/streamlic-trial-{secrets.token_hex(8)}"
    name, path, data = f"{LICENSES}/{file}", f"{location}/{file}", secrets.token_bytes(64)
    try:
        with io.new_output(path).create(overwrite=True) as output:
            output.write(data)
        is_there = store.exists(name)
        with io.new_input(path).open() as input_:
            is_same = input_.read() == data
    except StreamlicError:
        raise
    except Exception as error:  # noqa: BLE001  # pyiceberg's errors have no common base
        what = "was denied" if is_denial(error) else "failed"
        # Not "from error": its text may hold what must not be shown.
        raise StoreError(
            f"catalog {catalog.name}: pyiceberg's access to files in {shortened(location)} {what}:"
            f" {shown(error, catalog.catalog.properties)}",
            advice=_advice(catalog, location),
        ) from None
    finally:
        with suppress(StoreError):
            store.delete(name)
    if not is_there:
        with suppress(Exception):
            io.delete(path)
    if not (is_there and is_same):
        raise UsageError(
            f"catalog {catalog.name}: pyiceberg wrote a file to {shortened(location)}, and it is"
            " not in the lake: pyiceberg uses another endpoint or account",
            parameter="catalog",
            advice=_advice(catalog, location),
        )


def _advice(catalog: OpenCatalog, location: str) -> str:
    scheme = location.partition("://")[0] if "://" in location else ""
    if scheme not in _SETTINGS:
        return ""
    first, *others = _SETTINGS[scheme]
    variable = f"PYICEBERG_CATALOG__{catalog.name.upper()}__"
    variable += first.upper().replace(".", "__").replace("-", "_")
    return (
        f"pyiceberg takes these properties of the catalog: {', '.join([first, *others])} (such as"
        f" {variable} in the environment){_ALSO.get(scheme, '')}"
    )


def _within(seconds: float, work: Callable[[], None], late: StreamlicError) -> None:
    """Do some work in a thread; raise ``late`` after so many seconds, and leave it to itself."""
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            work()
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001  # the caller raises it
            outcome.set_exception(error)

    Thread(target=run, name="streamlic-trial", daemon=True).start()
    try:
        outcome.result(seconds)
    except TimeoutError:
        if outcome.done():
            raise
        raise late from None
