"""The parts that all cases from HTTP to Parquet share: the request, the directory, the warm-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases.worker import Done, Run

WARM_ACCOUNT = "ffffffff-0000-4000-8000-000000000000"
TOKEN = "benchmark"  # noqa: S105  (it opens the emulator only)


@dataclass(frozen=True)
class Asked:
    """A listing: pages of ``limit`` records, or one body without a limit."""

    url: str
    account: str
    limit: int | None = None

    @property
    def endpoint(self) -> str:
        """The address of the listing."""
        return f"{self.url}/unified/user-directory/licenses"

    @property
    def query(self) -> dict[str, str]:
        """The query of the first page, the only page without a limit."""
        size = {"limit": str(self.limit)} if self.limit else {"truto_ignore_limit": "true"}
        return {
            "integrated_account_id": self.account,
            "truto_response_format": "stream",
            **size,
        }


Land = Callable[[Asked, Path], int]
"""Land a listing in an empty directory as Parquet; return the rows."""


def landed(
    given: dict[str, Any], land: Land, *, more: dict[str, Any] | None = None
) -> Iterator[Run]:
    """Yield a function that lands the listing, after a small one that does all imports.

    ``more`` are figures that ``land`` reports in addition to the rows.
    """
    asked = Asked(given["url"], given["account"], given["limit"])
    with TemporaryDirectory(dir=given["work"]) as work:
        warm = Path(work) / "warm"
        warm.mkdir()
        land(replace(asked, account=WARM_ACCOUNT, url=given.get("warm_url", asked.url)), warm)
        numbers = iter(range(1_000_000))

        def run() -> Done:
            dest = Path(work) / str(next(numbers))
            dest.mkdir()
            rows = land(asked, dest)
            written = sum(file.stat().st_size for file in (dest / "licenses").glob("*.parquet"))
            return Done(rows, given["bytes"], {"parquet_bytes": written, **(more or {})})

        yield run
