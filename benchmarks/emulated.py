"""The emulator in a process of its own, with accounts of every size that is measured."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from benchmarks.cases.landing import WARM_ACCOUNT
from benchmarks.measure import ROOT
from benchmarks.served import serve_app

_WARM_RECORDS = 500


@contextmanager
def emulator(sizes_bytes: list[int], *, is_gzip: bool = False) -> Iterator[Emulated]:
    """Run an emulator that has an account of about each size, and one for warming up."""
    with served(
        {account_of(size): records_of(size) for size in sizes_bytes}, is_gzip=is_gzip
    ) as one:
        yield one


@contextmanager
def served(records: dict[str, int], *, is_gzip: bool = False) -> Iterator[Emulated]:
    """Run an emulator of accounts with so many records each, and of one for warming up."""
    given = {"accounts": {WARM_ACCOUNT: _WARM_RECORDS, **records}, "is_gzip": is_gzip}
    command = [sys.executable, "-m", "benchmarks", "serve", json.dumps(given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield Emulated(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.terminate()


class Emulated:
    """A running emulator, and the settings with which cases use it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def asked(self, size_bytes: int, *, limit: int | None = None, **more: Any) -> dict[str, Any]:
        """Return what a case is given: pages of ``limit`` records, or all in one body."""
        return {
            "url": self.url,
            "account": account_of(size_bytes),
            "rows": records_of(size_bytes),
            "bytes": bytes_of(records_of(size_bytes)),
            "limit": limit,
            **more,
        }


def account_of(size_bytes: int) -> str:
    """Return the account that has about this many bytes of licenses."""
    return f"{size_bytes // 1000:08x}-0000-4000-8000-000000000000"


def records_of(size_bytes: int) -> int:
    """Return how many records take about this many bytes."""
    return max(1, round(size_bytes / (sum(_record_bytes()) / len(_record_bytes()))))


def bytes_of(records: int) -> int:
    """Return the bytes of this many records, without envelopes and the offset in their cycle."""
    cycles, rest = divmod(records, len(_record_bytes()))
    return cycles * sum(_record_bytes()) + sum(_record_bytes()[:rest])


@cache
def _record_bytes() -> list[int]:
    from streamlic.emulator.records import CYCLE, license_json

    return [len(license_json(7, WARM_ACCOUNT, i)) + 1 for i in range(CYCLE)]


def serve(given: dict[str, Any]) -> None:
    """Serve until terminated; the first line of output is the URL."""
    asyncio.run(_serve(given["accounts"], is_gzip=given["is_gzip"]))


async def _serve(accounts: dict[str, int], *, is_gzip: bool) -> None:
    from aiohttp import web
    from multidict import CIMultiDict

    from streamlic.emulator import Emulator, EmulatorConfig

    emulator = Emulator(EmulatorConfig(accounts=accounts, compress=is_gzip))

    async def answer(request: web.Request) -> web.StreamResponse:
        # The emulator would choose brotli where a client accepts it: here all get gzip.
        headers = CIMultiDict(request.headers)
        headers["Accept-Encoding"] = "gzip"
        return await emulator.answer(request.clone(headers=headers))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    await serve_app(app)
