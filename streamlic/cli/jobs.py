"""The job that a command's settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlic.cli.main import warn_of_memory
from streamlic.cli.settings import ConvertSettings, ExportSettings

if TYPE_CHECKING:
    from streamlic.job.options import JobOptions

_COMMON = (
    "rows_at", "engine", "memory_bytes", "part_bytes", "commit_seconds", "compression",
    "max_record_bytes", "max_depth", "mode", "absent_accounts", "restart", "strict",
    "publish", "run_key", "take_over",
)  # fmt: skip
_LIMITS = ("max_pages", "max_records", "max_body_bytes")


def job_options_of(settings: ExportSettings | ConvertSettings) -> JobOptions:
    """Return the options of the job; warn if --memory is more than there is."""
    from streamlic.job.limits import Limits
    from streamlic.job.options import JobOptions

    warn_of_memory(settings.memory_bytes, quiet=settings.quiet)
    own = {name: getattr(settings, name) for name in _COMMON} | settings.for_job()
    if isinstance(settings, ConvertSettings):
        return JobOptions(raw=settings.raw, ndjson=settings.ndjson, **own)
    return JobOptions(
        raw=settings.request["response_format"] == "raw",
        concurrency=settings.concurrency,
        skip_failed=settings.skip_failed,
        max_absent=settings.max_absent,
        shard=settings.shard,
        account_details=settings.account_details,
        limits=Limits(**{name: getattr(settings, name) for name in _LIMITS}),
        **own,
    )
