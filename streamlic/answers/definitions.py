"""What the figures mean, as SQL, in one place: the report, the command ``sql`` and the docs use it.

Definitions:
1. A license's seats are known if the vendor reports a number from 0 on. A negative number, the
   largest 32-bit one or more, or the word "unlimited" means no limit: those licenses are counted
   apart, and have no seats.
2. ``unused_seats`` is what is not assigned of the seats, and never negative: a license with more
   users than seats does not hide another's waste. ``over_assigned_seats`` is the other side.
   Both are null where seats or users are not known.
3. ``kind`` is ``paid``, ``free``, or ``unknown`` where the vendor does not say.
4. The cost of seats is their number times ``unit_amount``, of paid licenses with a price and a
   currency. It is never added across currencies without rates. The API does not say for which
   period a price is: most vendors mean a month.
5. A night is a run that has ended. An account that was not read in it has the licenses of the last
   run that read it: an account that is blocked, or not asked for, makes no dip. An account is gone
   only if a run listed all accounts without it, or an overwrite did not keep it.
6. Two rows of two nights are the same license if account and id are the same. Rows of one id are
   added up.
"""

from __future__ import annotations

from typing import Final

from streamlic.dataset.records import NOT_ASKED_FOR

LICENSES: Final = """
select
  * exclude (unlimited),
  case when is_paid then 'paid' when not is_paid then 'free' else 'unknown' end as kind,
  unlimited as is_unlimited,
  case when not unlimited and available_quantity >= 0 then available_quantity end as seats,
  case when not unlimited and assigned_quantity >= 0 then assigned_quantity end as assigned_seats,
  case when seats >= assigned_seats then seats - assigned_seats
    when seats < assigned_seats then 0 end as unused_seats,
  case when seats < assigned_seats then assigned_seats - seats
    when seats >= assigned_seats then 0 end as over_assigned_seats,
  case when is_paid and currency is not null then unit_amount end as price,
  seats * price as cost,
  unused_seats * price as unused_cost
from (
  select *,
    coalesce(available_quantity < 0 or available_quantity >= 2147483647, false)
      or coalesce(_rescued ->> '$."/available_quantity"' ilike 'unlimited', false) as unlimited
  from license_files
)
"""
"""The lake's licenses, with what is defined above."""

WHOLE: Final = """(
  mode = 'overwrite' or json_type(request, '$.all_of') = 'OBJECT'
    and coalesce(request ->> '$.all_of.integration', '') = ''
    and coalesce(request ->> '$.all_of.tenant', '') = ''
)"""
"""Whether a run has all accounts there are: it listed them without a filter, or it overwrote."""

NIGHTS: Final = f"""
with ended as (
  select _run, _exported_at, {WHOLE} as is_whole,
    row_number() over (order by _exported_at, _run) as number
  from runs
),
listed as (
  select *, coalesce(
    min(case when is_whole then number end) over (
      order by number rows between 1 following and unbounded following),
    count(*) over () + 1) as next_whole
  from ended
),
known as (
  select accounts.*, listed.number,
    least(next_whole, lead(listed.number, 1, next_whole) over upto) as until,
    last_value(case outcome when 'read' then _run end ignore nulls) over upto as read_in,
    last_value(case outcome when 'read' then accounts._exported_at end ignore nulls) over upto
      as read_at
  from accounts join listed using (_run)
  window upto as (partition by integrated_account_id order by listed.number)
)
select
  ended._run as night, ended._exported_at as night_at, integrated_account_id, integration,
  tenant_id, case when known._run = ended._run then outcome else 'carried_over' end as outcome,
  case when known._run = ended._run then coalesce(error_message, reason)
    else '{NOT_ASKED_FOR}' end as why,
  read_in, read_at
from (select *, unnest(range(number, until)) as in_night from known) as known
join ended on ended.number = in_night
"""
"""Each account in each night, asked for or not, and the run that last read it by then."""

LICENSES_OF: Final = """
select nights.night, nights.night_at, licenses.*
from nights join licenses
  on licenses.integrated_account_id is not distinct from nights.integrated_account_id
    and licenses._run = nights.read_in
"""
"""The licenses of each night, one row a night and license."""

LICENSES_NOW: Final = """
from night_licenses where night = newest(0)
"""
"""The licenses of the newest night."""

SEAT_CHANGES: Final = """
with reads as (
  select _run, _exported_at, integrated_account_id,
    row_number() over (partition by integrated_account_id order by _exported_at) as number
  from accounts semi join runs using (_run) where outcome = 'read'
),
seen as (
  select reads.number, licenses.integrated_account_id, licenses.id,
    any_value(licenses.integration) as integration, any_value(licenses.tenant_id) as tenant_id,
    any_value(licenses.name) as name, any_value(licenses.kind) as kind,
    sum(seats)::bigint as seats, sum(assigned_seats)::bigint as assigned_seats
  from licenses join reads
    on licenses._run = reads._run
      and licenses.integrated_account_id is not distinct from reads.integrated_account_id
  group by all
)
select
  reads._run as night, reads._exported_at as night_at, reads.integrated_account_id,
  coalesce(after.integration, before.integration) as integration,
  coalesce(after.tenant_id, before.tenant_id) as tenant_id,
  coalesce(after.id, before.id) as id, coalesce(after.name, before.name) as name,
  coalesce(after.kind, before.kind) as kind,
  case when before.number is null then 'new' when after.number is null then 'gone' else 'moved' end
    as change,
  before.seats as seats_before, after.seats as seats,
  before.assigned_seats as assigned_seats_before, after.assigned_seats as assigned_seats
from (select *, number - 1 as earlier from seen) as after
full join seen as before
  on before.number = after.earlier and before.id is not distinct from after.id
    and before.integrated_account_id is not distinct from after.integrated_account_id
join reads
  on reads.number = coalesce(after.number, before.number + 1)
    and reads.integrated_account_id is not distinct from
      coalesce(after.integrated_account_id, before.integrated_account_id)
where reads.number > 1 and (
  before.number is null or after.number is null
  or after.seats is distinct from before.seats
  or after.assigned_seats is distinct from before.assigned_seats
)
"""
"""What changed of a license from one read of its account to the next one."""

NEWEST: Final = """
create or replace macro newest(n) as
  (select _run from runs order by _exported_at desc limit 1 offset n)
"""
"""The newest night, or the one so many nights before it."""

VIEWS: Final = {
    "licenses": LICENSES,
    "nights": NIGHTS,
    "night_licenses": LICENSES_OF,
    "licenses_now": LICENSES_NOW,
    "seat_changes": SEAT_CHANGES,
}
"""The views, in the order in which they need each other; ``accounts`` and ``runs`` come first."""
