"""Every error of streamlic's own reaches another process whole, with all that it says."""

from __future__ import annotations

import ast
import copy
import inspect
import multiprocessing
import pickle
import re
import threading
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig
from streamlic.formatting import option_of
from streamlic.job.summary import AccountError, AccountsFailed, AccountSummary
from tests.support.cli import ACCOUNT, TOKEN
from tests.support.error_words import checked_errors, options_in, wrong_words
from tests.support.server_thread import served

SUMMARY = streamlic.Summary(
    run="20260101T000000Z-0badcafe",
    run_key=None,
    complete=False,
    resumed=False,
    repeated=False,
    rows=12,
    rescued=0,
    pages=3,
    parts=1,
    bytes_received=100,
    bytes_written=50,
    seconds=0.5,
    engine="fast",
    partial_response=False,
    retries=0,
    accounts=[
        AccountSummary(
            account=ACCOUNT,
            rows=12,
            rescued=0,
            pages=3,
            partial_response=False,
            complete=False,
            error=AccountError(kind="ApiError", message="no", retryable=False),
        )
    ],
)
VALUES: dict[str, Any] = {
    "str": "what it says",
    "int": 7,
    "float": 1.5,
    "bool": False,
    "dict": {"statusCode": 403, "messages": ["a", {"b": None}]},
    "Fault": streamlic.Fault.VENDOR,
    "Summary": SUMMARY,
    "Mapping": {ACCOUNT: streamlic.AccountBlocked("blocked", status=403)},
}
"""What an error is made with, by the first word of its parameter's type."""


def kinds(of: type[streamlic.StreamlicError]) -> list[type[streamlic.StreamlicError]]:
    return [of, *(kind for one in of.__subclasses__() for kind in kinds(one))]


for module in walk_packages(streamlic.__path__, "streamlic."):
    if not module.name.endswith("__main__"):
        try:
            import_module(module.name)
        except ModuleNotFoundError as error:
            # `make test-spark` installs them.
            if (error.name or "").partition(".")[0] not in ("py4j", "pyspark"):
                raise
KINDS = [one for one in kinds(streamlic.StreamlicError) if one.__module__.startswith("streamlic")]


def made(kind: type[streamlic.StreamlicError]) -> streamlic.StreamlicError:
    """Make an error with a value for each of its parameters, optional or not."""
    if kind.__init__ is streamlic.StreamlicError.__init__:
        return kind(VALUES["str"])
    given = inspect.signature(kind).parameters
    words = {name: re.split(r"\W", one.annotation)[0] for name, one in given.items()}
    return kind(**{name: VALUES[word] for name, word in words.items()})


