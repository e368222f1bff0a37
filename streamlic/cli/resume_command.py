"""The command that resumes an unfinished run, as far as the commit log knows it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_MOST_ACCOUNTS = 3
_FLAGS = ("ignore_limit", "ignore_remote_data")
_VALUES = ("product", "organization_id", "limit", "key_by")
_DEFAULTS = {"response_format": "stream", "rows_at": "result"}


def command_of(
    dest: str,
    *,
    request: dict[str, Any],
    mode: str,
    accounts: Sequence[str | None],
    settings: Mapping[str, Any],
) -> str:
    """Return a command with the request and the settings of a run.

    The log has no connection options, and a command has no options that differ between accounts.
    """
    is_body = "source" in request
    words = ["convert", str(request["source"]), dest] if is_body else ["export", dest]
    words += _body_options(request, accounts) if is_body else _export_options(request, accounts)
    if mode != "error":
        words += ["--mode", mode]
    if settings.get("absent_accounts", "keep") != "keep":
        words += ["--absent-accounts", settings["absent_accounts"]]
    if settings.get("skip_failed"):
        words.append("--skip-failed")
    return shlex.join(["streamlic", *words])


def add_resume_commands(dest: str, runs: Iterable[dict[str, Any]]) -> None:
    """Add ``resume_command`` to each run of an inspection: None if the run is complete."""
    for run in runs:
        accounts = run.pop("account_ids")
        run["resume_command"] = (
            None
            if run["complete"]
            else command_of(
                dest,
                request=run["request"],
                mode=run["mode"],
                accounts=accounts,
                settings=run["settings"],
            )
        )


def _body_options(request: dict[str, Any], accounts: Sequence[str | None]) -> Iterator[str]:
    for account in filter(None, accounts):
        yield from ("--account", account)
    yield from _changed(request, "rows_at")
    if "key_by" in request:
        yield from ("--key-by", request["key_by"])
    if request["ndjson"] is not None:
        yield "--lines" if request["ndjson"] else "--no-lines"
    if request["raw"]:
        yield "--raw"


def _export_options(request: dict[str, Any], accounts: Sequence[str | None]) -> Iterator[str]:
    all_of = request.get("all_of")
    if all_of is not None:
        yield "--all-accounts"
        for name, value in all_of.items():
            if value is not None:
                yield from (_option(name), value)
    elif len(accounts) > _MOST_ACCOUNTS or "differing" in request:
        yield from ("--accounts-file", "FILE")
    else:
        for account in filter(None, accounts):
            yield from ("--account", account)
    for name in _VALUES:
        if request.get(name) is not None:
            yield from (_option(name), str(request[name]))
    for name in _FLAGS:
        if request.get(name):
            yield _option(name)
    for field in request.get("exclude_fields", ()):
        yield from ("--exclude-field", field)
    for name in ("remote_query", "query"):
        for key, value in request.get(name, ()):
            yield from (_option(name), f"{key}={value}")
    for name in _DEFAULTS:
        yield from _changed(request, name)


def _changed(request: dict[str, Any], name: str) -> list[str]:
    value = request.get(name, _DEFAULTS[name])
    return [] if value == _DEFAULTS[name] else [_option(name), value]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
