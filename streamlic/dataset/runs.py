"""Which run a destination is given: a new one, an unfinished one, or a refusal that says why."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset.carry_over import check_schemas, replaced_by
from streamlic.dataset.commit_log import (
    PART_PREFIX,
    VERSION,
    Run,
    is_removed,
    json_bytes,
    load_runs,
    remove_run,
    request_name,
    run_ids,
    run_of,
    written,
)
from streamlic.errors import DatasetConflict, UsageError
from streamlic.formatting import counted
from streamlic.storage.local import LOG_DIRECTORY, LocalStore

MODES = ("error", "append", "overwrite")


def open_run(
    store: LocalStore,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str = "error",
    restart: bool = False,
    keeps_accounts: bool = False,
    skipped: Mapping[str, str] | None = None,
    carries_over: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Recover the destination, then go on with its unfinished run or begin one.

    A run that was complete when its process ended, before it could say so, is given once more to
    who asks for the same: to begin another would add all its rows again.
    The caller holds ``store.lock()``. ``restart`` discards an unfinished run with all its rows; one
    of another request that has come to nothing yet is discarded without being told.
    ``keeps_accounts`` goes on with an unfinished run's own accounts, whichever are given.
    ``skipped`` are accounts that cannot be read, with the reasons; a new run remembers them.
    ``carries_over`` says that an overwriting run keeps the rows of accounts that it does not read.
    ``settings`` are no part of the request: a later process may go on with others.
    Raises DatasetConflict, with the options that help, where the destination holds something else:
    an unfinished run of another request, a finished dataset under ``mode`` "error", rows of another
    schema that would have to be kept, or files that are not streamlic's. Raises IntegrityError
    where the commit log is not whole.
    """
    if mode not in MODES:
        raise UsageError(f"expected one of {', '.join(MODES)}, got {mode!r} (--mode)")
    request = json.loads(json.dumps(request))  # As the log will give it back: tuples are lists.
    runs = recover(store, leaves_unfinished=restart)
    unfinished = [run for run in runs if not run.is_complete]
    finished = [run for run in runs if run.is_complete]

    def differences_of(run: Run) -> list[str]:
        return _differences(run, request, run.accounts if keeps_accounts else accounts, mode)

    for run in finished:
        if run.completed_unreported and not restart and not differences_of(run):
            run.is_resumed = True
            return run
    if unfinished and not restart:
        run = unfinished[0]
        differences = differences_of(run)
        restart = bool(differences) and _is_empty(run)
        if differences and not restart:
            raise DatasetConflict(
                f"{store.root} holds an unfinished run of another request "
                f"({counted(run.rows, 'row')}): "
                f"{'; '.join(differences)}. Run the same command again to go on with it, discard "
                "it with --restart, or choose another DEST"
            )
    if unfinished and not restart:
        # A part file of a commit record that was lost would stand beside the rows fetched again.
        _check_nothing_foreign(store, runs)
        if carries_over:
            check_schemas(run.request, run.accounts, replaced_by(run))
        run.is_resumed = True
        store.make_directory(run.staging)
        return run
    if finished and mode == "error":
        rows = sum(run.rows for run in finished)
        raise DatasetConflict(
            f"{store.root} holds a finished dataset of {counted(rows, 'row')}: "
            "add to it with --mode append, or replace it with --mode overwrite"
        )
    replaced = finished if mode == "overwrite" else []
    if carries_over:
        check_schemas(request, accounts, replaced)
    for run in unfinished:
        remove_run(store, run.id)
    _check_nothing_foreign(store, finished)
    return begin_run(
        store,
        request=request,
        accounts=accounts,
        mode=mode,
        replaces=[run.id for run in replaced],
        skipped=skipped,
        settings=settings,
    )


def begin_run(
    store: LocalStore,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str,
    replaces: list[str],
    skipped: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Begin a run and make its request durable."""
    now = datetime.now(UTC).replace(microsecond=0)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    body = {
        "version": VERSION,
        "run": run_id,
        "started_at": written(now),
        "mode": mode,
        "accounts": accounts,
        "replaces": replaces,
        "skipped": dict(skipped or {}),
        "settings": dict(settings or {}),
        "request": request,
    }
    data = json_bytes(body)
    store.write_exclusive(request_name(run_id), data)
    run = run_of(store, body, data)
    store.make_directory(run.staging)
    return run


def recover(store: LocalStore, *, leaves_unfinished: bool = False) -> list[Run]:
    """Bring every run to what it promised; return the runs that are left, oldest first.

    ``leaves_unfinished`` spares a run that is to be discarded, which may be past recovery.
    """
    for run_id in run_ids(store):
        _tidy(store, run_id)
    runs = load_runs(store)
    unreported = {run.id for run in runs if run.is_complete and store.exists(run.staging)}
    for run in runs:
        if run.is_complete or not leaves_unfinished:
            run.recover()
    runs = load_runs(store)
    for run in runs:
        run.completed_unreported = run.id in unreported
    return runs


def _tidy(store: LocalStore, run_id: str) -> None:
    """Clear away what a process left that ended while it began or removed a run, or wrote."""
    directory = f"{LOG_DIRECTORY}/{run_id}"
    commits = f"{directory}/commits"
    if is_removed(store, run_id):
        remove_run(store, run_id)
    elif not store.exists(request_name(run_id)) and not store.names(commits):
        store.delete_tree(directory)
    else:
        for place in (directory, commits):
            for begun in store.names(place):
                if begun.startswith("."):
                    store.delete(f"{place}/{begun}")


def _differences(
    run: Run, request: dict[str, Any], accounts: list[str | None], mode: str
) -> list[str]:
    differences = [
        f"{name} was {_shown(before)}, now is {_shown(now)}"
        for name, before, now in [
            ("the mode", run.mode, mode),
            *((key, run.request.get(key), request.get(key)) for key in {**run.request, **request}),
        ]
        if before != now
    ]
    for named, others, what in [
        (accounts, run.accounts, "new"),
        (run.accounts, accounts, "gone"),
    ]:
        only = sorted(set(named) - set(others), key=str)
        if only:
            are = f"{counted(len(only), 'account')} {'is' if len(only) == 1 else 'are'}"
            differences.append(f"{are} {what}, such as {only[0]}")
    return differences


def _is_empty(run: Run) -> bool:
    """Return whether a run has promised nothing, and no part file of it is where readers look."""
    parts = (name for name in run.store.names() if name.startswith(run.part_prefix))
    return not run.commits and not any(parts)


def _check_nothing_foreign(store: LocalStore, runs: list[Run]) -> None:
    promised = {file.name for run in runs if run.is_published for file in run.files}
    foreign = [name for name in store.names() if name != LOG_DIRECTORY and name not in promised]
    if foreign:
        raise DatasetConflict(
            f"{store.root} holds files that no commit record speaks of, such as {foreign[0]!r} "
            f"(part files are called {PART_PREFIX}*): remove them, or choose an empty or new DEST"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
