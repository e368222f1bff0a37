"""``export_with_spark`` as a program, for ``spark-submit`` and ``python -m``.

::

    spark-submit --master spark://HOST:7077 run.py DEST --all-accounts --run-key nightly

where ``run.py`` has two lines::

    from streamlic.integrations.spark.__main__ import main
    main()

The options have the names of ``streamlic export``. The summary is printed as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from streamlic.api.selection import Selection
from streamlic.errors import StreamlicError
from streamlic.integrations.spark.landing import land
from streamlic.integrations.spark.option_table import REQUEST_NAMES, camel_case, read_options
from streamlic.job.options import JobOptions
from streamlic.truto.credentials import TokenSource
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings

_JOB_TEXTS = (
    "engine", "rows_at", "compression", "mode", "absent_accounts", "max_absent", "publish",
    "run_key", "format", "partition_by", "catalog", "scratch",
)  # fmt: skip
_JOB_NUMBERS = {
    "memory_bytes": int,
    "part_bytes": int,
    "max_record_bytes": int,
    "concurrency": int,
    "commit_seconds": float,
}
_JOB_FLAGS = ("strict", "restart", "skip_failed", "take_over")
_CONNECTION_TEXTS = ("base_url", "ca_file", "rate_limit", "token_rate_limit", "token_share")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the export that the arguments describe, and exit as ``streamlic export`` does."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    given = vars(_parser().parse_args(arguments))
    given = {name: value for name, value in given.items() if value not in (None, False, [])}
    try:
        summary = _export(given)
    except StreamlicError as error:
        sys.stderr.write(f"error: {error.with_advice(option_of)}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(dataclasses.asdict(summary)) + "\n")


def option_of(parameter: str, value: str = "") -> str:
    """Return a parameter of Python as this program spells it: ``--rows-at``."""
    name = {"token": "token_file"}.get(parameter, parameter)
    option = f"--{name.replace('_', '-')}"
    return option if value in ("", "True") else f"{option} {value}"


def _export(given: dict[str, Any]) -> Any:
    requested = {camel_case(one): given[one] for one in REQUEST_NAMES if one in given}
    parameters = read_options(requested)
    selection = Selection.of(
        given.get("account"),
        all_accounts=given.get("all_accounts", False),
        integration=given.get("integration"),
        tenant=given.get("tenant"),
        parameters=parameters,
        accounts_file=given.get("accounts_file"),
    )
    of_job = {one: given[one] for one in (*_JOB_TEXTS, *_JOB_NUMBERS, *_JOB_FLAGS) if one in given}
    options = JobOptions(raw=selection.shared.response_format == "raw", **of_job)
    connection = _connection(given)
    from pyspark.sql import SparkSession  # noqa: PLC0415  (the options are checked without it)

    spark = SparkSession.builder.appName(f"streamlic export to {given['dest']}").getOrCreate()
    try:
        return land(
            spark,
            given["dest"],
            selection,
            options,
            connection=connection,
            slots=given.get("slots"),
            leases=not given.get("no_leases", False),
        )
    finally:
        spark.stop()


def _connection(given: dict[str, Any]) -> ConnectionSettings:
    settings = {one: given[one] for one in _CONNECTION_TEXTS if one in given}
    if "token_file" in given:
        settings["token"] = TokenSource.from_file(given["token_file"])
    if "retry_for" in given:
        settings["retry"] = RetryPolicy(retry_for_seconds=given["retry_for"])
    return ConnectionSettings(allow_http=given.get("allow_http", False), **settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamlic.integrations.spark",
        description="Export accounts' licenses to DEST by tasks on a Spark cluster. The token is "
        "in TRUTO_API_TOKEN of the driver and of each executor, or in a file on each of them.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("dest", metavar="DEST", help="a directory that all machines share, or an object store")
    add("--account", action="append", metavar="ID", help="account to read; can be repeated")
    add("--accounts-file", metavar="FILE", help="file of accounts, as of streamlic export")
    add("--all-accounts", action="store_true", help="read all that Truto lists as active")
    add("--integration", metavar="NAME", help="with --all-accounts: only of this integration")
    add("--tenant", metavar="ID", help="with --all-accounts: only of this tenant")
    add("--slots", type=int, metavar="N", help="tasks at once; by default the cluster's cores")
    add("--no-leases", action="store_true", help="give each task a fixed share of the rate limit")
    add("--token-file", metavar="FILE", help="file with the token, on each machine")
    add("--allow-http", action="store_true", help="let the token travel unencrypted")
    add("--retry-for", type=float, metavar="SECONDS", help="how long a page is retried")
    for name in (*_CONNECTION_TEXTS, *_JOB_TEXTS):
        add(option_of(name), metavar="TEXT", help=f"as of streamlic export: {name}")
    for name, kind in _JOB_NUMBERS.items():
        add(option_of(name), type=kind, metavar="N", help=f"as JobOptions.{name}, of each task")
    for name in _JOB_FLAGS:
        add(option_of(name), action="store_true", help=f"as of streamlic export: {name}")
    for name in sorted(REQUEST_NAMES):
        add(option_of(name), metavar="VALUE", help=f"parameter of the request: {name}")
    return parser


if __name__ == "__main__":
    main()
