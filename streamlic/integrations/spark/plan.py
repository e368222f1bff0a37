"""What the driver decides of a read: its settings, its accounts, and which task reads which."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

from streamlic.api.listing import reading_options
from streamlic.api.selection import Selection
from streamlic.api.sync import run_sync
from streamlic.dataset.records import UNKNOWN
from streamlic.errors import UsageError
from streamlic.formatting import counted
from streamlic.integrations.spark.option_table import REQUEST_NAMES, camel_case
from streamlic.integrations.spark.packing import pack
from streamlic.integrations.spark.permits import Permits, budgeted
from streamlic.integrations.spark.reading import Reading, Wanted
from streamlic.integrations.spark.weights import known_weights
from streamlic.job.account_details import details_of
from streamlic.truto.accounts import ACCOUNTS_OF_A_PAGE
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.rate_limit import RateLimit
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings

_LOG = logging.getLogger("streamlic")
_OF_READING = ("concurrency", "engine", "rows_at", "strict", "memory_bytes")
_OF_CONNECTION = ("allow_http", "ca_file", "rate_limit", "token_rate_limit", "token_share")
_ABOUT_THE_TOKEN = frozenset({"token_file", "token_rate_limit", "token_share"})
_NAMED_ACCOUNTS = 10


@dataclass(frozen=True)
class ReadPlan:
    """A read as its options describe it. Raises UsageError for options that do not go together."""

    selection: Selection
    connection: ConnectionSettings
    permits: Permits | None
    """What tasks lease of the driver; None if each has a part of the rate."""
    given: Mapping[str, Any]
    """The options that decide how a task reads."""
    asks_details: bool
    skips_failed: bool
    slots: int
    packing_from: str | None

    @classmethod
    def of(
        cls, given: Mapping[str, Any], *, slots: int | None, permits: Permits | None = None
    ) -> Self:
        """Return the plan of options; ``slots`` is used where none of them says it.

        ``permits`` are for the token of the environment, and are used unless an option says
        something else about the token.
        """
        parameters = {name: value for name, value in given.items() if name in REQUEST_NAMES}
        sources = [
            name for name in ("accounts", "accounts_file", "all_accounts") if given.get(name)
        ]
        if len(sources) != 1:
            raise UsageError(
                "which accounts? Expected one of the options accounts, accountsFile and "
                f"allAccounts=true, got {' and '.join(map(camel_case, sources)) or 'none'}"
            )
        chosen = [name for name in ("integration", "tenant") if name in given]
        if chosen and sources != ["all_accounts"]:
            raise UsageError(f"the option {chosen[0]} needs allAccounts=true")
        selection = Selection.of(
            given.get("accounts"),
            accounts_file=given.get("accounts_file"),
            all_accounts=given.get("all_accounts", False),
            integration=given.get("integration"),
            tenant=given.get("tenant"),
            parameters=parameters,
        )
        of_reading = {name: given[name] for name in _OF_READING if name in given}
        reading_options(selection.shared, **of_reading)  # Checks them.
        slots = given.get("slots", slots)
        connection = _connection(given)
        if permits and not _ABOUT_THE_TOKEN & given.keys():
            connection = replace(connection, token_rate_limit=permits.limit)
        else:
            permits = None
        limit = connection.own_token_limit()
        if slots is None:
            raise UsageError(
                "how many tasks run at once? Register the source with "
                "streamlic.integrations.spark.register(spark), or give the option slots"
            )
        if limit and slots > limit.requests:
            raise UsageError(
                f"the token's limit of {limit} cannot be shared among {slots:,} tasks that run at "
                "once: give the option slots"
            )
        return cls(
            selection=selection,
            connection=connection,
            permits=permits,
            given=of_reading,
            asks_details=given.get("account_details", True),
            skips_failed=given.get("skip_failed", False),
            slots=slots,
            packing_from=given.get("packing_from"),
        )

    @property
    def is_raw(self) -> bool:
        """Whether the vendors' own records are read."""
        return self.selection.shared.response_format == "raw"

    def reading(self, columns: Sequence[str]) -> Reading:
        """Return what the tasks have in common if these columns are read."""
        return Reading(
            connection=self.connection,
            permits=self.permits,
            request=self.selection.shared,
            given=self.given,
            columns=tuple(columns),
            asks_details=self.asks_details,
            skips_failed=self.skips_failed,
        )

    def limit_of_a_task(self, accounts: int) -> RateLimit | None:
        """Return the part of the token's rate that a task has by itself; None for no limit.

        Without the requests with which the driver listed so many accounts: they were sent shortly
        before.
        """
        limit = self.connection.own_token_limit()
        if limit is None:
            return None
        listed = accounts // ACCOUNTS_OF_A_PAGE + 1 if self.selection.is_all else 0
        left = max(limit.requests - listed, limit.requests // 2)
        return RateLimit(max(left // self.slots, 1), limit.window_seconds)

    def bundles(self) -> list[dict[str, Wanted]]:
        """Return the accounts of each task. There is one at least.

        Raises UsageError if no account matches, or none of those that do can be read.
        """
        if self.selection.is_all:
            accounts = run_sync(self._discovered(), when_stopped="nothing was read")
        else:
            details = self.selection.details
            accounts = {
                one.account: Wanted(one, details.get(one.account, UNKNOWN))
                for one in self.selection.named
            }
        weights = {} if self.packing_from is None else known_weights(self.packing_from, accounts)
        bundles = pack(list(accounts), weights, self.slots)
        return [{one: accounts[one] for one in bundle} for bundle in bundles]

    async def _discovered(self) -> dict[str, Wanted]:
        settings = self.connection
        if self.permits:
            settings = budgeted(settings, self.permits, self.limit_of_a_task(0))
        requests, discovered = await self.selection.resolve(Connection(settings))
        if discovered.reasons:
            out = counted(len(discovered.reasons), "account")
            are = "is" if len(discovered.reasons) == 1 else "are"
            every = len(discovered.reasons) + len(requests)
            some = islice(discovered.reasons.items(), _NAMED_ACCOUNTS)
            named = ", ".join(f"{one} ({why})" for one, why in some)
            _LOG.warning(
                "%s of %s cannot be read now and %s left out: %s", out, f"{every:,}", are, named
            )
        details = {one.id: details_of(one) for one in discovered.readable}
        return {one.account: Wanted(one, details[one.account]) for one in requests}


def _connection(given: Mapping[str, Any]) -> ConnectionSettings:
    """Return the settings; the URL is the driver's, the token is read where it is used."""
    token_file = given.get("token_file")
    others = {name: given[name] for name in _OF_CONNECTION if name in given}
    if "retry_for_seconds" in given:
        others["retry"] = RetryPolicy(retry_for_seconds=given["retry_for_seconds"])
    settings = ConnectionSettings(
        token=TokenSource.from_environment()
        if token_file is None
        else TokenSource.from_file(token_file),
        base_url=given.get("base_url"),
        **others,
    )
    return ConnectionSettings(token=settings.token, base_url=settings.url(), **others)
