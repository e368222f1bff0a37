"""How much is measured: everything, or just enough to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass

_MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes and repetitions. Bytes are of JSON."""

    is_quick: bool = False
    is_full: bool = False
    rounds: int = 5
    few_rounds: int = 3
    licenses_bytes: int = 12 * _MB
    kinds_bytes: int = 5 * _MB
    job_bytes: int = 60 * _MB
    whole_bytes: tuple[int, ...] = (20 * _MB, 600 * _MB)
    """One body each: half of the small one's time is what each run takes, of the large one's nearly
    nothing. What a process takes before is measured apart: ``start``."""
    convert_bytes: int = 1000 * _MB
    pages_bytes: int = 8 * _MB
    at_least_seconds: float = 0.15
    """How long one measurement lasts at least; short ones are repeated until then."""

    @property
    def scale_bytes(self) -> list[int]:
        """The body sizes that show how time and memory grow."""
        if self.is_quick:
            return [2 * _MB, 10 * _MB]
        default = [10 * _MB, 32 * _MB, 100 * _MB, 320 * _MB, 1000 * _MB]
        return [*default, 3200 * _MB, 10_000 * _MB] if self.is_full else default


QUICK = Plan(
    is_quick=True,
    rounds=2,
    few_rounds=1,
    licenses_bytes=2 * _MB,
    kinds_bytes=1 * _MB,
    job_bytes=2 * _MB,
    whole_bytes=(2 * _MB,),
    convert_bytes=2 * _MB,
    pages_bytes=1 * _MB,
    at_least_seconds=0.05,
)
