"""The whole job over loopback HTTP, and its limits: network and Parquet; the emulator alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.bodies import ACCOUNT, Body, make_body
from benchmarks.cases.landing import WARM_ACCOUNT
from benchmarks.emulated import Emulated, emulator
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan
from benchmarks.served import file_server

PAGE_RECORDS = 5000
_WARM_BYTES = 200_000
_CHUNK_BYTES = 1 << 18
_FORMS = (("one body", None), (f"pages of {PAGE_RECORDS:,}", PAGE_RECORDS))


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the export, from one body and from pages, plain and gzip."""
    size = plan.job_bytes
    found = [*_whole(plan, directory, stack), _converted(plan, directory)]
    for coding in ("plain", "gzip"):
        server = stack.enter_context(emulator([size], is_gzip=coding == "gzip"))
        for name, limit in _FORMS:
            given = server.asked(size, limit=limit, work=str(directory))
            longer = {**given, "at_least_seconds": plan.at_least_seconds}
            cases = [
                *(
                    Case(name=f"export, {engine}", do="jobs.export", is_fresh=True,
                         given={**given, "engine": engine})
                    for engine in ("reference", "fast")
                ),
                Case(name="drain alone", do="jobs.drain", given=longer,
                     note="aiohttp reads the same bodies and throws them away"),
                Case(name="encode alone", do="jobs.encode", given=longer,
                     note="the same batches, decoded before, written as Parquet"),
            ]  # fmt: skip
            found.append(
                Group(part="job", name=f"{name}, {coding}", about=_about(server, size),
                      cases=cases, base="export, reference", rounds=plan.few_rounds)
            )  # fmt: skip
    return found


def _whole(plan: Plan, directory: Path, stack: ExitStack) -> Iterator[Group]:
    """Yield the export of one body, its parts, and the textbook loop, by the size of the body.

    All numbers of these bodies are of 64 bits, so that the loop may use its fastest parser.
    """
    warm = make_body("clean", _WARM_BYTES, directory)
    for kind, size in product(("clean", "clean-plain"), plan.whole_bytes):
        body = make_body(kind, size, directory)
        files = {ACCOUNT: body.envelope, WARM_ACCOUNT: warm.envelope}
        url = stack.enter_context(file_server(files))
        given = {**_given(body, directory), "url": url, "envelope": str(body.envelope)}
        longer = {**given, "at_least_seconds": plan.at_least_seconds}
        cases = [
            Case(name="textbook", do="peers_parts.textbook", is_fresh=True,
                 given={**given, "is_clean": True}),
            Case(name="export", do="jobs.export", is_fresh=True,
                 given={**given, "engine": "auto", "options": ["--no-account-details"]}),
            Case(name="drain alone", do="jobs.drain", given=longer),
            Case(name="decode alone", do="decoders.engine",
                 given={**longer, "engine": "fast", "chunk_bytes": _CHUNK_BYTES}),
            Case(name="encode alone", do="jobs.encode", given=longer),
        ]  # fmt: skip
        what = "without remote data" if kind == "clean-plain" else "with remote data"
        yield Group(part="job", name=f"{what}, {body.bytes / 1e6:.0f} MB", base="textbook",
                    about="one body from a server of files over loopback HTTP",
                    cases=cases, rounds=plan.few_rounds)  # fmt: skip


def _converted(plan: Plan, directory: Path) -> Group:
    """Return the conversion of a file, and the textbook loop over it."""
    warm = make_body("clean", _WARM_BYTES, directory)
    body = make_body("clean", plan.convert_bytes, directory)
    files = {"url": str(body.envelope), "warm_url": str(warm.envelope)}
    given = {**_given(body, directory), **files}
    cases = [
        Case(name="textbook", do="peers_parts.textbook_file", is_fresh=True, given=given),
        Case(name="convert", do="jobs.convert", is_fresh=True, given=given),
    ]
    return Group(part="job", name=f"a file of {body.bytes / 1e6:.0f} MB", base="textbook",
                 about="JSON to Parquet", cases=cases, rounds=plan.few_rounds)  # fmt: skip


def _given(body: Body, directory: Path) -> dict[str, Any]:
    return {"account": ACCOUNT, "limit": None, "rows": body.rows, "bytes": body.bytes,
            "work": str(directory)}  # fmt: skip


def emulator_groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the speed of the emulator, so that it is not mistaken for streamlic's."""
    size = plan.job_bytes * (1 if plan.is_quick else 5)
    cases = []
    for coding in ("plain", "gzip"):
        server = stack.enter_context(emulator([size], is_gzip=coding == "gzip"))
        for name, limit in _FORMS:
            given = server.asked(size, limit=limit, work=str(directory))
            raw = Case(name=f"{name}, {coding}, bare socket", do="jobs.drain_raw", given=given)
            read = Case(name=f"{name}, {coding}, aiohttp", do="jobs.drain", given=given)
            cases += [read] if limit else [raw, read]
    about = _about(server, size)
    return [Group(part="emulator", name="emulator", about=about, cases=cases,
                  base=cases[0].name, rounds=plan.few_rounds)]  # fmt: skip


def _about(server: Emulated, size: int) -> str:
    return f"{server.asked(size)['bytes'] / 1e6:.0f} MB of JSON over loopback HTTP"
