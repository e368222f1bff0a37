"""The options that commands share, by the groups in which ``--help`` lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from streamlic.cli.help import Command, group
from streamlic.cli.settings import default_of
from streamlic.cli.types import Number, Size, license_fields
from streamlic.cli.watch import choose_format
from streamlic.job.limits import Limits
from streamlic.job.settings import JobSettings
from streamlic.resources.base import Kind, Parameter
from streamlic.resources.licenses import LICENSES
from streamlic.terminal.log import FORMATS
from streamlic.truto.credentials import DEFAULT_BASE_URL
from streamlic.truto.rate_limit import ACCOUNT_RATE_LIMIT
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.timeouts import Timeouts

account = group("Accounts")
request = group("Request")
connection = group("Connection")
limit = group("Limits")
resource = group("Memory and speed")
file = group("Parquet files")
dataset = group("Dataset")
table_format = group("Table format")
object_store = group("Object stores")
body = group("Bodies")
output = group("Output")


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Give a command several options, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


account_filters = (
    account("--integration", metavar="NAME", help="Only accounts of this integration."),
    account("--tenant", metavar="ID", help="Only accounts of this tenant."),
)


def request_option(parameter: Parameter) -> Callable[[Command], Command]:
    """Return the option for a parameter of a resource."""
    attributes: dict[str, Any] = {"help": parameter.help}
    match parameter.kind:
        case Kind.FLAG:
            attributes["is_flag"] = True
        case Kind.CHOICE:
            attributes["type"] = click.Choice(parameter.choices)
            attributes |= {"default": parameter.default, "show_default": bool(parameter.default)}
        case Kind.NUMBER:
            attributes["type"] = int
        case Kind.FIELD | Kind.FIELDS:
            attributes["shell_complete"] = license_fields
    if parameter.metavar:
        attributes["metavar"] = parameter.metavar
    if parameter.is_repeated:
        attributes["multiple"] = True
    return request(f"--{parameter.option}", parameter.name, **attributes)


request_options = tuple(request_option(one) for one in LICENSES.parameters)

connection_options = (
    connection("--base-url", metavar="URL", envvar="TRUTO_API_BASE_URL", default=DEFAULT_BASE_URL,
               show_default=True, show_envvar=True, help="URL of the API."),
    connection("--allow-http", is_flag=True, help="Allow plain HTTP: the token is not encrypted."),
    connection("--token-file", type=click.Path(), metavar="F",
               help="File with the API token; by default the token is read from TRUTO_API_TOKEN."),
    connection("--ca-file", type=click.Path(), metavar="F",
               help="CA certificates (PEM) to trust in addition to the system's."),
    connection("--rate-limit", metavar="N/Ss|none", show_default=True,
               default=f"{ACCOUNT_RATE_LIMIT.requests}/{ACCOUNT_RATE_LIMIT.window_seconds:g}s",
               help="Rate limit of each account; none turns it off."),
    connection("--token-share", metavar="I/N", **default_of(ConnectionSettings, "token_share"),
               help="Use only share I of N equal shares of the token's rate limit, as 2/4, where N "
               "processes use one token at once."),
)  # fmt: skip


def read_timeout(seconds: float | None = None) -> Callable[[Command], Command]:
    """Return the option for the longest silence of the server, with a default of its own."""
    default = {"default": seconds, "show_default": True} if seconds else (
        default_of(Timeouts, "silence_seconds"))  # fmt: skip
    option: Callable[[Command], Command] = connection(
        "--read-timeout", type=click.FloatRange(0, min_open=True), metavar="S", **default,
        help="Seconds to wait for the first byte of a response, and between two bytes.",
    )  # fmt: skip
    return option


retry_options = (
    read_timeout(),
    connection("--retry-for", type=click.FloatRange(0), metavar="S",
               **default_of(RetryPolicy, "retry_for_seconds"),
               help="Seconds to retry a page after its first failure; at least four attempts are "
               "made, however long they take."),
)  # fmt: skip

limit_options = (
    limit("--max-pages", type=int, metavar="N", **default_of(Limits, "max_pages"),
          help="Most pages of an account; more is an error."),
    limit("--max-records", type=int, metavar="N", **default_of(Limits, "max_records"),
          help="Most records of an account; more is an error."),
    limit("--max-body-bytes", type=Size(least=1 << 10),
          **default_of(Limits, "max_body_bytes", is_size=True),
          help="Largest body, decompressed; more is an error."),
)  # fmt: skip

decode_limit_options = (
    limit("--max-record-bytes", type=Size(1 << 10, 1 << 30),
          **default_of(JobSettings, "max_record_bytes"),
          help="Largest record; more is an error. Default: a twelfth of --memory beyond 96MiB, a "
          "third of that with the reference engine; at most 64MiB."),
    limit("--max-depth", type=click.IntRange(5, 512), **default_of(JobSettings, "max_depth"),
          help="Deepest nesting of brackets; more is an error."),
)  # fmt: skip

engine = resource(
    "--engine", type=click.Choice(["auto", "reference", "fast"]),
    **default_of(JobSettings, "engine"),
    help="Decoder; auto takes the fastest that is installed.",
)  # fmt: skip

memory = resource(
    "--memory", "memory_bytes", type=Size(), **default_of(JobSettings, "memory_bytes"),
    show_default="256MiB, or 3/4 of the container's limit where that is less",
    help="Memory that the whole process aims to stay within; at least 128MiB.",
)  # fmt: skip

report_memory = resource(
    "--memory", "memory_bytes", type=Size(), default="768MiB", show_default=True,
    help="Memory that the whole process aims to stay within; what does not fit is written to "
    "--scratch.",
)  # fmt: skip

machine_options = (engine, memory)

rows_at = body(
    "--rows-at", metavar="PATH", **default_of(JobSettings, "rows_at"),
    help="Dotted path to the rows in a body.",
)  # fmt: skip

body_options = (
    rows_at,
    body("--lines/--no-lines", "ndjson", default=None,
         help="Whether the body is newline-delimited JSON; by default decided by SOURCE's name."),
    body("--raw", is_flag=True, help="Keep each record whole, as a raw export does."),
    body("--key-by", metavar="FIELD", shell_complete=license_fields,
         help="Field that keys the rows, if they are an object."),
)  # fmt: skip
"""How ``convert`` and ``head`` read a body."""

strict = body(
    "--strict", is_flag=True, help="Fail at the first value that does not fit its "
    "column.",
)  # fmt: skip

part_bytes = file(
    "--part-bytes", type=Size(least=16 << 10),
    **default_of(JobSettings, "part_bytes", is_size=True),
    help="Size of a part file; at least 16KiB, and in an object store at most 3GiB.",
)  # fmt: skip

file_options = (
    part_bytes,
    file("--compression", type=click.Choice(["zstd", "snappy", "none"]),
         **default_of(JobSettings, "compression"), help="Compression of the Parquet files."),
    file("--commit-seconds", type=Number(0), **default_of(JobSettings, "commit_seconds"),
         help="Longest time that complete pages wait for a commit."),
)  # fmt: skip

dataset_options = (
    dataset("--mode", type=click.Choice(["error", "append", "overwrite"]),
            **default_of(JobSettings, "mode"),
            help="What to do if DEST holds a finished dataset."),
    dataset("--absent-accounts", type=click.Choice(["keep", "drop"]),
            **default_of(JobSettings, "absent_accounts"),
            help="What --mode overwrite, or another run of a partition's date, does with the rows "
            "of accounts that were not read to the end."),
    dataset("--publish", type=click.Choice(["complete", "commits"]),
            **default_of(JobSettings, "publish"),
            help="When readers see the rows of a run: when it is complete, or as it commits."),
    dataset("--run-key", metavar="KEY", **default_of(JobSettings, "run_key"),
            help="Name of the run, such as the date of a night: a command with the key of a "
            "complete run reads nothing and reports that run."),
    dataset("--restart", is_flag=True, help="Discard an unfinished run in DEST and start over."),
)  # fmt: skip


scratch = object_store(
    "--scratch", type=click.Path(), metavar="DIR", **default_of(JobSettings, "scratch"),
    help="Local directory for part files that are not uploaded yet; by default the system's "
    "temporary one.",
)  # fmt: skip

lake_options = (
    table_format("--format", type=click.Choice(["parquet", "delta", "iceberg"]),
                 **default_of(JobSettings, "format"),
                 help="How readers see the tables of a new lake, by default plain Parquet. One "
                 "that exists keeps its format, partitions and catalog: what is given must be the "
                 "same."),
    table_format("--partition-by", type=click.Choice(["export_date", "none"]),
                 **default_of(JobSettings, "partition_by"),
                 help="Give the licenses of each UTC date a partition of their own, for Delta and "
                 "Iceberg; a later run of that date in --mode append replaces it."),
    table_format("--catalog", metavar="NAME[.NAMESPACE]", **default_of(JobSettings, "catalog"),
                 help="Iceberg catalog, as pyiceberg's own configuration names it, and the "
                 "namespace of the tables; by default streamlic."),
    scratch,
)  # fmt: skip
"""How a lake is kept, wherever it is."""

take_over = object_store(
    "--take-over", is_flag=True,
    help="Take DEST from another writer at once, instead of waiting until its lease ends.",
)  # fmt: skip

json_option = output("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")

upkeep_options = (
    dataset("--dry-run", is_flag=True, help="Only say what would be done."),
    memory,
    scratch,
    take_over,
    json_option,
)
"""What ``compact`` and ``expire`` share."""


def table(about: str) -> Callable[[Command], Command]:
    """Return the option for one of a lake's tables."""
    option: Callable[[Command], Command] = dataset(
        "--table", type=click.Choice(["licenses", "accounts", "runs"]), default="licenses",
        show_default=True, help=about,
    )  # fmt: skip
    return option


output_options = (
    json_option,
    output("--quiet", is_flag=True, help="Show no progress, only warnings and errors."),
    output("-v", "--verbose", is_flag=True, help="Show every page and every retry."),
    output("--log-format", type=click.Choice(FORMATS), default="text", show_default=True,
           callback=choose_format, is_eager=True, expose_value=False,
           help="Format of standard error: text, or JSON with one event per line."),
)  # fmt: skip

job_options = options(
    strict,
    *dataset_options,
    *lake_options,
    take_over,
    *file_options,
    *decode_limit_options,
    *machine_options,
    *output_options,
)
"""The options of ``export`` and ``convert``, which has ``rows_at`` among ``body_options``."""
