"""The token is in no error of a body that repeats it, however it is escaped or cut."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.errors import DecodeError, StreamlicError
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.job.summary import AccountsFailed
from streamlic.truto.redaction import without
from tests.support.raw_server import ACCOUNT, OTHER_ACCOUNT, TOKEN, connection, server, whole

ESCAPED = json.dumps(TOKEN)[1:-1].encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("got x, in {tr-abc/def}", "got x, in {***}"),
        (r"in tr-abc\/def", "in ***"),
        (r"in \u0074r-abc\u002Fdef, and", "in ***, and"),
        ("got string tr-abc/d...", "got string ***..."),
        ("in ...abc/def here", "in ...*** here"),
        ("tr-abc/deftr-abc/def tr-abc/def", "*** ***"),
        ("expected a list, got tr-a", "expected a list, got tr-a"),
        ("", ""),
    ],
)
def test_a_secret_and_its_pieces_are_hidden(text: str, shown: str) -> None:
    assert without(text, "tr-abc/def") == shown


def test_a_text_that_is_too_short_is_not_a_secret() -> None:
    assert without("expected", "exp") == "expected"
    assert without("expected", "expe") == "***cted"
    assert without("expected", "") == "expected"


BODIES = {
    "quote": b'[{"id":"' + ESCAPED + b'" x}]',
    "cut": b'[{"n":"' + ESCAPED + b" some words of thirty letters" + b'" x}]',
    "path": b'[{"' + ESCAPED + b'":tru}]',
    "keys": b'{"' + ESCAPED + b'":1}',
    "rescue": b'[{"id":["' + ESCAPED + b'"]}]',
    "second": b'[{"id":"' + ESCAPED + b'" x}] trailing',
}


def check_hidden(error: BaseException) -> None:
    shown = [str(error), repr(error), "".join(traceback.format_exception(error))]
    if isinstance(error, DecodeError):
        shown += [error.reason, error.path]
        assert error.position
    for text in shown:
        assert "cret" not in text
        assert "***" in text or text is not shown[0]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_an_export_does_not_show_a_token_that_a_body_repeats(
    tmp_path: Path, name: str, engine: str
) -> None:
    options = JobOptions(engine=engine, strict=True, account_details=False)
    reported: list[str] = []

    def on_progress(progress: Any) -> None:
        reported.append(repr(progress.events))

    async with server(whole(BODIES[name])) as (url, _):
        request = streamlic.LicensesRequest(account=ACCOUNT)
        with pytest.raises(DecodeError) as raised:
            await export_async(
                str(tmp_path / "one"), [request], connection(url), options, on_progress
            )
        others = [request, streamlic.LicensesRequest(account=OTHER_ACCOUNT)]
        with pytest.raises(AccountsFailed) as failed:
            await export_async(str(tmp_path / "two"), others, connection(url), options)
    check_hidden(raised.value)
    assert "cret" not in "".join(reported)
    summary = repr(failed.value.summary) + str(failed.value)
    assert "cret" not in summary


@pytest.mark.parametrize("name", BODIES)
async def test_a_client_does_not_show_it_either(name: str) -> None:
    async with (
        server(whole(BODIES[name])) as (url, _),
        streamlic.Client(
            streamlic.ConnectionSettings(
                token=TOKEN, base_url=url, retry=streamlic.RetryPolicy(retry_for_seconds=0)
            )
        ) as client,
    ):
        with pytest.raises(StreamlicError) as raised:
            async for _ in client.licenses(ACCOUNT, strict=True):
                pass
    check_hidden(raised.value)
