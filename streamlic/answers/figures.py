"""The report's figures: a few queries over a lake, each a small table.

Rules:
1. Licenses are read once a question, and grouped at once: however many rows a lake has, what stays
   in memory is one row a customer, vendor, product, currency and night.
2. Each figure has its coverage: of how many licenses it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from streamlic.answers.changes import changes_by, compared, moved_between, night_changes
from streamlic.answers.lake_sql import LakeSql, Night, quoted
from streamlic.answers.question import Asked, filter_of
from streamlic.dataset.records import NOT_ASKED_FOR
from streamlic.errors import UsageError

MOST_LICENSES: Final = 10_000
"""How many single licenses a table lists at most."""

_SEATS: Final = """
  sum(licenses)::bigint as licenses,
  sum(with_seats)::bigint as with_seats,
  sum(unlimited)::bigint as unlimited,
  sum(seats)::bigint as seats,
  sum(assigned_seats)::bigint as assigned_seats,
  sum(unused_seats)::bigint as unused_seats,
  sum(over_assigned_seats)::bigint as over_assigned_seats,
  sum(with_cost)::bigint as with_cost
"""
_SUMS: Final = f"""{_SEATS},
  round(fsum(cost), 2) as cost,
  round(fsum(unused_cost), 2) as unused_cost
"""
_GROUPED: Final = """
  count(*) as licenses,
  count(unused_seats) as with_seats,
  count(*) filter (is_unlimited) as unlimited,
  sum(seats) filter (unused_seats is not null) as seats,
  sum(assigned_seats) filter (unused_seats is not null) as assigned_seats,
  sum(unused_seats) as unused_seats,
  sum(over_assigned_seats) as over_assigned_seats,
  count(unused_cost) as with_cost,
  sum(cost) filter (unused_cost is not null) as cost,
  round(fsum(unused_cost), 2) as unused_cost
"""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What the figures of a night are about. Filters choose the accounts, too."""

    accounts: int
    """The accounts that are known by that night."""
    asked_for: int
    """Those that its run asked for. The others have the licenses of the last run that read them."""
    expired: int
    """Those whose last licenses the lake has no longer."""
    not_compared: int
    """Those that the earlier night had not read: what changed leaves them out."""
    more_unused_seats: int | None
    """How many more paid seats are unused than in the earlier night; None without one."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Who pays for how many seats, which are unused, and how that changed.

    Each table is an Arrow table. Costs are by currency; a null currency has no cost. ``tables``
    has them by name, in the order of the page.
    """

    asked: Asked
    nights: Sequence[Night]
    coverage: Coverage
    totals: pa.Table
    """One row for paid, free and unknown licenses each."""
    costs: pa.Table
    """One row a currency, of paid licenses."""
    vendors: pa.Table
    products: pa.Table
    customers: pa.Table
    wasted: pa.Table
    """The paid licenses with the most unused cost if all prices are in one currency, else seats."""
    over_assigned: pa.Table
    trend: pa.Table
    """One row a night."""
    changes_by_vendor: pa.Table
    """Seats bought, assigned and freed between the two nights, of all licenses."""
    changes_by_customer: pa.Table
    changes_by_night: pa.Table
    """The same for each night, since the one before it."""
    movements: pa.Table
    """The largest changes of single licenses between the two nights."""
    not_read: pa.Table
    """Accounts that the night could not read, and since when their licenses are."""

    def _repr_html_(self) -> str:
        """Return the page, for a notebook."""
        from html import escape  # noqa: PLC0415

        from streamlic.answers.page import page  # noqa: PLC0415  # it imports this

        html = escape(page(self, "Python"), quote=True)
        return f'<iframe srcdoc="{html}" style="width: 100%; height: 40em; border: 0"></iframe>'

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, pa.Table)}


def figures(sql: LakeSql, asked: Asked) -> Report:
    """Return the figures. Raises UsageError if no license is left by the filters."""
    for statement in _prepared(asked, sql.nights):
        sql.connection.execute(statement)
    if not sql.one("select count(*) as n from groups")["n"]:
        raise UsageError(_nothing(asked))

    def table(query: str) -> pa.Table:
        return sql.connection.sql(query).to_arrow_table()

    def by(columns: str, order: str, source: str = "groups where kind = 'paid'") -> pa.Table:
        return table(_BY.format(columns=columns, order=order, source=source))

    [priced] = sql.rows("select count(distinct currency) as n from groups where with_cost > 0")
    # Costs are compared in one currency only.
    is_comparable = priced["n"] == 1
    worst = "max(unused_cost) desc nulls last, " if is_comparable else ""
    worst += "unused_seats desc nulls last, "

    return Report(
        asked=asked,
        nights=sql.nights,
        coverage=_coverage(sql, asked),
        totals=by("kind", "list_position(['paid', 'unknown', 'free'], kind)", "groups"),
        costs=table(
            f"select currency, {_SUMS} from groups where kind = 'paid' group by currency "
            "having sum(with_cost) > 0 order by unused_cost desc, 1"
        ),
        vendors=by("integration", f"{worst} 1"),
        products=by("integration, name", f"{worst} 1, 2"),
        customers=by("tenant_id", f"{worst} 1"),
        wasted=table(
            _licenses(asked, "unused_seats", "unused_cost desc nulls last," * is_comparable)
        ),
        over_assigned=table(_licenses(asked, "over_assigned_seats")),
        trend=by(
            "night_at, run_key, accounts", "night_at", "history join trend_nights using (night)"
        ),
        changes_by_vendor=table(changes_by("integration")),
        changes_by_customer=table(changes_by("tenant_id")),
        changes_by_night=night_changes(sql, asked),
        movements=table(
            "select * from moved order by abs(more_seats) + abs(more_assigned) desc, 1, 2, 3, 4 "
            f"limit {MOST_LICENSES}"
        ),
        not_read=table(
            "select integration, tenant_id, integrated_account_id, outcome, why, read_at "
            f"from nights where night = {quoted(asked.night.run)} and outcome <> 'read' "
            f"and {filter_of(asked)} order by read_at nulls first, 1, 2, 3"
        ),
    )


