"""What a report is asked for, and which nights of a lake that is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from streamlic.answers.lake_sql import LakeSql, Night, quoted
from streamlic.errors import UsageError

WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a report is asked for. Nights are named by run key, run id or UTC date."""

    as_of: str | None = None
    """The night to report; None is the newest."""
    compare: str | None = None
    """The night to compare it with; None is the newest that is a week older, or more."""
    integration: str | None = None
    tenant: str | None = None
    top: int = 10
    """How many rows of each table come first."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """What one unit of a currency is worth in ``currency``."""
    currency: str | None = None
    """The currency that all costs are converted to; None leaves each in its own."""


@dataclass(frozen=True, kw_only=True)
class Asked(Question):
    """A question to a lake, with the lake's nights that it is about."""

    night: Night
    before: Night | None
    """The night that ``night`` is compared with."""


def night_named(sql: LakeSql, name: str) -> Night:
    """Return the night of a run key, a run's id or a UTC date; UsageError names those there are."""
    for one in reversed(sql.nights):
        if name in (one.key, one.run, one.at[:10], one.day.isoformat()):
            return one
    known = ", ".join(one.label for one in sql.nights[-5:])
    raise UsageError(
        f"there is no night {name!r}: expected a run key, a run's id or a date such as "
        f"{sql.nights[-1].day}; the newest are {known}",
    )


def asked_of(sql: LakeSql, question: Question) -> Asked:
    """Return a question with its nights: by default the newest one, and the one a week before.

    If no night is a week older, it is the oldest. A lake that was overwritten has one night.
    """
    if not sql.nights:
        raise UsageError("the licenses of all nights have expired")
    night = night_named(sql, question.as_of) if question.as_of else sql.nights[-1]
    earlier = [one for one in sql.nights if one.at < night.at]
    before: Night | None = None
    if question.compare:
        before = night_named(sql, question.compare)
        if before == night:
            raise UsageError(f"expected another night than {night.label} to compare it with")
    elif earlier:
        older = [one for one in earlier if one.day <= night.day - WEEK]
        before = older[-1] if older else earlier[0]
    return Asked(**vars(question), night=night, before=before)


def filter_of(asked: Asked) -> str:
    """Return the condition by which a question chooses licenses."""
    wanted = {"integration": asked.integration, "tenant_id": asked.tenant}
    parts = [f"{name} = {quoted(value)}" for name, value in wanted.items() if value is not None]
    return " and ".join(parts) or "true"
