"""Cases of many small pages: the whole export, and the requests of it by two clients."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases.landing import TOKEN, WARM_ACCOUNT, Asked
from benchmarks.cases.worker import Done, Run

_AT_ONCE = 64


@contextlib.contextmanager
def export(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic export`` of all accounts, command line included."""
    os.environ["TRUTO_API_TOKEN"] = TOKEN
    from streamlic.cli.commands import cli

    def land(dest: str, *accounts: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(
                ["export", dest, *accounts, "--base-url", given["url"], "--rate-limit", "none",
                 "--no-account-details", "--json", "--quiet"],
                standalone_mode=False,
            )  # fmt: skip

    with TemporaryDirectory(dir=given["work"]) as work:
        land(f"{work}/warm", "--account", WARM_ACCOUNT)

        def run() -> Done:
            land(f"{work}/lake", "--accounts-file", given["accounts"])
            return Done(given["rows"], given["bytes"])

        yield run


@contextlib.contextmanager
def client(given: dict[str, Any]) -> Iterator[Run]:
    """Read the pages with the connection of an export."""
    from streamlic.truto.client import Connection
    from streamlic.truto.request import LicensesRequest
    from streamlic.truto.settings import ConnectionSettings

    async def read_all(accounts: list[str]) -> None:
        settings = ConnectionSettings(
            token=TOKEN, base_url=given["url"], rate_limit=None, token_rate_limit=None
        )
        async with Connection(settings) as connection:

            async def read(account: str) -> None:
                async with connection.page(LicensesRequest(account=account)) as page:
                    async for _ in page.chunks():
                        pass

            await _each(accounts, read)

    yield lambda: _done(given, read_all)


@contextlib.contextmanager
def aiohttp(given: dict[str, Any]) -> Iterator[Run]:
    """Read the same URLs with aiohttp."""
    import aiohttp as library

    async def read_all(accounts: list[str]) -> None:
        async with library.ClientSession(connector=library.TCPConnector(limit=0)) as session:

            async def read(account: str) -> None:
                asked = Asked(given["url"], account)
                query = {"integrated_account_id": account, "truto_response_format": "stream"}
                async with session.get(asked.endpoint, params=query) as response:
                    await response.read()

            await _each(accounts, read)

    yield lambda: _done(given, read_all)


async def _each(accounts: list[str], read: Callable[[str], Awaitable[None]]) -> None:
    """Read every account, some at once."""
    left = iter(accounts)

    async def work() -> None:
        for account in left:
            await read(account)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def _done(
    given: dict[str, Any], read_all: Callable[[list[str]], Coroutine[None, None, None]]
) -> Done:
    asyncio.run(read_all(Path(given["accounts"]).read_text().split()))
    return Done(given["rows"], given["bytes"])