_BY: Final = f"""
with by_currency as (
  select {{columns}}, currency, {_SUMS} from {{source}} group by {{columns}}, currency
)
select {{columns}}, {_SEATS}, list(
  {{{{'currency': currency, 'cost': cost, 'unused_cost': unused_cost}}}} order by unused_cost desc
) filter (with_cost > 0) as costs
from by_currency group by {{columns}} order by {{order}}
"""
"""Sums by some columns. Costs are a list, one sum a currency."""


def _prepared(asked: Asked, nights: Sequence[Night]) -> list[str]:
    """Return the statements that read the licenses: all further queries are on small tables."""
    night, wanted = quoted(asked.night.run), filter_of(asked)
    # Of a night that was overwritten, the lake has the accounts that were not read since.
    whole = f"night in ({', '.join(quoted(one.run) for one in nights)})"
    priced = "night_licenses"
    in_currency = "currency"
    if asked.rates:
        rates = ", ".join(f"({quoted(one)}, {rate!r})" for one, rate in asked.rates.items())
        target = quoted(asked.currency or "")
        in_currency = f"case when rate is null then currency else {target} end as currency"
        priced = (
            "(select night_licenses.* replace (cost * coalesce(rate, 1) as cost, "
            f"unused_cost * coalesce(rate, 1) as unused_cost), rate from night_licenses "
            f"left join (values {rates}) as rates(of_currency, rate) on currency = of_currency)"
        )
    return [
        (
            "create or replace temp table groups as select tenant_id, integration, name, kind, "
            f"{in_currency}, {_GROUPED} from {priced} where night = {night} and {wanted} "
            "group by all"
        ),
        (
            f"create or replace temp table history as select night, {in_currency}, {_GROUPED} "
            f"from {priced} where kind = 'paid' and {whole} and {wanted} group by all"
        ),
        (
            "create or replace temp table trend_nights as select night, night_at, run_key, "
            "count(*) filter (read_in is not null) as accounts "
            f"from nights join runs on _run = night where {wanted} group by all"
        ),
        compared(asked),
        moved_between(asked),
    ]


def _coverage(sql: LakeSql, asked: Asked) -> Coverage:
    night, wanted = quoted(asked.night.run), filter_of(asked)
    expired = ", ".join(quoted(run) for run in sql.expired) or "null"
    found = sql.one(f"""
        select count(*) as accounts,
          count(*) filter (why is distinct from '{NOT_ASKED_FOR}') as asked_for,
          count(*) filter (read_in in ({expired}) and not exists (
            from license_files as kept where kept._run = read_in
              and kept.integrated_account_id is not distinct from nights.integrated_account_id
          )) as expired,
          count(*) filter (read_in is not null and coalesce(integrated_account_id, '') not in
            (select account from compared)) as not_compared
        from nights where night = {night} and {wanted}
    """)
    if not asked.before:
        return Coverage(**found | {"not_compared": 0}, more_unused_seats=None)
    more = sql.one(f"""
        select coalesce(sum(case night when {night} then unused_seats else -unused_seats end), 0)
          ::bigint as more_unused_seats
        from night_licenses where night in ({night}, {quoted(asked.before.run)})
          and kind = 'paid' and {wanted}
          and coalesce(integrated_account_id, '') in (select account from compared)
    """)
    return Coverage(**found, **more)


def _licenses(asked: Asked, figure: str, order: str = "") -> str:
    """Return the query for the paid licenses with most of a figure."""
    return (
        "select integration, tenant_id, integrated_account_id, id, name, seats, assigned_seats, "
        "unused_seats, over_assigned_seats, price, currency, unused_cost "
        f"from night_licenses where night = {quoted(asked.night.run)} and kind = 'paid' "
        f"and {figure} > 0 and {filter_of(asked)} order by {order} {figure} desc, 1, 2, 3, 4 "
        f"limit {MOST_LICENSES}"
    )


def _nothing(asked: Asked) -> str:
    of = ", ".join(
        f"{name} {value}"
        for name, value in (("integration", asked.integration), ("tenant", asked.tenant))
        if value
    )
    return f"no license of {of} in that night" if of else "that night has no licenses"
