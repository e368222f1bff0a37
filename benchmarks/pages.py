"""Many accounts with one small page each: what a page costs, and which part of it is whose."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.emulated import bytes_of, served
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

RECORDS = 20
_ACCOUNTS = 2_000  # More do not fit into one argument of the emulator's process.


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the export of small accounts, and the same requests without the rest of the job."""
    count = _ACCOUNTS // 10 if plan.is_quick else _ACCOUNTS
    accounts = {f"{number:08x}-0000-4000-8000-000000000000": RECORDS for number in range(1, count)}
    server = stack.enter_context(served(accounts))
    listed = directory / "accounts"
    listed.write_text("\n".join(accounts))
    given = {
        "url": server.url,
        "accounts": str(listed),
        "rows": len(accounts) * RECORDS,
        "bytes": len(accounts) * bytes_of(RECORDS),
        "work": str(directory),
    }
    cases = [
        Case(name="export", do="pages.export", given=given, is_fresh=True),
        Case(name="our client alone", do="pages.client", given=given,
             note="the same pages, decoded by nothing"),
        Case(name="aiohttp alone", do="pages.aiohttp", given=given,
             note="the same URLs, read and thrown away"),
    ]  # fmt: skip
    about = f"{len(accounts):,} accounts of {RECORDS} licenses over loopback HTTP"
    return [Group(part="pages", name="small pages", about=about, cases=cases, base="export",
                  rounds=plan.few_rounds)]  # fmt: skip
