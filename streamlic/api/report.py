"""The report from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamlic.answers.figures import Report
from streamlic.answers.lake_sql import DEFAULT_MEMORY_BYTES
from streamlic.answers.question import Question
from streamlic.answers.report import report_of
from streamlic.job.options import JobOptions


def report(
    dest: str | Path,
    *,
    as_of: str | None = None,
    compare: str | None = None,
    integration: str | None = None,
    tenant: str | None = None,
    top: int = 10,
    rates: Mapping[str, float] | None = None,
    currency: str | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    scratch: str | None = None,
) -> Report:
    """Return which seats in ``dest`` are unused, what they cost, and how that changed.

    ``as_of`` and ``compare`` name nights by run key, run id or UTC date: by default the newest one,
    and the one a week before. ``integration`` and ``tenant`` choose a vendor and a customer.
    ``rates`` are what one unit of each currency is worth in ``currency``; without them no costs of
    different currencies are added. ``top`` is how many licenses are listed. ``memory_bytes`` is the
    target of the whole process; what does not fit is written to ``scratch``. Needs the extra
    ``report``. Raises UsageError, and says why, if there is nothing to report.
    """
    question = Question(
        as_of=as_of,
        compare=compare,
        integration=integration,
        tenant=tenant,
        top=top,
        rates=rates or {},
        currency=currency,
    )
    store = JobOptions(scratch=scratch).open_store(str(dest))
    return report_of(store, question, memory_bytes=memory_bytes, scratch=scratch)
