"""Chromium, for the tests of the report's page: ``make test-page`` installs what they need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.answers.figures import Report
from streamlic.answers.page import page
from tests.answers.conftest import answers
from tests.support.large_report import enlarged

__all__ = ["answers"]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here: ``make test`` needs no browser."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser(report: Report) -> Iterator[Any]:
    """Return a browser. It keeps an event loop running: a lake must be exported before."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium (Debian: chromium)")
    with playwright.sync_playwright() as started:
        # Its sandbox does not start for root in a container. The page is our own.
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def report(answers: Any) -> Report:
    return streamlic.report(answers.dest, top=5)


@pytest.fixture(scope="session")
def url(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of a small lake."""
    return written(tmp_path_factory.mktemp("page") / "seats.html", report)


@pytest.fixture(scope="session")
def large_url(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a page with 10,000 licenses and 3,000 customers."""
    return written(tmp_path_factory.mktemp("page") / "large.html", enlarged(report))


def written(path: Path, report: Report) -> str:
    path.write_text(page(report, "lake"))
    return path.as_uri()
