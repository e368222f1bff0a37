"""The settings of each command, as frozen dataclasses.

The fields of a class have the names of Click's parameters, and no defaults: an option reads its
default from the dataclass that it configures, with ``default_of``. The parameters of a request are
those of the resource. They are neither compared nor printed: each method that a dataclass makes is
compiled at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Any, TypeVar

from streamlic.cli.types import size_text
from streamlic.resources.licenses import LICENSES

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OutputSettings:
    """What a command shows."""

    as_json: bool
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MachineSettings:
    """What decodes, and how much memory the process aims to use."""

    engine: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LakeOptions:
    """How the tables of a lake are shown, and where its part files wait for an object store."""

    format: str | None
    partition_by: str | None
    catalog: str | None
    scratch: str | None

    def for_job(self) -> dict[str, Any]:
        """Return the values of the job's options of the same names."""
        return {one.name: getattr(self, one.name) for one in fields(LakeOptions)}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ConnectionOptions:
    """Where the API is, and how to reach it."""

    base_url: str
    allow_http: bool
    token_file: str | None
    ca_file: str | None
    rate_limit: str
    token_share: str | None
    read_timeout: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RetryOptions:
    """How long a failed page is retried."""

    retry_for: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AccountFilters:
    """Which of all accounts to list."""

    integration: str | None
    tenant: str | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RequestOptions:
    """What to request from each account: values by the names of the resource's parameters."""

    request: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class JobArguments(MachineSettings, OutputSettings, LakeOptions):
    """What ``export`` and ``convert`` share: how to decode, write and commit."""

    dest: str
    rows_at: str
    part_bytes: int
    commit_seconds: float
    compression: str
    max_record_bytes: int | None
    max_depth: int
    mode: str
    absent_accounts: str
    publish: str
    run_key: str | None
    restart: bool
    take_over: bool
    strict: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ExportSettings(JobArguments, RequestOptions, AccountFilters, RetryOptions, ConnectionOptions):
    """The settings of ``streamlic export``."""

    accounts: tuple[str, ...]
    accounts_file: str | None
    all_accounts: bool
    account_details: bool
    max_pages: int
    max_records: int | None
    max_body_bytes: int
    concurrency: int | None
    skip_failed: bool
    max_absent: str | None
    shard: str | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ConvertSettings(JobArguments):
    """The settings of ``streamlic convert``."""

    source: str
    account: str | None
    ndjson: bool | None
    raw: bool
    key_by: str | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AccountsSettings(AccountFilters, RetryOptions, ConnectionOptions):
    """The settings of ``streamlic accounts``."""

    as_json: bool
    as_csv: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DatasetSettings:
    """The settings of ``streamlic verify``."""

    dest: str
    as_json: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class UpkeepSettings(DatasetSettings):
    """What ``compact`` and ``expire`` share."""

    dry_run: bool
    memory_bytes: int
    scratch: str | None
    take_over: bool

    def for_job(self) -> dict[str, Any]:
        """Return the values of the job's options of the same names."""
        return {name: getattr(self, name) for name in ("memory_bytes", "scratch", "take_over")}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CompactSettings(UpkeepSettings):
    """The settings of ``streamlic compact``."""

    part_bytes: int


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ExpireSettings(UpkeepSettings):
    """The settings of ``streamlic expire``."""

    keep: int | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class InspectSettings(DatasetSettings):
    """The settings of ``streamlic inspect``."""

    verbose: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ReportSettings(AccountFilters):
    """The settings of ``streamlic report``."""

    dest: str
    as_of: str | None
    compare: str | None
    top: int
    rates: str | None
    currency: str | None
    html: str | None
    xlsx: str | None
    csv: str | None
    json_file: str | None
    memory_bytes: int
    scratch: str | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SqlSettings:
    """The settings of ``streamlic sql``."""

    dest: str
    query: str | None
    views: bool
    as_json: bool
    memory_bytes: int
    scratch: str | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class HeadSettings:
    """The settings of ``streamlic head``."""

    source: str
    table: str
    run: str | None
    where_account: str | None
    rows_at: str
    ndjson: bool | None
    raw: bool
    key_by: str | None
    engine: str
    rows: int
    columns: str | None
    as_json: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SchemaSettings:
    """The settings of ``streamlic schema``."""

    table: str
    as_json: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DoctorSettings(MachineSettings, LakeOptions, ConnectionOptions):
    """The settings of ``streamlic doctor``."""

    dest: str | None
    part_bytes: int
    offline: bool
    as_json: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EmulateSettings:
    """The settings of ``streamlic emulate``."""

    host: str
    port: int
    records: int
    seed: int
    page_size: int
    latency_ms: float
    accounts: int | None
    sizes: str
    unhealthy_share: float
    nights: int
    changes: float
    token: str | None
    rate_limits: bool
    integration: str
    is_partial: bool
    compress: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DemoSettings:
    """The settings of ``streamlic demo``."""

    dest: str
    records: int


def takes(kind: type[S]) -> Callable[[Callable[[S], None]], Callable[..., None]]:
    """Let a command's function take one settings object instead of Click's keyword arguments."""

    def decorate(command: Callable[[S], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**given: Any) -> None:
            if issubclass(kind, RequestOptions):
                given["request"] = {one.name: given.pop(one.name) for one in LICENSES.parameters}
            command(kind(**given))

        return call

    return decorate


def default_of(kind: type, name: str, *, is_size: bool = False) -> dict[str, Any]:
    """Return Click's ``default`` and ``show_default`` of an option that sets a dataclass's field.

    A default that is computed is called when a command needs it, and is described by the option.
    """
    [field] = (one for one in fields(kind) if one.name == name)
    if field.default_factory is not MISSING:
        return {"default": field.default_factory}
    default: Any = field.default
    if is_size:
        default = size_text(default)
    elif isinstance(default, float):
        default = f"{default:g}"
    return {"default": default, "show_default": default is not None}
