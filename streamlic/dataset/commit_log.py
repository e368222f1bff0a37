"""The commit log: what each run promised, in which order, and where each account continues.

Layout, in the lake::

    _streamlic/<run>/request.json              what was requested
    _streamlic/<run>/commits/00000001.json     one promise: part files and resume points
    _streamlic/<run>/staging/<part file>       part files that readers do not see yet
    _streamlic/<run>/replaced.json             a later run has replaced the run's licenses
    _streamlic/<run>/unfinished                exists until all the run's work is done
    _streamlic/<run>/removed.json              the run no longer counts, and is being deleted

Rules:
1. Each record holds its own SHA-256 and that of the file before it (the first one that of
   ``request.json``), so that a missing or altered record is noticed.
2. ``unfinished`` comes first and goes last: a complete run that still has it is not yet reported.
3. Only the holder of the dataset's lock writes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset.lake import LOG_DIRECTORY
from streamlic.dataset.records import VERSION, AccountDetails, PartFile, json_bytes, parsed, written
from streamlic.dataset.run_state import RunState
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.base import Store

_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def run_ids(store: Store) -> list[str]:
    """Return the ids of the runs that have a directory, removed ones included, oldest first."""
    return [name for name in store.names(LOG_DIRECTORY) if _RUN_ID.fullmatch(name)]


def load_runs(store: Store) -> list[RunState]:
    """Return the dataset's runs, oldest first, each with its commit records folded."""
    return sorted(each_run(store), key=lambda run: run.started_at)


def each_run(store: Store) -> Iterator[RunState]:
    """Yield the runs as they are loaded, in the order of their ids."""
    runs = (load_run(store, run_id) for run_id in run_ids(store))
    return (run for run in runs if run)


def load_run(store: Store, run_id: str) -> RunState | None:
    """Return a run as its records describe it; None for one that has no request or is removed.

    A writer may remove it meanwhile: an error counts if the log gives it twice in a row.
    """
    before = ""
    while True:
        try:
            return _load_run(store, run_id)
        except (IntegrityError, StoreError) as error:
            if str(error) == before:
                raise
            before = str(error)


def create_run(
    store: Store,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str,
    replaces: list[str],
    skipped: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    key: str | None = None,
    publish: str = "complete",
    details: Mapping[str, AccountDetails] | None = None,
) -> RunState:
    """Start a run: its request is then durable."""
    now = datetime.now(UTC)  # With microseconds: two runs of a second are different nights.
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    body = {
        "version": VERSION,
        "run": run_id,
        "started_at": written(now),
        "key": key,
        "mode": mode,
        "publish": publish,
        "accounts": accounts,
        "details": {account: asdict(one) for account, one in (details or {}).items()},
        "replaces": replaces,
        "skipped": dict(skipped or {}),
        "settings": dict(settings or {}),
        "request": request,
    }
    data = json_bytes(body)
    store.create(_name(run_id, "unfinished"), b"")
    store.create(_name(run_id, "request.json"), data)
    run = RunState.of(body, data)
    store.make_directory(run.staging)
    return run


def append(store: Store, run: RunState, record: Mapping[str, Any]) -> None:
    """Make a run's next record durable, and fold it."""
    data = json_bytes(record)
    store.create(_name(run.id, f"commits/{record['number']:08d}.json"), data)
    run.fold(record, data)


def is_unfinished(store: Store, run_id: str) -> bool:
    """Return whether some of the run's work is left, after its last commit too."""
    return store.exists(_name(run_id, "unfinished"))


def mark_finished(store: Store, run_id: str) -> None:
    """Record that no work of a complete run is left."""
    store.delete(_name(run_id, "unfinished"))


def is_removed(store: Store, run_id: str) -> bool:
    """Return whether the run's removal has started."""
    return store.exists(_name(run_id, "removed.json"))


def mark_removed(store: Store, run_id: str) -> bool:
    """Record that the run no longer counts; return False if it has no log."""
    if not store.names(_name(run_id)):
        return False
    if not is_removed(store, run_id):
        store.create(_name(run_id, "removed.json"), b"{}\n")
    return True


def mark_replaced(store: Store, run_id: str) -> None:
    """Record that a later run has replaced the run's rows."""
    if not _is_replaced(store, run_id):
        store.create(_name(run_id, "replaced.json"), b"{}\n")


def delete_log(store: Store, run_id: str) -> None:
    """Delete the log of a removed run, the record of its removal last."""
    for inner in ("staging", "commits"):
        store.delete_tree(_name(run_id, inner))
    store.delete(_name(run_id, "request.json"))
    store.delete_tree(_name(run_id))


def is_started(store: Store, run_id: str) -> bool:
    """Return whether the run has a request, or records that depend on one."""
    return store.exists(_name(run_id, "request.json")) or bool(
        store.names(_name(run_id, "commits"))
    )


def delete_partial_files(store: Store, run_id: str) -> None:
    """Delete what a process left that died while it created a file of the log."""
    for place in (_name(run_id), _name(run_id, "commits")):
        for name in store.names(place):
            if name.startswith("."):
                store.delete(f"{place}/{name}")


def _load_run(store: Store, run_id: str) -> RunState | None:
    if is_removed(store, run_id) or not is_started(store, run_id):
        return None
    where = _name(run_id, "request.json")
    if not store.exists(where):
        raise IntegrityError(f"{store.where(where)} is missing, and commit records depend on it")
    data = store.read(where)
    try:
        run = RunState.of(parsed(data, where), data)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: not a run's request: {error!r}") from error
    run.is_replaced = _is_replaced(store, run_id)
    if run.id != run_id:
        raise IntegrityError(f"{where}: it names another run, {run.id}")
    _fold_records(store, run)
    return run


def license_files_with(
    store: Store, run: RunState, accounts: Collection[str | None]
) -> Iterator[PartFile]:
    """Yield the run's part files of licenses that may have rows of these accounts.

    Those are the files of commits in which one of them moved, or was carried over. A commit that
    supersedes files may have any of their rows.
    """
    wanted = {account or "" for account in accounts}
    by_name = {file.name: file for file in run.license_files}
    for _, _, record in _records(store, run.id):
        moved = record["accounts"].keys() | record["carried_over"].keys()
        if record["superseded"] or not wanted.isdisjoint(moved):
            names = (file["name"] for file in record["files"])
            yield from (by_name[name] for name in names if name in by_name)


def _is_replaced(store: Store, run_id: str) -> bool:
    return store.exists(_name(run_id, "replaced.json"))


def _fold_records(store: Store, run: RunState) -> None:
    """Fold the commit records, in order; IntegrityError if one is missing or altered.

    No later record can notice that the last one is missing; its part files do.
    """
    for where, data, record in _records(store, run.id):
        expected = run.commits + 1
        if not where.endswith(f"/{expected:08d}.json"):
            raise IntegrityError(f"{where}: expected commit record {expected}, which is missing")
        try:
            run.fold(record, data)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{where}: not a valid commit record: {error}") from error


def _records(store: Store, run_id: str) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield each commit record in order: its name, its bytes and its body."""
    commits = _name(run_id, "commits")
    for name in store.names(commits):
        if not name.startswith("."):
            where = f"{commits}/{name}"
            data = store.read(where)
            yield where, data, parsed(data, where)


def _name(run_id: str, inner: str = "") -> str:
    return f"{LOG_DIRECTORY}/{run_id}" + (f"/{inner}" if inner else "")
