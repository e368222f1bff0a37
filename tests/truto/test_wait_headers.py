"""How long a server's headers ask to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlic.truto.rate_limit import RateLimiter
from streamlic.truto.wait_headers import has_plausible_wait, is_used_up, retry_after_seconds

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
AHEAD = {"date": format_datetime(NOW + timedelta(hours=1), usegmt=True)}
"""The Date of a server whose clock is an hour ahead of ours."""


@pytest.mark.parametrize(
    ("headers", "is_rate_limit", "seconds"),
    [
        ({}, True, None),
        ({"retry-after": "10"}, True, 10),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, False, 30),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, False, 0),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:30 GMT", **AHEAD}, False, 30),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "yesterday"}, False, 30),
        ({"retry-after": "soon"}, True, None),
        ({"retry-after": "99999"}, True, 300),
        ({"retry-after": "9" * 400}, True, 300),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, True, 300),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 +" + "9" * 30}, True, None),
        ({"retry-after": "-5"}, True, None),
        ({"retry-after": "5", "ratelimit-reset": "8"}, True, 5),
        ({"retry-after": "8", "ratelimit-reset": "5"}, True, 8),
        ({"retry-after": "soon", "ratelimit-reset": "8"}, True, 8),
        ({"retry-after": "5", "ratelimit-reset": "8"}, False, 5),
        ({"ratelimit-reset": "8"}, True, 8),
        ({"ratelimit-reset": "8"}, False, None),
        ({"x-ratelimit-reset": "8"}, True, 8),
        ({"ratelimit-reset": f"{EPOCH + 40}"}, True, 40),
        ({"ratelimit-reset": f"{EPOCH + 40}500"}, True, 40.5),
        ({"ratelimit-reset": f"{EPOCH + 3640}", **AHEAD}, True, 40),
        ({"ratelimit-reset": f"{EPOCH - 40}"}, True, 0),
        ({"ratelimit-reset": "9" * 400}, True, 300),
    ],
)
def test_waits_are_read(
    headers: dict[str, str], is_rate_limit: bool, seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW, is_rate_limit=is_rate_limit) == seconds


@pytest.mark.parametrize(
    ("text", "is_plausible"),
    [("0", True), ("86400", True), ("86401", False), ("", False), ("later", False),
     ("Thu, 01 Jan 2026 12:00:00 GMT", True), ("Thu, 01 Jan 2099 12:00:00 GMT", False)],
)  # fmt: skip
def test_a_wait_of_more_than_a_day_is_not_plausible(text: str, is_plausible: bool) -> None:
    assert has_plausible_wait({"retry-after": text}, NOW) is is_plausible


def test_a_limit_is_used_up_if_no_request_remains() -> None:
    assert is_used_up({"ratelimit-remaining": " 0"})
    assert is_used_up({"x-ratelimit-remaining": "0"})
    assert not is_used_up({"ratelimit-remaining": "1", "x-ratelimit-remaining": "0"})
    assert not is_used_up({})


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ .{0,6}"))
def test_any_text_can_be_in_a_header(text: str) -> None:
    headers = {"retry-after": text, "ratelimit-reset": text, "date": text}
    wait = retry_after_seconds(headers, NOW, is_rate_limit=True)
    assert wait is None or 0 <= wait <= 300
    RateLimiter().observe("a", {**headers, "ratelimit-remaining": "0"}, 1.0, NOW)
