"""The settings of a job, with their defaults, and what cancels it.

Without Arrow, so that the command line starts fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from streamlic.job.limits import Limits
from streamlic.share import Share
from streamlic.system.machine import default_memory_bytes

_LIMITS = Limits()


class Cancel(Protocol):
    """What cancels a job: a ``threading.Event``, or anything else with its ``is_set``."""

    def is_set(self) -> bool:
        """Return whether the job should stop."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """The settings of a job. ``JobOptions`` describes and checks them."""

    engine: str = "auto"
    rows_at: str = "result"
    ndjson: bool | None = None
    raw: bool = False
    strict: bool = False
    max_record_bytes: int | None = None
    max_depth: int = 128
    memory_bytes: int = field(default_factory=default_memory_bytes)
    part_bytes: int = 128 << 20
    commit_seconds: float = 300.0
    compression: str = "zstd"
    mode: str = "error"
    restart: bool = False
    limits: Limits = _LIMITS
    concurrency: int | None = None
    account_details: bool = True
    skip_failed: bool = False
    absent_accounts: str = "keep"
    max_absent: int | str | None = None
    publish: str = "complete"
    run_key: str | None = None
    shard: Share | str | None = None
    format: str | None = None
    partition_by: str | None = None
    catalog: str | None = None
    scratch: str | None = None
    take_over: bool = False
