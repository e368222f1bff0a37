"""Which run a destination is given: a new one, an unfinished one, or a refusal that says why."""

from __future__ import annotations

from typing import Any

from streamlic.commits import PART_PREFIX, Run, begin_run, recover, remove_run
from streamlic.errors import DatasetConflict, UsageError
from streamlic.store import LOG_DIRECTORY, LocalStore

MODES = ("error", "append", "overwrite")


def open_run(
    store: LocalStore,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str = "error",
    restart: bool = False,
) -> Run:
    """Recover the destination, then go on with its unfinished run or begin one.

    The caller holds ``store.lock()``. ``restart`` discards an unfinished run with all its rows.
    Raises DatasetConflict, with the options that help, where the destination holds something else:
    an unfinished run of another request, a finished dataset under ``mode`` "error", or files that
    are not streamlic's.
    """
    if mode not in MODES:
        raise UsageError(f"expected one of {', '.join(MODES)}, got {mode!r} (--mode)")
    runs = recover(store)
    unfinished = [run for run in runs if not run.is_complete]
    for run in unfinished:
        if restart:
            remove_run(store, run.id)
        else:
            _check_same(run, request, accounts, mode)
            run.is_resumed = True
            store.make_directory(run.staging)
            return run
    finished = [run for run in runs if run.is_complete]
    if finished and mode == "error":
        rows = sum(run.rows for run in finished)
        raise DatasetConflict(
            f"{store.root} holds a finished dataset of {rows} rows: "
            "add to it with --mode append, or replace it with --mode overwrite"
        )
    _check_nothing_foreign(store, finished)
    replaces = [run.id for run in finished] if mode == "overwrite" else []
    return begin_run(store, request=request, accounts=accounts, mode=mode, replaces=replaces)


def _check_same(run: Run, request: dict[str, Any], accounts: list[str | None], mode: str) -> None:
    differences = [
        f"{name} was {_shown(before)}, now is {_shown(now)}"
        for name, before, now in [
            ("the mode", run.mode, mode),
            ("the list of accounts", run.accounts, accounts),
            *((key, run.request.get(key), request.get(key)) for key in {**run.request, **request}),
        ]
        if before != now
    ]
    if differences:
        raise DatasetConflict(
            f"{run.store.root} holds an unfinished run of another request ({run.rows} rows): "
            f"{'; '.join(differences)}. Run the same command again to go on with it, discard it "
            "with --restart, or choose another DEST"
        )


def _check_nothing_foreign(store: LocalStore, finished: list[Run]) -> None:
    promised = {file.name for run in finished for file in run.files}
    foreign = [name for name in store.names() if name != LOG_DIRECTORY and name not in promised]
    if foreign:
        raise DatasetConflict(
            f"{store.root} holds files that are not streamlic's, such as {foreign[0]!r} "
            f"(part files are called {PART_PREFIX}*): choose an empty or new DEST"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
