"""A file of accounts for Spark: ids, one a line, or CSV such as ``streamlic accounts`` writes.

Rules:
1. The first line that is not empty or a comment decides: with a comma it is the header of CSV.
2. CSV has the column ``account``, and may have ``integration`` and ``tenant_id``, which become
   columns of the account's licenses. Columns that only describe an account are ignored; one that
   would change its request is refused: all accounts are requested alike.
"""

from __future__ import annotations

import csv
from pathlib import Path

from streamlic.dataset.records import AccountDetails
from streamlic.errors import UsageError
from streamlic.validation import shown

_IGNORED = frozenset({"name", "status", "is_blocked", "readable"})
_COLUMNS = frozenset({"account", "integration", "tenant_id"}) | _IGNORED
_MOST_BYTES = 256 << 20


def read_accounts_file(path: str) -> dict[str, AccountDetails]:
    """Return a file's accounts in order, with what it says of them. UsageError for any other."""
    try:
        size = Path(path).stat().st_size
        if size > _MOST_BYTES:
            raise UsageError(f"{path}: expected at most {_MOST_BYTES >> 20} MiB, got {size} bytes")
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the accounts file cannot be read: {error}", parameter="accounts_file"
        ) from error
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    is_csv = bool(lines) and ("," in lines[0][1] or lines[0][1].strip() == "account")
    header = _header(path, lines.pop(0)[1]) if is_csv else ["account"]
    found: dict[str, AccountDetails] = {}
    for number, line in lines:
        cells = next(csv.reader([line])) if is_csv else [line]
        if len(cells) != len(header):
            raise UsageError(
                f"{path}: line {number}: expected {len(header)} cells, got {len(cells)}",
                parameter="accounts_file",
            )
        row = {name: cell.strip() or None for name, cell in zip(header, cells, strict=True)}
        account = (row["account"] or "").lower()
        if account in found:
            raise UsageError(
                f"{path}: line {number}: {shown(account)} is there twice", parameter="accounts_file"
            )
        found[account] = AccountDetails(
            integration=row.get("integration"), tenant_id=row.get("tenant_id")
        )
    if not found:
        raise UsageError(f"{path} names no account", parameter="accounts_file")
    return found


def _header(path: str, line: str) -> list[str]:
    header = [cell.strip() for cell in next(csv.reader([line]))]
    if (
        "account" not in header
        or len(set(header)) != len(header)
        or not _COLUMNS.issuperset(header)
    ):
        raise UsageError(
            f"{path}: expected a header with account, and perhaps integration and tenant_id, got "
            f"{shown(line)}",
            parameter="accounts_file",
        )
    return header
