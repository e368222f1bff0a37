"""What changed from one night to another, of all licenses, paid or not.

A license is known again by its account and id; rows of one id are added up. Seats or users that
are not known count as none. A license that is new has all its seats bought and all its users
assigned, and one that is gone has them given up and freed.

Accounts that the earlier night had not read by then are left out: their licenses may be old. Only
an account that the earlier night would have listed is new, with all its licenses.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import pyarrow as pa

from streamlic.answers.definitions import WHOLE
from streamlic.answers.lake_sql import LakeSql, quoted
from streamlic.answers.question import Asked, filter_of

_SEATS: Final = """
  sum(greatest(more_seats, 0))::bigint as seats_bought,
  sum(greatest(-more_seats, 0))::bigint as seats_given_up,
  sum(greatest(more_assigned, 0))::bigint as seats_assigned,
  sum(greatest(-more_assigned, 0))::bigint as seats_freed
"""
_COMPARED: Final = f"""
select coalesce(integrated_account_id, '') as account
from nights where night in ({{night}}, {{before}})
group by account
having bool_or(night = {{before}} and read_in is not null) or not bool_or(night = {{before}})
  and (select {WHOLE} from runs where _run = {{before}})
"""
"""The accounts of two nights whose licenses can be compared."""
_MOVED: Final = """
create or replace temp table moved as
select
  coalesce(after.integration, before.integration) as integration,
  coalesce(after.tenant_id, before.tenant_id) as tenant_id,
  nullif(account, '') as integrated_account_id, id, coalesce(after.name, before.name) as name,
  case when before.licenses is null then 'new' when after.licenses is null then 'gone'
    else 'moved' end as change,
  before.seats as seats_before, after.seats as seats,
  before.assigned_seats as assigned_seats_before, after.assigned_seats as assigned_seats,
  coalesce(after.seats, 0) - coalesce(before.seats, 0) as more_seats,
  coalesce(after.assigned_seats, 0) - coalesce(before.assigned_seats, 0) as more_assigned
from ({after}) as after full join ({before}) as before using (account, id)
where {is_compared} and account in (select account from compared) and (
  before.licenses is null or after.licenses is null
  or after.seats is distinct from before.seats
  or after.assigned_seats is distinct from before.assigned_seats
)
"""
_ONE_NIGHT: Final = """
select coalesce(integrated_account_id, '') as account, coalesce(id, '') as id,
  any_value(integration) as integration,
  any_value(tenant_id) as tenant_id, any_value(name) as name, count(*) as licenses,
  sum(seats)::bigint as seats, sum(assigned_seats)::bigint as assigned_seats
from night_licenses where night = {night} and {wanted}
group by all
"""
_NIGHT: Final = f"""
with reads as (
  select night, read_in, integrated_account_id,
    dense_rank() over (order by integrated_account_id) as account
  from nights where night in ({{night}}, {{before}})
),
seen as (
  select account, id, night = {{night}} as is_after, seats, assigned_seats
  from licenses join reads
    on licenses._run = read_in
      and licenses.integrated_account_id is not distinct from reads.integrated_account_id
  where _run in ({{runs}}) and {{wanted}}
    and coalesce(reads.integrated_account_id, '') in ({_COMPARED})
),
compared as (
  select bool_or(is_after) as is_there, bool_or(not is_after) as was_there,
    sum(seats) filter (is_after) as seats_after,
    sum(seats) filter (not is_after) as seats_before,
    sum(assigned_seats) filter (is_after) as users_after,
    sum(assigned_seats) filter (not is_after) as users_before,
    coalesce(seats_after, 0) - coalesce(seats_before, 0) as more_seats,
    coalesce(users_after, 0) - coalesce(users_before, 0) as more_assigned
  from seen group by account, id
)
select
  count(*) filter (not was_there) as licenses_new,
  count(*) filter (not is_there) as licenses_gone,
  count(*) filter (is_there and was_there and (seats_after is distinct from seats_before
    or users_after is distinct from users_before)) as licenses_moved,
  {_SEATS}
from compared
"""
"""Two nights at a time: what is in memory is a row for each license of a night."""


def compared(asked: Asked) -> str:
    """Return the statement that finds the accounts that can be compared: a table ``compared``."""
    before = quoted(asked.before.run) if asked.before else "''"
    query = _COMPARED.format(night=quoted(asked.night.run), before=before)
    return f"create or replace temp table compared as {query}"


def moved_between(asked: Asked) -> str:
    """Return the statement that compares the two nights: into a table ``moved``."""
    wanted = filter_of(asked)
    before = quoted(asked.before.run) if asked.before else "''"
    return _MOVED.format(
        after=_ONE_NIGHT.format(night=quoted(asked.night.run), wanted=wanted),
        before=_ONE_NIGHT.format(night=before, wanted=wanted),
        is_compared="true" if asked.before else "false",
    )


def changes_by(column: str) -> str:
    """Return the query for what ``moved`` has, by a column."""
    return f"""
        select {column},
          count(*) filter (change = 'new') as licenses_new,
          count(*) filter (change = 'gone') as licenses_gone,
          count(*) filter (change = 'moved') as licenses_moved,
          {_SEATS}
        from moved group by {column} order by seats_freed desc, 1
    """


def night_changes(sql: LakeSql, asked: Asked) -> pa.Table:
    """Return what changed in each night since the one before it, the oldest first."""
    found = []
    for before, night in pairwise(sql.nights):
        both = f"{quoted(night.run)}, {quoted(before.run)}"
        runs = sql.rows(f"select distinct read_in as run from nights where night in ({both})")
        names = [quoted(one["run"]) for one in runs if one["run"]]
        if not names:
            continue
        query = _NIGHT.format(
            night=quoted(night.run),
            before=quoted(before.run),
            runs=", ".join(names),  # Of other runs' files not even the rows are read.
            wanted=filter_of(asked),
        )
        of_night = (
            f"select timestamptz {quoted(night.at)} as night_at, {_text(night.key)} as run_key"
        )
        found.append(sql.connection.sql(f"{of_night}, * from ({query})").to_arrow_table())
    if not found:
        none = "null::timestamptz as night_at, null::varchar as run_key"
        empty = f"select {none}, * exclude (tenant_id) from ({changes_by('tenant_id')}) limit 0"
        return sql.connection.sql(empty).to_arrow_table()
    return pa.concat_tables(found)


def _text(text: str | None) -> str:
    return "null::varchar" if text is None else quoted(text)
