"""Check the links and pictures of a built site, without the network.

``python docs/check_links.py build/site`` lists broken links by page, and then ends with 1. It skips
links to other sites.
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = {"a": "href", "img": "src", "link": "href", "script": "src", "source": "src"}


class _Page(HTMLParser):
    """Collects a page's links and anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag's link, and the anchors that it defines."""
        given = dict(attrs)
        if link := given.get(_LINKS.get(tag, "")):
            self.links.append(link)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(site: Path) -> list[str]:
    """Return the broken links of a site, each with its page and the reason."""
    return [
        f"{path.relative_to(site)}: {link} {why}"
        for path in sorted(site.rglob("*.html"))
        for link in _read(path).links
        if (why := _why_broken(site, path, link))
    ]


def _why_broken(site: Path, page: Path, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path, anchor = unquote(parts.path), unquote(parts.fragment)
    base = site if path.startswith("/") else page.parent
    target = (base / path.lstrip("/")).resolve() if path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return "does not exist"
    if anchor and target.suffix == ".html" and anchor not in _read(target).anchors:
        return "is an anchor that does not exist"
    return None


def main() -> int:
    """Check the site in the given directory; return the exit code."""
    site = Path(sys.argv[1]).resolve()
    pages = sum(1 for _ in site.rglob("*.html"))
    broken = broken_links(site)
    print("\n".join([*broken, f"{pages} pages, {len(broken)} broken links"]))  # noqa: T201
    return 1 if broken or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
