"""The pages of one list as a state machine: no network, no clock, every step by hand."""

from __future__ import annotations

import pytest

from streamlic.errors import ApiError, DecodeError, PageMismatch, TransportError
from streamlic.truto.account_pages import AccountPages, Done, WaitUntil
from streamlic.truto.request import LicensesRequest
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.wait_reasons import WaitReason

FIRST = LicensesRequest(account="62f44730-dd91-461e-bd6a-aedd9e0ad79d")
POLICY = RetryPolicy(retry_for_seconds=100, backoff_seconds=8, max_backoff_seconds=8)


def pages_of(request: LicensesRequest = FIRST, count: int = 0) -> AccountPages[LicensesRequest]:
    return AccountPages(request, POLICY, count=count)


def test_cursors_lead_from_page_to_page_to_the_end() -> None:
    pages = pages_of()
    for cursor in ("a", "b"):
        assert pages.next_request(0) == pages.request
        pages.page_arrived(cursor)
        assert pages.request.next_cursor == cursor
    assert pages.next_request(0) == FIRST.after("b")
    pages.page_arrived(None)
    assert pages.next_request(0) == Done()
    assert pages.count == 3


def test_a_page_that_failed_is_requested_again_when_its_wait_is_over() -> None:
    pages = pages_of()
    pages.page_arrived("a")
    retry = pages.failed(TransportError("reset"), 1000)
    assert retry
    assert 4 <= retry.wait_seconds <= 8
    assert retry.attempt == 1
    step = pages.next_request(1000)
    assert isinstance(step, WaitUntil)
    assert step.moment == 1000 + retry.wait_seconds
    assert step.cause.reason is WaitReason.BACKOFF
    assert pages.next_request(step.moment) == FIRST.after("a"), "the same page"
    pages.page_arrived("b")
    assert pages.next_request(0) == FIRST.after("b"), "the wait belonged to the page before"


def test_the_policy_ends_the_attempts_at_a_page_and_a_page_that_arrives_resets_them() -> None:
    pages = pages_of()
    assert [bool(pages.failed(TransportError("reset"), 0)) for _ in range(3)] == [True] * 3
    pages.page_arrived("a")
    assert all(pages.failed(TransportError("reset"), at) for at in (0, 40, 80, 99))
    error = TransportError("reset")
    assert pages.failed(error, 100) is None
    assert str(error) == "reset; given up after 5 attempts in 100 s (retry_for_seconds)"
    assert pages.next_request(1000) == Done()


def test_what_no_retry_helps_is_given_up_at_once_and_a_spoilt_body_at_the_second() -> None:
    assert pages_of().failed(ApiError("denied", status=403), 0) is None
    pages = pages_of()
    assert pages.failed(DecodeError("not JSON", position=0), 0)
    assert pages.failed(DecodeError("not JSON", position=0), 1) is None


def test_a_cursor_that_comes_again_is_an_error_before_the_page_counts() -> None:
    pages = pages_of()
    for cursor in ("a", "b"):
        pages.page_arrived(cursor)
    pages.check("c")
    pages.check("c")
    for leads_back in ("a", "b"):
        with pytest.raises(PageMismatch, match="loop"):
            pages.check(leads_back)
        with pytest.raises(PageMismatch, match="loop"):
            pages.page_arrived(leads_back)
    assert pages.count == 2
    pages.page_arrived("c")
    assert pages.count == 3
