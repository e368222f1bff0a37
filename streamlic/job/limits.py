"""Limits on what a server may send, and on how many accounts a complete run may lack."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamlic.errors import ListingTooLarge, TooManyAbsent, UsageError
from streamlic.formatting import counted

if TYPE_CHECKING:
    from streamlic.dataset.run_state import RunState

_MOST_ABSENT = re.compile(r"(?P<count>[0-9]{1,9})|(?P<percent>[0-9]{1,3}(?:\.[0-9]{1,6})?)%")


@dataclass(frozen=True)
class MostAbsent:
    """The most accounts that may be skipped or fail: ``text`` is a number, or a percentage.

    A percentage is of all accounts, skipped ones too.
    """

    text: str

    def __post_init__(self) -> None:
        match = _MOST_ABSENT.fullmatch(self.text)
        if match is None or float(match["percent"] or 0) > 100:
            raise UsageError(
                f"expected a number of accounts or a percentage, such as 20 or 5%, got "
                f"{self.text[:50]!r}",
                parameter="max_absent",
            )

    def is_exceeded(self, absent: int, accounts: int) -> bool:
        """Return whether so many of all accounts are too many."""
        if self.text.endswith("%"):
            return absent * 100 > float(self.text[:-1]) * accounts
        return absent > int(self.text)

    def check_skipped(self, run: RunState) -> None:
        """Raise TooManyAbsent if too many accounts were skipped when a run started."""
        accounts = len(run.accounts) + len(run.skipped)
        if self.is_exceeded(len(run.skipped), accounts):
            raise TooManyAbsent(
                f"{len(run.skipped):,} of {counted(accounts, 'account')} are skipped, more than "
                f"{self.text}, so nothing is published",
                parameter="max_absent",
            )

    def check_dropped(self, run: RunState, failed: int, dropped: int) -> None:
        """Raise TooManyAbsent if a run would drop so many accounts that too many are absent."""
        absent = len(run.skipped) + failed + dropped
        accounts = len(run.accounts) + len(run.skipped) + dropped
        if self.is_exceeded(absent, accounts):
            raise TooManyAbsent(
                f"the lake has {counted(dropped, 'account')} that the API no longer has, and "
                f"{absent:,} of {accounts:,} are absent in all, more than {self.text}, so nothing "
                "is published",
                parameter="max_absent",
                advice="check that the token is right, and start over with {restart=True}",
            )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on what a server may send: pages and records of an account, bytes of one body.

    Bytes are of JSON, after decompression. None means unlimited.
    """

    max_pages: int = 1_000_000
    max_records: int | None = None
    max_body_bytes: int = 1 << 40

    def __post_init__(self) -> None:
        for name in ("max_pages", "max_records", "max_body_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"expected 1 or more, got {value}", parameter=name)

    def check_pages(self, pages: int) -> None:
        """Raise ListingTooLarge if an account has a page after its last allowed one."""
        if pages >= self.max_pages:
            raise ListingTooLarge(
                f"expected at most {counted(self.max_pages, 'page')} of the account, got more",
                parameter="max_pages",
            )

    def check_records(self, records: int) -> None:
        """Raise ListingTooLarge if an account has too many records."""
        if self.max_records is not None and records > self.max_records:
            raise ListingTooLarge(
                f"expected at most {counted(self.max_records, 'record')} of the account, got more",
                parameter="max_records",
            )

    async def bounded(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield a body's chunks. Raises ListingTooLarge if it is too long."""
        size = 0
        async with aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if size > self.max_body_bytes:
                    raise ListingTooLarge(
                        f"expected a body of at most {self.max_body_bytes} bytes, got more",
                        parameter="max_body_bytes",
                    )
                yield chunk
