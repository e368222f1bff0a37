"""The options that commands share, and what the accounts and the connection they name are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from streamlic.cli.accounts_file import read_file
from streamlic.cli.types import Number, Size, license_fields
from streamlic.cli.watch import choose_format, log_of_command
from streamlic.errors import UsageError
from streamlic.formatting import counted
from streamlic.resources.licenses import PRODUCTS
from streamlic.system.machine import default_memory_bytes
from streamlic.terminal.log import FORMATS
from streamlic.truto.query import parse_remote_query, split_assignment
from streamlic.truto.request import RESPONSE_FORMATS, LicensesRequest

if TYPE_CHECKING:
    from streamlic.truto.accounts import IntegratedAccount
    from streamlic.truto.client import Connection
    from streamlic.truto.credentials import TokenSource
    from streamlic.truto.retry import Retry, RetryPolicy
    from streamlic.truto.timeouts import Timeouts

Command = Callable[..., Any]
_SOME = 3
_ANY_ACCOUNT = "00000000-0000-0000-0000-000000000000"


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Give a command several options, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


machine_options = (
    click.option("--engine", type=click.Choice(["auto", "reference", "fast"]), default="auto",
                 show_default=True, help="What decodes; auto is the fastest installed."),
    click.option("--memory", "memory_bytes", type=Size(), default=default_memory_bytes,
                 show_default="256MiB, or 3/4 of the container's limit where that is less",
                 help="What the whole process aims to stay within; at least 128MiB."),
)  # fmt: skip

job_options = options(
    click.option("--rows-at", metavar="PATH", default="result", show_default=True,
                 help="Dotted path to the rows in the body's envelope."),
    *machine_options,
    click.option("--part-bytes", type=Size(least=16 << 10), default="128MiB", show_default=True,
                 help="Size at which a part file is complete; at least 16KiB."),
    click.option("--commit-seconds", type=Number(0), default=300, show_default=True,
                 help="The longest time that whole pages wait for a commit."),
    click.option("--compression", type=click.Choice(["zstd", "snappy", "none"]), default="zstd",
                 show_default=True, help="Compression of the Parquet files."),
    click.option("--max-record-bytes", type=Size(1 << 10, 1 << 30),
                 help="The most that one record may take; more is an error. "
                 "By default a twelfth of --memory beyond 96MiB, with the reference engine a "
                 "third of that; at most 64MiB."),
    click.option("--max-depth", type=click.IntRange(5, 512), default=128, show_default=True,
                 help="The most brackets that may be open at once; more is an error."),
    click.option("--mode", type=click.Choice(["error", "append", "overwrite"]), default="error",
                 show_default=True, help="What to do where DEST holds a finished dataset."),
    click.option("--absent-accounts", type=click.Choice(["keep", "drop"]), default="keep",
                 show_default=True, help="What --mode overwrite does with rows of accounts that "
                 "were not read to the end."),
    click.option("--restart", is_flag=True,
                 help="Discard an unfinished run in DEST and begin anew."),
    click.option("--strict", is_flag=True,
                 help="Fail at the first value that does not fit its column."),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object."),
    click.option("--quiet", is_flag=True, help="Show no progress, only warnings and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Show every page and every retry."),
    click.option("--log-format", type=click.Choice(FORMATS), default="text", show_default=True,
                 callback=choose_format, is_eager=True, expose_value=False,
                 help="What standard error holds: a display or lines, or JSON, a line an event."),
)  # fmt: skip

request_options = (
    click.option("--product", type=click.Choice(PRODUCTS),
                 help="Product to list; Microsoft 365 accounts need it."),
    click.option("--organization-id", metavar="ID",
                 help="Organization; Cisco Meraki, ClickUp and GitHub accounts need it."),
    click.option("--limit", type=int, metavar="N", help="Records a page."),
    click.option("--ignore-limit", is_flag=True, help="Ask for everything in one body."),
    click.option("--key-by", metavar="FIELD", shell_complete=license_fields,
                 help="Ask for an object keyed by this field; each record keeps its key."),
    click.option("--exclude-field", "exclude_fields", metavar="F", multiple=True,
                 shell_complete=license_fields, help="A license's field to leave out; may repeat."),
    click.option("--ignore-remote-data", is_flag=True, help="Leave remote_data out."),
    click.option("--remote-query", "remote_query", metavar="K=V", multiple=True,
                 help="Parameter for the remote API, K or K[SUB] or K[]; may repeat."),
    click.option("--query", "query", metavar="K=V", multiple=True,
                 help="Any further unified parameter, e.g. updated_at[gt]=2026-01-01; may repeat."),
    click.option("--response-format", type=click.Choice(RESPONSE_FORMATS), default="stream",
                 show_default=True, help="What the API is asked to send."),
)  # fmt: skip

connection_options = (
    click.option("--base-url", metavar="URL", envvar="TRUTO_API_BASE_URL",
                 default="https://api.truto.one", show_default=True, show_envvar=True,
                 help="Where the API is."),
    click.option("--allow-http", is_flag=True, help="Let the token travel unencrypted."),
    click.option("--token-file", type=click.Path(), metavar="F",
                 help="File with the API token; otherwise TRUTO_API_TOKEN holds it."),
    click.option("--ca-file", type=click.Path(), metavar="F",
                 help="Certificates (PEM) of authorities to trust beside the system's."),
    click.option("--rate-limit", default="50/10s", show_default=True, metavar="N/Ss|none",
                 help="The account's rate limit, or no pacing."),
)  # fmt: skip


def read_timeout(default_seconds: float) -> Callable[[Command], Command]:
    """Return the option that says how long a command waits for a byte."""
    return click.option(
        "--read-timeout", type=click.FloatRange(0, min_open=True), metavar="S",
        default=default_seconds, show_default=True,
        help="Seconds to wait for an answer's first byte, and between two bytes.",
    )  # fmt: skip


waiting_options = (
    read_timeout(300),
    click.option("--retry-for", type=click.FloatRange(0), metavar="S", default=900,
                 show_default=True,
                 help="Seconds from its first failure for which a page is asked for again; four "
                 "attempts at least, however long they take."),
)  # fmt: skip

guard_options = (
    click.option("--max-pages", type=int, metavar="N", default=1_000_000, show_default=True,
                 help="The most pages that an account may have; more is an error."),
    click.option("--max-records", type=int, metavar="N",
                 help="The most records that an account may have; more is an error."),
    click.option("--max-body-bytes", type=Size(least=1 << 10), default="1TiB", show_default=True,
                 help="The most that one body may hold, decompressed; more is an error."),
)  # fmt: skip

account_filters = (
    click.option("--integration", metavar="NAME",
                 help="Of all accounts only those of this integration."),
    click.option("--tenant", metavar="ID", help="Of all accounts only those of this tenant."),
)  # fmt: skip


def connection_named(given: dict[str, Any]) -> Connection:
    """Return the connection that the options describe; warn where others can read its token."""
    from streamlic.truto.credentials import readable_by_others
    from streamlic.truto.retry import RetryPolicy
    from streamlic.truto.timeouts import Timeouts

    token = given["token_file"]
    if token and (mode := readable_by_others(token)):
        log_of_command().warning(
            f"others can read the token file {token} (mode {mode:04o}): chmod 600 {token}"
        )
    return connection_of(
        given,
        Timeouts(silence_seconds=given["read_timeout"]),
        RetryPolicy(retry_for_seconds=given["retry_for"]),
    )


def connection_of(
    given: dict[str, Any], timeouts: Timeouts, retry: RetryPolicy | None = None
) -> Connection:
    """Return the connection that the options describe, that waits so long."""
    from streamlic.truto.client import Connection
    from streamlic.truto.rate_limit import parse_rate_limit

    return Connection(
        token_named(given),
        base_url=_base_url_of(given),
        allow_http=given["allow_http"],
        ca_file=given["ca_file"],
        rate_limit=parse_rate_limit(given["rate_limit"]),
        timeouts=timeouts,
        retry=retry,
    )


def _base_url_of(given: dict[str, Any]) -> str:
    """Return where the API is. To Click an empty variable is none, and would lead to production."""
    from streamlic.truto.credentials import base_url_from_environment

    context = click.get_current_context()
    if context.get_parameter_source("base_url") is not ParameterSource.DEFAULT:
        return str(given["base_url"])
    [option] = (one for one in context.command.params if one.name == "base_url")
    return base_url_from_environment(option.envvar or ())


def token_named(given: dict[str, Any]) -> TokenSource:
    """Return where the options say that the token is."""
    from streamlic.truto.credentials import TokenSource

    token = given["token_file"]
    return TokenSource.from_file(token) if token else TokenSource.from_environment()


def requests_named(given: dict[str, Any]) -> list[LicensesRequest]:
    """Return the requests of the accounts that --account and --accounts-file name."""
    shared, file, is_all = _shared(given), given["accounts_file"], given["all_accounts"]
    if is_all and (given["accounts"] or file):
        raise UsageError("--all-accounts goes without --account and --accounts-file")
    if not is_all and (given["integration"] or given["tenant"]):
        raise UsageError("--integration and --tenant choose among --all-accounts")
    if not (is_all or given["accounts"] or file):
        raise UsageError("which accounts? Give --account, --accounts-file or --all-accounts")
    requests = [_of_account(shared, account) for account in given["accounts"]]
    if file:
        named = "standard input" if file == "-" else file
        of_file = _requests_of_file(file, named, shared)
        known = {request.account for request in requests}
        both = [request.account for request in of_file if request.account in known]
        if both:
            raise UsageError(f"{named}: {both[0]} is given by --account too (--accounts-file)")
        requests += of_file
    return requests


async def accounts_found(
    given: dict[str, Any], connection: Connection
) -> tuple[list[IntegratedAccount], str | None]:
    """Ask for the accounts that there are; where the filters leave none, say which there are."""
    from streamlic.truto.accounts import why_none

    on_retry = None if given.get("quiet") else _tell_retry
    filters = {"integration": given["integration"], "tenant": given["tenant"]}
    async with connection:
        found = await _listed(connection, filters, on_retry)
        if found or not any(filters.values()):
            return found, None
        return [], why_none(await _listed(connection, {}, on_retry), **filters)


async def _listed(
    connection: Connection,
    filters: dict[str, str | None],
    on_retry: Callable[[Retry], None] | None,
) -> list[IntegratedAccount]:
    from streamlic.truto.accounts import integrated_accounts

    listed = integrated_accounts(connection, **filters, on_retry=on_retry)
    # A live list may name one twice, as accounts come and go between its pages.
    return list({one.id: one async for one in listed}.values())


def _tell_retry(retry: Retry) -> None:
    log_of_command().event(
        "retry",
        f"attempt {retry.attempt} to list the accounts failed: {retry.error}\n"
        f"trying again in {retry.wait_seconds:.1f} s",
        attempt=retry.attempt,
        kind=type(retry.error).__name__,
        message=str(retry.error),
        wait_seconds=round(retry.wait_seconds, 3),
    )


async def requests_of_all(
    given: dict[str, Any], connection: Connection
) -> tuple[list[LicensesRequest], dict[str, str]]:
    """Return the requests of all accounts that can be read, and why each other one cannot."""
    found, none = await accounts_found(given, connection)
    if none:
        raise UsageError(none)
    readable, skipped = readable_of(found)
    if not readable:
        raise UsageError(f"none of {counted(len(found), 'account')} can be read (--all-accounts)")
    shared = _shared(given)
    return [_of_account(shared, one.id) for one in readable], skipped


def readable_of(
    found: list[IntegratedAccount],
) -> tuple[list[IntegratedAccount], dict[str, str]]:
    """Return the accounts that can be read, and why each other one cannot.

    The log says how many these are, and machines which.
    """
    skipped = {one.id: one.why_not for one in found if one.why_not}
    for why in sorted(set(skipped.values())):
        ids = [account for account, reason in skipped.items() if reason == why]
        are = "is" if len(ids) == 1 else "are"
        text = f"skipped {counted(len(ids), 'account')} that {are} {why}: {_some(ids)}"
        log_of_command().event("skipped", text, accounts=len(ids), why=why, ids=ids)
    return [one for one in found if not one.why_not], skipped


def _shared(given: dict[str, Any]) -> LicensesRequest:
    """Return what the command asks of every account; it stands for none yet."""
    names = ("product", "organization_id", "limit", "ignore_limit", "key_by", "exclude_fields",
             "ignore_remote_data", "response_format")  # fmt: skip
    return LicensesRequest(
        account=_ANY_ACCOUNT,
        remote_query=parse_remote_query(given["remote_query"]),
        query=tuple(split_assignment(text, "--query") for text in given["query"]),
        **{name: given[name] for name in names},
    )


def _of_account(shared: LicensesRequest, account: str) -> LicensesRequest:
    return replace(shared, account=account)


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:_SOME]) + (", ..." if len(ids) > _SOME else "")


def _requests_of_file(name: str, where: str, shared: LicensesRequest) -> list[LicensesRequest]:
    try:
        if name != "-":
            with Path(name).open("rb") as file:
                return read_file(file, shared, where)
        if sys.stdin is None:
            raise UsageError("standard input is closed (--accounts-file)")
        return read_file(sys.stdin.buffer, shared, where)
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror} (--accounts-file)") from error
