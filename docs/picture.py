"""Draw the README's picture: the top of the demo's page, as Chromium shows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

_WIDTH, _HEIGHT = 1000, 860


def main(out: str) -> None:
    """Run the demo in a directory of its own, and write a picture of its page."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (only this needs it)

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium (Debian: chromium)")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        lake = Path(directory, "demo-lake")
        subprocess.run([sys.executable, "-m", "streamlic", "demo", lake], check=True)  # noqa: S603
        # Its sandbox does not start for root in a container. The page is our own.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(lake.with_suffix(".html").as_uri())
        page.screenshot(path=out)
        browser.close()
    click.echo(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
