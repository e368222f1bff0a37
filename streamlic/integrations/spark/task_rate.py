"""The token's rate while tasks land: permits that the driver leases, or an equal part for each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamlic.errors import UsageError
from streamlic.integrations.spark.permits import Permits, budgeted, lease_permits
from streamlic.share import Share
from streamlic.truto.rate_limit import LocalBudget, RateLimit, parse_rate_limit
from streamlic.truto.settings import ConnectionSettings

if TYPE_CHECKING:
    from pyspark import SparkContext

_LOG = logging.getLogger("streamlic")


@dataclass(frozen=True)
class TaskRate:
    """How the tasks of a run, and its driver, count their requests.

    ``part`` is that of each where no permits are leased. Without one nothing is limited.
    """

    permits: Permits | None
    part: RateLimit | None

    def settings(self, settings: ConnectionSettings) -> ConnectionSettings:
        """Return settings with the budget of this process."""
        return settings if self.part is None else budgeted(settings, self.permits, self.part)


def task_rate(
    context: SparkContext, settings: ConnectionSettings, slots: int, *, leases: bool
) -> TaskRate:
    """Return the rate of settings, divided among so many tasks at once and the driver.

    Raises UsageError for a budget that cannot reach executors.
    """
    if isinstance(settings.budget, LocalBudget):
        raise UsageError(
            "expected a budget that other processes share, such as LeasedBudget, got a LocalBudget"
        )
    limit = _limit(settings)
    if limit is None or settings.budget:
        return TaskRate(None, None)
    permits = None
    if leases:
        host = str(context.getConf().get("spark.driver.host"))
        bind_host = str(context.getConf().get("spark.driver.bindAddress", host))
        try:
            permits = lease_permits(limit, host=host, bind_host=bind_host, port=0)
        except UsageError as error:
            _LOG.warning("no permits are leased, and each task has an equal part: %s", error)
    return TaskRate(permits, limit.share(slots + 1, slots + 1))


def settings_of_tasks(settings: ConnectionSettings) -> ConnectionSettings:
    """Return the settings for executors: the URL is the driver's, the budget comes later."""
    return replace(
        settings, token=settings.token_source(), base_url=settings.url(), token_share=None
    )


def _limit(settings: ConnectionSettings) -> RateLimit | None:
    """Return the limit of the token, or the share of it that these settings have."""
    limit, share = settings.token_rate_limit, settings.token_share
    limit = parse_rate_limit(limit, "token_rate_limit") if isinstance(limit, str) else limit
    share = Share.parse(share, "token_share") if isinstance(share, str) else share
    if limit is None or settings.account_rate_limit() is None:
        return None
    return limit.share(share.number, share.of) if share else limit
