"""The command that resumes an unfinished run, as far as the commit log knows it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from streamlic.job.settings import JobSettings
from streamlic.resources.base import Kind, Parameter
from streamlic.resources.licenses import LICENSES

_MOST_ACCOUNTS = 3


def command_of(
    dest: str,
    *,
    request: dict[str, Any],
    mode: str,
    publish: str = "complete",
    run_key: str | None = None,
    accounts: Sequence[str | None],
    settings: Mapping[str, Any],
    shard: str | None = None,
) -> str:
    """Return a command with the request and the settings of a run, or of a shard of it.

    The log has no connection options, and a command has no options that differ between accounts.
    """
    is_body = "source" in request
    words = ["convert", str(request["source"]), dest] if is_body else ["export", dest]
    words += _body_options(request, accounts) if is_body else _export_options(request, accounts)
    if mode != "error":
        words += ["--mode", mode]
    if publish != JobSettings.publish:
        words += ["--publish", publish]
    if run_key is not None:
        words += ["--run-key", run_key]
    if shard is not None:
        words += ["--shard", shard]
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
                publish=run["publish"],
                run_key=run["run_key"],
                accounts=accounts,
                settings=run["settings"],
                shard=_next_shard(run["shards"]),
            )
        )


def _next_shard(shards: Mapping[str, Any] | None) -> str | None:
    """Return the first shard that is left; if all have ended, any completes the run."""
    if not shards:
        return None
    busy = {*shards["ended"], *shards["active"]}
    left = (one for one in range(1, shards["of"] + 1) if one not in busy)
    return f"{next(left, 1)}/{shards['of']}"


def _body_options(request: dict[str, Any], accounts: Sequence[str | None]) -> Iterator[str]:
    for account in filter(None, accounts):
        yield from ("--account", account)
    yield from _rows_at(request)
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
                yield from (f"--{name}", value)
    elif len(accounts) > _MOST_ACCOUNTS or "differing" in request:
        yield from ("--accounts-file", "FILE")
    else:
        for account in filter(None, accounts):
            yield from ("--account", account)
    for parameter in LICENSES.parameters:
        yield from _request_options(parameter, request.get(parameter.name))
    yield from _rows_at(request)


def _request_options(parameter: Parameter, value: Any) -> Iterator[str]:
    """Yield the words that set a parameter of the request, none for its default."""
    option = f"--{parameter.option}"
    if not value or value == parameter.default:
        return
    match parameter.kind:
        case Kind.FLAG:
            yield option
        case Kind.FIELDS:
            for field in value:
                yield from (option, field)
        case Kind.NESTED | Kind.PAIRS:
            for key, text in value:
                yield from (option, f"{key}={text}")
        case _:
            yield from (option, str(value))


def _rows_at(request: dict[str, Any]) -> Iterator[str]:
    rows_at = request.get("rows_at", JobSettings.rows_at)
    if rows_at != JobSettings.rows_at:
        yield from ("--rows-at", rows_at)
