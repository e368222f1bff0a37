"""How the report calls things: one heading and one note a table, the names of columns, amounts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from streamlic.answers.figures import Report
from streamlic.formatting import counted

HEADINGS: Final[Mapping[str, tuple[str, str]]] = {
    "totals": (
        "Seats",
        (
            "Paid licenses first. Free ones are apart, and those of which the vendor does not say "
            "whether they are paid."
        ),
    ),
    "costs": ("Cost of paid seats, by currency", "Of licenses with a price and a currency only."),
    "vendors": ("Paid seats by vendor", "Unused seats are never netted with over-assigned ones."),
    "products": ("Paid seats by product", "A product is a license's name within a vendor."),
    "customers": ("Paid seats by customer", "A customer is a tenant in Truto."),
    "wasted": (
        "The licenses that waste most",
        "By unused cost where all prices are in one currency, otherwise by unused seats.",
    ),
    "over_assigned": (
        "More users than seats",
        "These do not reduce the unused seats of other licenses.",
    ),
    "trend": ("Night by night", "Paid licenses. Accounts that were not read keep their last rows."),
    "changes_by_vendor": ("What changed, by vendor", "All licenses, paid or not."),
    "changes_by_customer": ("What changed, by customer", "All licenses, paid or not."),
    "changes_by_night": (
        "What changed, by night",
        "All licenses, paid or not: each night since the one before it.",
    ),
    "movements": ("The largest movements", "Single licenses, by seats and users together."),
    "not_read": ("Accounts that were not read", "Their licenses are those of the time shown."),
}
"""The heading of each table, and what a reader must know of it."""

COLUMNS: Final[Mapping[str, str]] = {
    "assigned_seats": "assigned",
    "assigned_seats_before": "assigned before",
    "integrated_account_id": "account",
    "integration": "vendor",
    "licenses_gone": "gone",
    "licenses_moved": "changed",
    "licenses_new": "new",
    "more_assigned": "assigned, change",
    "more_seats": "seats, change",
    "name": "license",
    "night_at": "night",
    "over_assigned_seats": "over-assigned",
    "read_at": "read at",
    "run_key": "key",
    "seats_assigned": "assigned",
    "seats_before": "seats before",
    "seats_bought": "bought",
    "seats_freed": "freed",
    "seats_given_up": "given up",
    "tenant_id": "customer",
    "unused_cost": "unused cost",
    "unused_seats": "unused",
    "with_cost": "with cost",
    "with_seats": "with seats",
}
"""What readers see in place of a column's name, where that differs."""

NO_NAME: Final = "(no name)"

DEFINITIONS: Final = (
    (
        "seats",
        (
            "are known where the vendor reports their number. A negative one, the largest "
            "32-bit number or more, or the word unlimited means no limit: those licenses have "
            "no seats here."
        ),
    ),
    (
        "unused",
        (
            "is what is not assigned, and never less than none: a license with more users than "
            "seats does not hide the waste of another."
        ),
    ),
    (
        "over-assigned",
        ("are users beyond the seats. They have a table of their own."),
    ),
    (
        "paid, free, unknown",
        (
            "is what the vendor says in is_paid. Free licenses, and those of which it says "
            "nothing, are apart."
        ),
    ),
    (
        "cost",
        (
            "is seats times the vendor's unit_amount, of paid licenses with a price and a "
            "currency, by currency. For which period a price is, the API does not say; mostly "
            "it is a month."
        ),
    ),
    (
        "with seats, with cost",
        ("say of how many licenses a figure is known: it is the least that is wasted, not all."),
    ),
    (
        "night",
        (
            "is a run that has ended, named by its run key, or else by its start. An account "
            "that it did not read, or was not asked for, has the licenses of the last run that "
            "did. An account is gone if a run listed all accounts without it."
        ),
    ),
)
"""What the words mean: on the page, in the sheet, and in the docs."""


def title_of(column: str) -> str:
    """Return what readers see in place of a column's name."""
    return COLUMNS.get(column, column.replace("_", " "))


def amount(value: float | None, currency: str | None) -> str:
    """Return a sum of money: ``EUR 1,234``. Cents only below 100."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{currency or ''} {value:,.{0 if abs(value) >= 100 else 2}f}".strip()


def costs_text(costs: Iterable[Mapping[str, Any]] | None, figure: str = "unused_cost") -> str:
    """Return the sums of a row, of each currency."""
    return " + ".join(amount(one[figure], one["currency"]) for one in costs or ())


def share(part: float | None, whole: float | None) -> float | None:
    """Return what part of a whole it is, None if there is no whole."""
    return part / whole if part is not None and whole else None


def moment_text(at: str) -> str:
    """Return a moment as people write it, in UTC."""
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M}"


def about(report: Report) -> str:
    """Say which nights and filters a report is about, in one sentence."""
    asked = report.asked
    text = f"night {asked.night.label}"
    if asked.night.key:
        text += f", read {asked.night.moment} UTC"
    if asked.before:
        text += f", compared with {asked.before.label}"
    for name, value in (("vendor", asked.integration), ("customer", asked.tenant)):
        if value:
            text += f", {name} {value}"
    return text


def headline(report: Report) -> list[str]:
    """Return the answer in a few sentences: what is wasted, and how that changed."""
    paid = next((one for one in report.totals.to_pylist() if one["kind"] == "paid"), None)
    if paid is None or not paid["licenses"]:
        return ["No license is known to be paid", *_coverage(report)]
    if not paid["with_seats"]:
        line = f"None of {paid['licenses']:,} paid licenses has a known number of seats"
        return [line, *_coverage(report)]
    part = share(paid["unused_seats"], paid["seats"]) or 0
    lines = [
        (
            f"{paid['unused_seats']:,} of {paid['seats']:,} paid seats ({part:.0%}) are unused, "
            f"known for {paid['with_seats']:,} of {paid['licenses']:,} licenses"
        )
    ]
    costs = [one for one in report.costs.to_pylist() if one["with_cost"]]
    if costs:
        known = sum(one["with_cost"] for one in costs)
        lines.append(
            f"They cost {costs_text(costs)}, known for {known:,} of {paid['licenses']:,} licenses"
        )
    before, more = report.asked.before, report.coverage.more_unused_seats
    if before and more is not None:
        word = "more" if more >= 0 else "fewer"
        lines.append(f"{abs(more):,} {word} unused seats than in night {before.label}")
    else:
        lines.append("There is no earlier night to compare with")
    return [*lines, *_coverage(report)]


def _coverage(report: Report) -> Iterator[str]:
    """Yield what a reader must know of the accounts that the figures are about."""
    found, asked = report.coverage, report.asked
    if found.asked_for < found.accounts:
        yield (
            f"This night asked for {found.asked_for:,} of {counted(found.accounts, 'account')}: "
            "the others count with the licenses that were last read"
        )
    if found.expired:
        yield (
            f"The last licenses of {counted(found.expired, 'account')} have expired, and are in "
            "no figure"
        )
    if asked.before and found.not_compared:
        yield (
            f"Night {asked.before.label} had not read {counted(found.not_compared, 'account')} of "
            "these: what changed leaves them out"
        )
