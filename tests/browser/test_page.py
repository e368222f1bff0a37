"""The report's page in a real browser: on a phone, a screen and paper, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.large_report import CUSTOMERS, LICENSES

SIZES = {"phone": (390, 844), "screen": (1280, 900)}
PAPER_PIXELS = 680
"""The width of A4 between margins of 15 mm, at 96 dots an inch."""


@contextmanager
def opened(browser: Any, url: str, size: str = "screen", **given: Any) -> Iterator[Any]:
    """Open a page in a window of its own. What it asks for is in ``asked``."""
    width, height = SIZES[size]
    # axe-core is a script of ours, which the page's policy would not let run.
    context = browser.new_context(
        viewport={"width": width, "height": height}, bypass_csp=True, **given
    )
    try:
        page = context.new_page()
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
        page.goto(url)
        yield page
    finally:
        context.close()


def texts(page: Any, table: str, column: int) -> list[str]:
    found: list[str] = page.locator(f"#{table} tbody tr td:nth-child({column})").all_inner_texts()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(browser: Any, url: str, size: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, url, size, color_scheme=scheme) as page:
        found = axe.run(page)
        assert not found.violations_count, found.generate_report()


def test_it_asks_for_nothing_but_itself(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        page.wait_for_load_state("networkidle")
        assert [one for one in page.asked if not one.startswith("data:")] == [url]
        assert page.evaluate(
            "[...document.images].every((one) => one.complete && one.naturalWidth > 0)"
        )


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_window(browser: Any, url: str, size: str) -> None:
    with opened(browser, url, size) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_each_table_fits_a_sheet_of_a4(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        page.emulate_media(media="print")
        page.set_viewport_size({"width": PAPER_PIXELS, "height": 960})
        wide = page.evaluate(
            "[...document.querySelectorAll('table, img')]"
            ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1)"
            ".map((one) => one.closest('section')?.id ?? 'picture')"
        )
        assert not wide
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_policy_lets_its_own_script_run(browser: Any, url: str) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(url)
        assert page.locator("html.scripted").count() == 1
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {text: 'window.ran = 1'}))"
        )
        assert page.evaluate("window.ran") is None
    finally:
        context.close()


def test_a_table_sorts_and_filters_from_the_keyboard(browser: Any, large_url: str) -> None:
    with opened(browser, large_url) as page:
        assert texts(page, "wasted", 3)[:2] == ["name 00000", "name 00001"]
        assert len(texts(page, "wasted", 3)) == 5
        page.locator("#wasted th:nth-child(3) button").focus()
        page.keyboard.press("Enter")
        assert texts(page, "wasted", 3)[0] == f"name {LICENSES - 1:05d}"
        assert page.get_attribute("#wasted th:nth-child(3)", "aria-sort") == "descending"
        page.keyboard.press("Enter")
        assert texts(page, "wasted", 3)[0] == "name 00000"

        page.locator("#wasted .filter").focus()
        page.keyboard.type("NAME 0777")
        assert texts(page, "wasted", 3) == [f"name 0777{last}" for last in range(5)]
        assert page.inner_text("#wasted .count") == "5 of 10 rows"
        page.locator("#wasted button.more").focus()
        page.keyboard.press("Enter")
        assert len(texts(page, "wasted", 3)) == 10
        assert page.locator("#wasted button.more").is_hidden()


def test_only_rows_that_are_shown_are_laid_out(browser: Any, large_url: str) -> None:
    with opened(browser, large_url) as page:
        assert page.locator("tr").count() < 200
        for table, rows in (("wasted", LICENSES), ("customers", CUSTOMERS)):
            assert page.inner_text(f"#{table} .count") == f"5 of {rows:,} rows"
            page.locator(f"#{table} button.more").click()
            assert page.locator(f"#{table} tbody tr").count() == 205


def test_without_scripts_every_row_and_picture_is_there(browser: Any, large_url: str) -> None:
    with opened(browser, large_url, java_script_enabled=False) as page:
        assert page.locator("#customers tbody tr").count() == CUSTOMERS
        last = page.get_by_text(f"tenant_id {CUSTOMERS - 1:05d}", exact=True)
        assert last.is_hidden()
        page.locator("#customers .unfold").check()
        assert last.is_visible()
        assert page.locator("img").count() == 2
        assert page.locator("img").first.is_visible()