def pickled(error: streamlic.StreamlicError, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  (our own, of just now)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "through",
    [
        copy.copy,
        copy.deepcopy,
        *(
            pytest.param(lambda error, n=n: pickled(error, n), id=f"pickle {n}")
            for n in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_every_error_pickles_and_copies_with_all_that_it_says(
    kind: type[streamlic.StreamlicError], through: Any
) -> None:
    error = made(kind)
    error.add_note("a note")
    other = through(error)
    assert type(other) is kind
    assert other is not error
    assert str(other) == str(error) != ""
    assert other.args == error.args
    assert vars(other) == vars(error)
    assert other.exit_code == error.exit_code


def test_what_cannot_leave_the_process_is_kept_as_its_text() -> None:
    """An error may carry what a caller has hung on it, such as a lock or a connection."""
    lock = threading.Lock()
    error = streamlic.StoreError("broken", lock)
    error.lock = lock  # type: ignore[attr-defined]
    error.path = "kept"  # type: ignore[attr-defined]
    for other in (pickled(error), copy.deepcopy(error)):
        assert other.args == ("broken", repr(lock))
        assert vars(other) == {"lock": repr(lock), "path": "kept"}
    copied = copy.copy(error)
    assert copied.args == error.args
    assert vars(copied) == vars(error)


def export_somewhere(dest: Path, url: str) -> int:
    return streamlic.export(
        dest,
        ACCOUNT,
        connection=streamlic.ConnectionSettings(token=TOKEN, base_url=url, rate_limit="none"),
    ).rows


def raised_in_pool(dest: Path, url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply_async(export_somewhere, (dest, url)).get(timeout=60)


def raised_in_executor(dest: Path, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(export_somewhere, dest, url).result(timeout=60)


@pytest.mark.parametrize("work", [raised_in_pool, raised_in_executor])
def test_an_error_of_a_worker_process_is_raised_in_its_parent(tmp_path: Path, work: Any) -> None:
    with served(EmulatorConfig(records=10), "status=403") as emulator:
        with pytest.raises(streamlic.ApiError, match="HTTP 403") as caught:
            work(tmp_path / "out", emulator.url)
    assert caught.value.status == 403


def test_accounts_that_failed_keep_their_own_exit_code() -> None:
    blocked = {ACCOUNT: streamlic.AccountBlocked("blocked", status=403)}
    assert pickled(AccountsFailed(SUMMARY, blocked)).exit_code == 4


def test_an_error_names_a_parameter_as_its_reader_spells_it() -> None:
    error = streamlic.UsageError("expected 1 or more, got 0", parameter="max_pages")
    assert str(error) == "expected 1 or more, got 0 (max_pages)"
    assert error.described() == "expected 1 or more, got 0"
    assert error.described(option_of) == "expected 1 or more, got 0 (--max-pages)"
    assert pickled(error).described(option_of) == error.described(option_of)
    assert str(streamlic.UsageError("expected a list")) == "expected a list"


def test_advice_names_values_as_its_reader_spells_them() -> None:
    error = streamlic.DatasetConflict(
        "out is {full}",
        advice="use {mode=append}, {restart=True}, {ndjson=False}, or another {dest}",
    )
    assert str(error) == (
        'out is {full}; use mode="append", restart=True, ndjson=False, or another dest'
    )
    assert error.described() == "out is {full}"
    assert error.with_advice(option_of) == (
        "out is {full}; use --mode append, --restart, --no-lines, or another DEST"
    )
    assert str(pickled(error)) == str(error)


def test_accounts_that_failed_say_what_helps_with_each() -> None:
    error = streamlic.ListingTooLarge("expected at most 1 page, got more", parameter="max_pages")
    failed = AccountsFailed(SUMMARY, {ACCOUNT: error})
    said = "1 of 1 account failed, 1 permanently, such as: expected at most 1 page, got more"
    assert str(failed) == f"{said} (max_pages); a retry cannot help until the cause is gone"
    assert failed.with_advice(option_of).startswith(f"{said} (--max-pages); ")
    assert failed.described().startswith(f"{said}; ")


@pytest.mark.parametrize(
    ("message", "advice", "wrong"),
    [
        ("add to it with --mode append", "", "--mode"),
        ("choose another DEST", "", "DEST"),
        ("expected at most 7 brackets (max_depth)", "", "(max_depth)"),
        ("more than rows_at allows", "", "rows_at"),
        ("full", "add to it with --mode append", "--mode"),
        ("full", "add to it with {made=append}", "--made"),
        ("got --modern, --mode-x and a limit", "add to it with {mode=append}", None),
    ],
)
def test_the_words_of_errors_are_checked(message: str, advice: str, wrong: str | None) -> None:
    """Every error that any test makes is: what raises it does not know who will read it."""
    found = wrong_words(message, advice=advice)
    assert len(found) == (wrong is not None)
    assert wrong is None or wrong in found[0]


def test_an_error_that_names_an_option_is_found_where_it_is_made() -> None:
    made_by = {"StreamlicError": streamlic.DatasetConflict}
    code = "error = StreamlicError('use --restart')"
    with checked_errors() as wrong:
        for module in ("streamlic.tables.runs", "streamlic.cli.accounts", "tests.test_errors"):
            exec(code, {"__name__": module, **made_by})  # noqa: S102  (our own, in another's name)
    assert [one.partition(" has ")[0] for one in wrong] == [
        "DatasetConflict of streamlic.tables.runs"
    ]


def test_no_package_below_the_faces_holds_an_option() -> None:
    """Nor does a message that no test makes. ``system`` reads the command line's words."""
    root = Path(streamlic.__file__).parent
    faces = {"answers", "cli", "terminal", "reports", "diagnostics", "system", "formatting.py"}
    programs = {root / "integrations/spark/__main__.py"}
    for path in {*root.rglob("*.py")} - programs:
        if path.relative_to(root).parts[0] not in faces:
            assert not list(filter(options_in, texts_in(path))), path


def texts_in(path: Path) -> list[str]:
    """Return a module's string literals but for its docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [str(one.value) for one in strings if id(one) not in docs]
