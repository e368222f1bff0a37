"""What a run needs of this machine: one check each, with advice."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlic.dataset.destination import writer_lock
from streamlic.decoder import NO_FAST, engine_named, why_not_fast
from streamlic.diagnostics.check import INSTALL, Check, failed
from streamlic.diagnostics.lake import check_lake
from streamlic.errors import (
    AuthenticationError,
    IntegrityError,
    MachineError,
    StreamlicError,
    TransportError,
    UsageError,
)
from streamlic.formatting import counted, memory_text, option_of
from streamlic.job.options import JobOptions
from streamlic.storage.base import Store
from streamlic.storage.local import PROBE_PREFIX, LocalStore
from streamlic.system.machine import (
    USUAL_MEMORY_BYTES,
    MemoryLimit,
    limits_named,
    open_files_limit,
    processors,
    room_for_connections,
)
from streamlic.truto.accounts import PATH
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TOKEN_VARIABLE, TokenSource, readable_by_others

_LITTLE_SPACE_BYTES = 1 << 30
_THREADS = 4
"""The threads of an export: decode, encode, name resolution, display."""


def check_engine(engine: str) -> Check:
    """Check which engine decodes, and why it is not the fast one."""
    why_not = why_not_fast()
    facts: dict[str, Any] = {"why_not_fast": why_not, "instructions": None}
    try:
        facts["engine"] = engine_named(engine)
    except UsageError as error:
        return failed("engine", error, None, facts)
    if why_not is None:
        from streamlic.decoder._fast import best  # noqa: PLC0415  (it may not have been built)

        facts["instructions"] = best()
        found = f"{engine} takes {facts['engine']}; the fast engine has {best()} instructions"
        return Check(name="engine", state="ok", found=found, facts=facts)
    if why_not.startswith(NO_FAST):
        advice = f"unset {NO_FAST}"
    elif why_not.startswith("No module named"):
        advice = f"it was not built: install a C++17 compiler, then {INSTALL}"
    else:
        advice = f"it was built for another Python or system: {INSTALL}"
    found = f"{engine} takes {facts['engine']}, the slower one: {why_not}"
    return Check(name="engine", state="warning", found=found, advice=advice, facts=facts)


def check_token(source: TokenSource, file: str | None, *, is_needed: bool) -> Check:
    """Check that there is a token, and that others cannot read its file. It is not shown."""
    facts = {"origin": source.origin}
    try:
        source.read()
    except UsageError as error:
        if is_needed:
            return failed("token", error, None, facts)
        return Check(name="token", state="warning", found=error.described(option_of), facts=facts,
                     advice="export and accounts need one, convert does not")  # fmt: skip
    found = f"there is one, in {source.origin}"
    mode = readable_by_others(file) if file else None
    if mode:
        return Check(name="token", state="warning", facts=facts, advice=f"chmod 600 {file}",
                     found=f"{found}, which others can read (mode {mode:04o})")  # fmt: skip
    return Check(name="token", state="ok", found=found, facts=facts)


def _without_user(url: str) -> str:
    """Leave out a URL's user information, which may be a secret (RFC 3986, section 3.2.1)."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


async def check_api(base_url: str, connect: Callable[[], Connection]) -> Check:
    """Request one account, once: check that the API responds and accepts the token."""
    base_url = _without_user(base_url)
    facts: dict[str, Any] = {"base_url": base_url, "proxy": None}
    started = time.monotonic()
    try:
        async with connect() as connection:
            facts["proxy"] = connection.proxy and str(connection.proxy)
            await connection.get_json(PATH, "limit=1")
    except AuthenticationError as error:
        advice = f"give another token: {TOKEN_VARIABLE} or --token-file"
        return failed("api", error, advice, facts)
    except TransportError as error:
        advice = f"is {base_url} right (--base-url), and can it be reached from here?"
        return failed("api", error, advice, facts)
    except StreamlicError as error:
        return failed("api", error, None, facts)
    facts["seconds"] = round(time.monotonic() - started, 3)
    through = f", through the proxy {facts['proxy']}" if facts["proxy"] else ""
    found = f"{base_url} accepts the token ({facts['seconds']:.1f} s){through}"
    return Check(name="api", state="ok", found=found, facts=facts)


