"""What every case from HTTP to Parquet shares: whom it asks, where it lands, how it warms up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.worker import Done, Run

WARM_ACCOUNT = "ffffffff-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Asked:
    """A listing: pages of ``limit`` records, or one body where there is none."""

    url: str
    account: str
    limit: int | None = None

    @property
    def endpoint(self) -> str:
        """The address of the listing."""
        return f"{self.url}/unified/user-directory/licenses"

    @property
    def query(self) -> dict[str, str]:
        """The query of the first page, which is the only one where there is no limit."""
        size = {"limit": str(self.limit)} if self.limit else {"truto_ignore_limit": "true"}
        return {
            "integrated_account_id": self.account,
            "truto_response_format": "stream",
            **size,
        }


Land = Callable[[Asked, Path], int]
"""Land a listing in an empty directory as Parquet; return the rows."""


def landed(
    given: dict[str, Any], land: Land, *, said: dict[str, Any] | None = None
) -> Iterator[Run]:
    """Yield what lands the listing; a small one went before, so that all imports are done.

    ``said`` is what ``land`` has to tell beside the rows.
    """
    asked = Asked(given["url"], given["account"], given["limit"])
    with TemporaryDirectory(dir=given["work"]) as work:
        warm = Path(work) / "warm"
        warm.mkdir()
        land(replace(asked, account=WARM_ACCOUNT), warm)
        numbers = iter(range(1_000_000))

        def run() -> Done:
            dest = Path(work) / str(next(numbers))
            dest.mkdir()
            rows = land(asked, dest)
            written = sum(file.stat().st_size for file in dest.rglob("*.parquet"))
            return Done(rows, given["bytes"], {"parquet_bytes": written, **(said or {})})

        yield run
