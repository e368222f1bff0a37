"""A server of files, in a process of its own: it costs next to nothing, so it holds nobody up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT

if TYPE_CHECKING:
    from aiohttp import web


@contextmanager
def file_server(bodies: Mapping[str, Path]) -> Iterator[str]:
    """Serve a file as the listing of each account; yield the URL."""
    given = json.dumps({account: str(path) for account, path in bodies.items()})
    command = [sys.executable, "-m", "benchmarks", "serve-files", given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


def serve(bodies: dict[str, str]) -> None:
    """Serve until terminated; the first line of output is the URL."""
    asyncio.run(_serve(bodies))


async def _serve(bodies: dict[str, str]) -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        path = bodies[request.query["integrated_account_id"]]
        return web.FileResponse(path, headers={"Content-Type": "application/json"})

    app = web.Application()
    app.router.add_get("/unified/user-directory/licenses", answer)
    await serve_app(app)


async def serve_app(app: web.Application) -> None:
    """Serve an application on a free port of loopback until terminated, and print its URL."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()
