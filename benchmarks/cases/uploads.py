"""Cases of the way into an object store. The environment says where it is.

pyarrow is imported late: ``streamlic`` chooses its allocator before.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.cases.landing import TOKEN, WARM_ACCOUNT
from benchmarks.cases.worker import Done, Run


@contextlib.contextmanager
def stage(given: dict[str, Any]) -> Iterator[Run]:
    """Upload one file after the other as an export does, its part file already written."""
    os.environ.update(given["environment"])
    from streamlic.job.options import JobOptions

    with _file(given) as file:
        store = JobOptions(scratch=given["work"]).open_store(f"{given['dest']}/{uuid4().hex}")

        def run() -> Done:
            staged = store.stage(f"part-{uuid4().hex}")
            os.link(file, staged.path)
            staged.keep()
            staged.wait()
            return Done(0, given["bytes"])

        yield run


@contextlib.contextmanager
def put(given: dict[str, Any]) -> Iterator[Run]:
    """Upload the same file with obstore's own ``put``."""
    import obstore
    from obstore.store import from_url

    os.environ.update(given["environment"])
    with _file(given) as file:
        store = from_url(given["dest"], client_options={"allow_http": True})

        def run() -> Done:
            obstore.put(store, f"put-{uuid4().hex}", file)
            return Done(0, given["bytes"])

        yield run


@contextlib.contextmanager
def export(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic export`` to a new directory of a store, or of a disk."""
    os.environ.update(given["environment"], TRUTO_API_TOKEN=TOKEN)
    from streamlic.cli.commands import cli

    def land(account: str) -> None:
        options = ["--account", account, "--base-url", given["url"], "--rate-limit", "none"]
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(
                ["export", f"{given['dest']}/{uuid4().hex}", *options, "--ignore-limit", "--json",
                 "--quiet"],
                standalone_mode=False,
            )  # fmt: skip

    def run() -> Done:
        land(given["account"])
        return Done(given["rows"], given["bytes"])

    land(WARM_ACCOUNT)
    yield run


@contextlib.contextmanager
def _file(given: dict[str, Any]) -> Iterator[Path]:
    """Write a file that does not compress."""
    file = Path(given["work"]) / uuid4().hex
    file.write_bytes(secrets.token_bytes(given["bytes"]))
    try:
        yield file
    finally:
        file.unlink()
