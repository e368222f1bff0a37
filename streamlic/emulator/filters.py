"""Which parameters a list of the emulator knows, and its filters by time.

A parameter that would be ignored is refused instead: a pipeline that relies on it would get all
rows and take them for the chosen ones.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from streamlic.emulator.asked import Asked
from streamlic.emulator.changes import Tonight
from streamlic.emulator.planned import refused
from streamlic.emulator.records import CYCLE, Shape, license_record, template_number

_FIELDS = ("updated_at", "created_at")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_BY_TIME = re.compile(rf"({'|'.join(_FIELDS)})\[({'|'.join(_OPERATORS)})\]")
_INDEX = re.compile(r"\[\d*\]$")
_LICENSES = frozenset({
    "integrated_account_id", "truto_response_format", "product", "organization_id", "limit",
    "next_cursor", "truto_key_by", "truto_ignore_limit", "truto_ignore_remote_data",
    "truto_exclude_fields", "truto_super_query",
})  # fmt: skip
"""``truto_super_query`` reads Truto's synced store: here it has what the vendor has."""


@dataclass(frozen=True)
class TimeFilter:
    """A condition on a time: ``updated_at`` or ``created_at``, compared with a moment.

    As in a database, a license without this time does not meet it.
    """

    field: str
    operator: str
    moment: datetime

    def holds(self, moment: datetime | None) -> bool:
        """Whether a moment meets the condition."""
        return moment is not None and _OPERATORS[self.operator](moment, self.moment)


def time_filters(asked: Asked) -> tuple[TimeFilter, ...]:
    """Return the filters of a list of licenses. Refusal for a parameter that it does not know."""
    found = []
    for name, value in asked.query:
        if name in _LICENSES or value in ("", "None") or name.startswith("remote_query["):
            continue
        if match := _BY_TIME.fullmatch(name):
            moment = _moment(value)
            if moment is None:
                raise refused(400, f"{name} must be an ISO 8601 date or time")
            found.append(TimeFilter(match[1], match[2], moment))
        else:
            check_known(name, _LICENSES)
    return tuple(found)


def check_known(name: str, known: frozenset[str]) -> None:
    """Refusal if a list does not know a parameter; arrays have an index in their name."""
    if _INDEX.sub("", name) not in known:
        raise refused(400, f"{name} is not a parameter that the emulator knows here")


def chosen(
    tonight: Tonight, filters: Sequence[TimeFilter], seed: int, account: str, integration: str
) -> Tonight:
    """Return those of a night's licenses that meet all filters."""
    holds = {
        field: _templates(seed, integration, tuple(one for one in filters if one.field == field))
        for field in _FIELDS
    }
    holds_both = [all(one) for one in zip(*holds.values(), strict=True)]
    first = template_number(account, 0)

    def is_chosen(number: int) -> bool:
        at = (first + number) % CYCLE
        change = tonight.changed.get(number)
        if change is None:
            return holds_both[at]
        now = {"updated_at": change.updated, "created_at": change.created}
        meets = (one.holds(moment) for one in filters if (moment := now[one.field]))
        return all(meets) and (change.created is not None or holds["created_at"][at])

    return Tonight([one for one in tonight.numbers if is_chosen(one)], tonight.changed)


@lru_cache(maxsize=64)
def _templates(seed: int, integration: str, filters: tuple[TimeFilter, ...]) -> list[bool]:
    """Return of each template whether it meets the filters."""
    shape = Shape(integration=integration)
    offset = template_number("", 0)
    found = [True] * CYCLE
    for number in range(CYCLE if filters else 0):
        record = license_record(seed, "", number, shape)
        found[(offset + number) % CYCLE] = all(
            one.holds(_moment(record.get(one.field))) for one in filters
        )
    return found


def _moment(value: Any) -> datetime | None:
    """Return a vendor's time, None if it is not one; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
