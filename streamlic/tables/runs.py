"""Which run a destination is given: a new one, an unfinished one, or a refusal with the reason."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset.commit_log import in_full, load_lake
from streamlic.dataset.destination import active_shard
from streamlic.dataset.lake import foreign_names, names_in_tables, run_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import AccountDetails, Shards, WantedFormat
from streamlic.dataset.run_state import PUBLISH, RunState
from streamlic.errors import DatasetConflict, UsageError
from streamlic.formatting import counted
from streamlic.storage.base import Store
from streamlic.tables.base import LakeWriter, prepare_directories
from streamlic.tables.kept_accounts import check_same_table, check_schemas, replaced_by
from streamlic.tables.table_options import format_for

MODES = ("error", "append", "overwrite")


def open_run(
    lake: LakeWriter,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str = "error",
    restart: bool = False,
    keeps_accounts: bool = False,
    skipped: Mapping[str, str] | None = None,
    carries_over: bool = True,
    settings: Mapping[str, Any] | None = None,
    key: str | None = None,
    publish: str = "complete",
    details: Mapping[str, AccountDetails] | None = None,
    shards: int = 0,
) -> RunState:
    """Recover the destination, then resume its unfinished run or start one.

    A run that completed but was not reported is returned again if the request is the same: another
    run would add all its rows again.
    The caller holds the dataset's lock. ``restart`` discards an unfinished run with all its rows;
    one of another request that has no rows yet is discarded anyway.
    ``keeps_accounts`` resumes an unfinished run with its own accounts, whatever ``accounts`` are.
    ``skipped`` are accounts that cannot be read, with the reasons; a new run remembers them.
    ``carries_over``: an overwriting run keeps the rows of accounts that it does not read.
    ``settings`` are not part of the request: a later process may have others.
    ``key`` names the run: a run with this key that is complete is returned as it is, and an
    unfinished run with another key makes way for it.
    ``publish`` says when readers see the run's rows: when it is "complete", or as it "commits".
    ``details`` are what is known of accounts; a new run remembers them.
    ``shards`` is how many processes read the run, each a shard of its accounts; 0 for one process.
    Raises DatasetConflict, with the options that help, if the destination holds something else: an
    unfinished run of another request, a finished dataset under ``mode`` "error", rows of another
    schema that would have to be kept or that would be added, or foreign files. Raises
    IntegrityError if the commit log is damaged.
    """
    store = lake.store
    if mode not in MODES:
        raise UsageError(f"expected one of {', '.join(MODES)}, got {mode!r}", parameter="mode")
    if publish not in PUBLISH:
        raise UsageError(
            f"expected one of {', '.join(PUBLISH)}, got {publish!r}", parameter="publish"
        )
    if publish == "commits" and mode == "overwrite":
        raise UsageError(
            "a run that overwrites can only be published when it is complete", parameter="publish"
        )
    request = json.loads(json.dumps(request))  # As the log returns it: tuples are lists.
    runs = lake.open(leaves_unfinished=restart)
    unfinished = [run for run in runs if not run.is_complete]
    finished = [run for run in runs if run.is_complete]

    def differences_of(run: RunState) -> list[str]:
        asked = _asked(mode, publish, key, shards)
        # Of a run that has expired the accounts are not known any more.
        keeps = keeps_accounts or run.is_expired
        return _differences(run, request, run.accounts if keeps else accounts, asked)

    named = [run for run in runs if key is not None and run.key == key]
    if named and named[-1].is_complete and not restart:  # After a restart there may be several.
        run = in_full(store, named[-1])
        _check_same_key(run, differences_of(run))
        run.is_repeated = True
        return run
    unreported = [run for run in finished if run.completed_unreported and not restart]
    for run in (in_full(store, run) for run in unreported):
        if not differences_of(run):
            run.is_resumed = True
            return run
    if unfinished and not restart:
        run = unfinished[0]
        differences = differences_of(run)
        makes_way = key is not None and run.key is not None and run.key != key
        restart = bool(differences) and (makes_way or _is_empty(store, run))
        if differences and not restart:
            raise DatasetConflict(
                f"{store.where()} holds an unfinished run of another request "
                f"({counted(run.rows, 'row')}): {'; '.join(differences)}",
                advice="repeat that request to resume the run, discard it with {restart=True}, "
                "or choose another {dest}",
            )
    if unfinished and not restart:
        # A lost commit record leaves its part files, and their rows would be fetched again.
        check_nothing_foreign(store, lake.lake, runs, is_in_place=lake.format.is_in_place)
        if carries_over and mode == "overwrite":
            check_schemas(store, run.request, run.accounts, replaced_by(store, run))
        lake.check_tables(run)
        run.is_resumed = True
        prepare_directories(store, run)
        return run
    if finished and mode == "error":
        rows = sum(run.rows for run in finished if run.has_licenses)
        raise DatasetConflict(
            f"{store.where()} already holds {counted(rows, 'license')}",
            advice="add to it with {mode=append}, or replace it with {mode=overwrite}",
        )
    now = datetime.now(UTC)  # With microseconds: two runs of a second are different nights.
    live = [run for run in finished if run.has_licenses]
    replaced = live if mode == "overwrite" else []
    if mode == "append" and lake.format.partition_by:  # A day is a partition of its own.
        replaced = [run for run in live if run.started_at.date() == now.date()]
    if replaced and publish == "commits":
        raise UsageError(
            "a run that replaces the earlier one of its day can only be published when it is "
            "complete",
            parameter="publish",
        )
    if carries_over and mode == "overwrite":
        check_schemas(store, request, accounts, replaced)
    if mode == "append":
        check_same_table(store, request, finished)
    if any(run.shards.of for run in unfinished) and (writer := active_shard(store)):
        raise DatasetConflict(
            f"{store.where()} holds an unfinished run that others read: {writer}",
            advice="wait for it, or end it",
        )
    lake.remove(*(run.id for run in unfinished))
    check_nothing_foreign(store, lake.lake, finished, is_in_place=lake.format.is_in_place)
    new = RunState(
        id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        started_at=now,
        request=request,
        accounts=accounts,
        mode=mode,
        replaces=[run.id for run in replaced],
        skipped=dict(skipped or {}),
        settings=dict(settings or {}),
        key=key,
        publish=publish,
        format=lake.format,
        shards=Shards(of=shards),
        details={account: one for account, one in (details or {}).items()},  # noqa: C416
    )
    lake.check_tables(new)
    started = lake.begin(new)
    started.discarded = [run for run in unfinished if run.commits]
    return started


def run_of_key(store: Store, key: str) -> RunState | None:
    """Return the newest run with this key, complete or not; None if there is none."""
    runs = load_lake(store).newest_first
    found = next((run for run in runs if run.key == key), None)
    return in_full(store, found) if found else None


def shared_run(
    store: Store,
    *,
    request: Mapping[str, Any],
    accounts: list[str | None],
    mode: str,
    keeps_accounts: bool,
    key: str,
    publish: str,
    shards: int,
    wanted: WantedFormat | None,
) -> RunState | None:
    """Return the run with this key that other shards read too; None if it is not started.

    Raises DatasetConflict if it is the run of another request. One that no shard has claimed may
    make way for another: ``open_run`` decides.
    """
    run = run_of_key(store, key)
    if run is None:
        return None
    asked_for = json.loads(json.dumps(request))
    keeps = keeps_accounts or run.is_expired
    asked = _asked(mode, publish, key, shards)
    differences = _differences(run, asked_for, run.accounts if keeps else accounts, asked)
    if differences and not (run.is_complete or run.shards.epochs):
        return None
    _check_same_key(run, differences)
    format_for(store.where(), wanted, run.format)
    return run


def _asked(mode: str, publish: str, key: str | None, shards: int) -> dict[str, str | int | None]:
    return {
        "the mode": mode,
        "publish": publish,
        "the run key": key,
        "the number of shards": shards or None,
    }


def _check_same_key(run: RunState, differences: list[str]) -> None:
    if differences:
        raise DatasetConflict(
            f"the run key {run.key} is that of another request: {'; '.join(differences)}",
            advice="give each request a key of its own with {run_key}",
        )


def _differences(
    run: RunState,
    request: dict[str, Any],
    accounts: list[str | None],
    asked: Mapping[str, str | int | None],
) -> list[str]:
    before = _asked(run.mode, run.publish, run.key, run.shards.of)
    differences = [
        f"{name} was {_shown(before)}, now is {_shown(now)}"
        for name, before, now in [
            *((name, before[name], asked[name]) for name in asked),
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


def _is_empty(store: Store, run: RunState) -> bool:
    """Return whether a run has promised nothing, and readers see no part file of it."""
    parts = (name for name in names_in_tables(store) if run_of(name) == run.id)
    return not run.commits and not any(parts)


def check_nothing_foreign(
    store: Store, lake: LakeState, runs: list[RunState], *, is_in_place: bool
) -> None:
    """Raise DatasetConflict for files that neither these runs nor a table format has written.

    ``is_in_place`` says that the format's own log tells which part files count.
    """
    foreign = foreign_names(store)
    if not is_in_place:
        promised = {one.file.name for one in lake.live_rewritten}
        promised |= {file.name for run in runs if run.is_published for file in run.live_files}
        foreign += [name for name in names_in_tables(store) if name not in promised]
    if foreign:
        raise DatasetConflict(
            f"{store.where()} holds files that are not in the commit log, such as {foreign[0]!r}: "
            "readers may take them for rows",
            advice="move them elsewhere (`streamlic verify` names all of them), or choose another "
            "{dest}",
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