def check_dest(dest: str) -> Check:
    """Check that DEST is writable: write, fsync, move and delete a file.

    The file is in a temporary directory in DEST, or in the nearest parent that exists.
    """
    facts: dict[str, Any] = {"dest": dest}
    try:
        store = LocalStore(dest)
        check_lake(store)
        there = next(one for one in [Path(dest).absolute(), *Path(dest).absolute().parents]
                     if one.exists())  # fmt: skip
        with tempfile.TemporaryDirectory(prefix=PROBE_PREFIX, dir=there) as probe:
            _write_as_a_run_does(LocalStore(probe))
        free_bytes = shutil.disk_usage(there).free
    except (UsageError, IntegrityError) as error:
        return failed("dest", error, None, facts)
    except StreamlicError as error:
        return failed("dest", error, "choose another DEST, or let this user write there", facts)
    except OSError as error:
        found = f"{error.filename or dest}: {error.strerror}"
        return Check(name="dest", state="failed", found=found, facts=facts, exit_code=1,
                     advice="choose another DEST, or let this user write there")  # fmt: skip
    facts["free_bytes"] = free_bytes
    room = f"{memory_text(free_bytes)} free: a run stages all its rows there"
    found = f"{dest} can be written, with {room}"
    if free_bytes < _LITTLE_SPACE_BYTES:
        return Check(name="dest", state="warning", found=found, facts=facts,
                     advice="a full disk ends a run: free some space first")  # fmt: skip
    return Check(name="dest", state="ok", found=found, facts=facts)


def check_memory(memory_bytes: int, limit: MemoryLimit, *, is_default: bool = False) -> Check:
    """Check that the machine has the memory that a run aims to stay within."""
    facts = {"memory_bytes": memory_bytes, "limit_bytes": limit.bytes, "limit": limit.origin}
    try:
        JobOptions(memory_bytes=memory_bytes)
    except UsageError as error:
        return failed("memory", error, None, facts)
    found = f"--memory {memory_text(memory_bytes)} of {memory_text(limit.bytes)} ({limit.origin})"
    if is_default and limit.is_containers and memory_bytes < USUAL_MEMORY_BYTES:
        found += ", by default, because the container's limit is low"
    if memory_bytes > limit.bytes:
        advice = "give a smaller --memory" + (
            ", or the container more" if limit.is_containers else ""
        )
        return Check(name="memory", state="warning", found=found, advice=advice, facts=facts)
    return Check(name="memory", state="ok", found=found, facts=facts)


def check_processors() -> Check:
    """Count the processors, which decoding and encoding use in parallel."""
    usable, there = processors()
    facts = {"usable": usable, "there": there}
    found = f"{usable} of {there} usable"
    return Check(name="processors", state="ok", found=found, facts=facts)


def check_limits(pages: int) -> Check:
    """Check that this many concurrent pages can open files, and that a run can start threads."""
    facts = {"open_files": open_files_limit(), "pages": pages, "threads": _THREADS}
    try:
        room = room_for_connections(pages)
        with limits_named():
            _start_threads(_THREADS)
    except MachineError as error:  # Its message has the advice.
        return failed("limits", error, None, facts)
    facts |= {"open_files": open_files_limit(), "pages": room}
    found = f"{facts['open_files']:,} files may be open, enough for {counted(room, 'page')} at once"
    if room < pages:
        return Check(name="limits", state="warning", found=found, facts=facts,
                     advice=f"raise ulimit -n for all {pages:,} of --memory")  # fmt: skip
    return Check(name="limits", state="ok", found=found, facts=facts)


def _start_threads(count: int) -> None:
    is_over = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=is_over.wait, name="streamlic-probe")
            thread.start()
            started.append(thread)
    finally:
        is_over.set()
        for thread in started:
            thread.join()


def _write_as_a_run_does(store: Store) -> None:
    with writer_lock(store):
        store.create("staged", b"streamlic doctor\n" * 256)
        store.publish([("staged", "published")])
        store.delete("published")
