"""The same work by other means: a body over HTTP to Parquet, as a competent user would write it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.bodies import emulated_bytes_per_record
from benchmarks.cases.peers_whole import UNREADABLE
from benchmarks.emulated import emulator
from benchmarks.job import PAGE_RECORDS
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan
from streamlic.emulator.records import Shape

_RESTARTS = "no resume; misfits and unknown fields become null"
_ARROW_JSON = (
    "the body twice in memory, at most 2 GiB; asked without the four columns in which a value of "
    "another type ends it; times stay text, remote_data becomes a struct; no resume"
)
_POLARS = (
    "the body several times in memory; the schema is what this body had; all cores; no resume; "
    "misfits become null"
)
_DLT = (
    f"pages of {PAGE_RECORDS:,}; its slower JSON reader, as the default refuses integers beyond "
    "64 bits; products and roles as JSON text; does more: schemas, retries, many destinations"
)
PEERS = {
    "response.json() + pyarrow": (
        "peers_whole.naive",
        f"the body and all its objects in memory; {_RESTARTS}",
    ),
    "ijson + pyarrow": ("peers_parts.textbook", _RESTARTS),
    "msgspec + pyarrow": (
        "peers_whole.msgspec",
        f"the body and its structs in memory; {_RESTARTS}",
    ),
    "pyarrow.json": ("peers_whole.arrow_json", _ARROW_JSON),
    "duckdb": (
        "peers_whole.duckdb",
        f"the body on disk and in memory, at most 4 GiB; all cores; {_RESTARTS}",
    ),
    "polars": ("peers_whole.polars", _POLARS),
    "dlt": ("peers_parts.dlt", _DLT),
}


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return streamlic and its peers on one body of the emulator."""
    size = plan.job_bytes
    server = stack.enter_context(emulator([size]))
    given = server.asked(size, work=str(directory))
    ours = [
        Case(name=f"streamlic, {engine}", do="jobs.export", is_fresh=True,
             given={**given, "engine": engine})
        for engine in ("reference", "fast")
    ]  # fmt: skip
    fewer = emulated_bytes_per_record(Shape(frozenset(UNREADABLE)))
    differs = {
        "dlt": {"limit": PAGE_RECORDS},
        "pyarrow.json": {"bytes": round(fewer * given["rows"])},
    }
    theirs = [
        Case(name=name, do=do, note=note, given={**given, **differs.get(name, {})}, is_fresh=True)
        for name, (do, note) in PEERS.items()
    ]
    about = f"{given['bytes'] / 1e6:.0f} MB of JSON over loopback HTTP to Parquet"
    return [Group(part="peers", name="peers", about=about, cases=[*ours, *theirs],
                  base="ijson + pyarrow", rounds=plan.few_rounds)]  # fmt: skip
