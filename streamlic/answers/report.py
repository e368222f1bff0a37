"""The report as a whole: a lake in, tables out."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from streamlic.answers.figures import Report, figures
from streamlic.answers.lake_sql import DEFAULT_MEMORY_BYTES, open_sql
from streamlic.answers.question import Question, asked_of
from streamlic.errors import UsageError
from streamlic.storage.base import Store


def report_of(
    store: Store,
    question: Question,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    scratch: str | None = None,
) -> Report:
    """Return a lake's figures. Raises UsageError if there is nothing to report, and says why."""
    with open_sql(store, memory_bytes=memory_bytes, scratch=scratch) as sql:
        return figures(sql, asked_of(sql, question))


def rates_of(path: str | None, currency: str | None) -> dict[str, float]:
    """Read a CSV of exchange rates: ``EUR,1.08`` is what one EUR is worth in ``currency``."""
    if path is None and currency is None:
        return {}
    if path is None or currency is None:
        raise UsageError(
            "rates and the currency that they are in go together",
            parameter="currency" if currency is None else "rates",
        )
    rates = {currency: 1.0}
    try:
        lines = [*csv.reader(Path(path).read_text(encoding="utf-8").splitlines())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", parameter="rates") from error
    for number, line in enumerate(lines, start=1):
        if number == 1 and [cell.strip().lower() for cell in line] == ["currency", "rate"]:
            continue
        try:
            code, text = line
            rate = float(text)
            if not 0 < rate < math.inf:
                raise ValueError
        except ValueError as error:
            raise UsageError(
                f"{path}, line {number}: expected a currency and a number such as EUR,1.08, got "
                f"{','.join(line)[:50]!r}",
                parameter="rates",
            ) from error
        rates[code.strip()] = rate
    return rates
