"""What the site needs in addition to the pages, which are written to be read on the forge.

1. A link that leaves docs/ leads to a copy of that file within the site.
2. ``<!-- site: names -->`` becomes the directives by which mkdocstrings documents the public names.
3. A pipe in a table's code needs a backslash on the forge. Here the backslash would be shown.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import streamlic

_ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")
_NAMES = "<!-- site: names -->"
_TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")


def on_files(files: Any, config: Any) -> None:
    """Add the files outside of docs/ that pages link to. MkDocs calls this once."""
    from mkdocs.structure.files import File  # noqa: PLC0415  (only the site needs it)

    pages = [file for file in files if file.src_uri.endswith(".md")]
    outside = {
        path
        for page in pages
        for link in _LINK.findall(page.content_string)
        if (path := _path_outside(page.src_uri, link))
    }
    for path in sorted(outside):
        files.append(File.generated(config, path, abs_src_path=str(_ROOT / path)))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's Markdown for the site. MkDocs calls this for every page."""
    return page_markdown(markdown, page.file.src_uri)


def page_markdown(markdown: str, uri: str) -> str:
    """Return a page's Markdown for the site; ``uri`` is its path within docs/."""
    text = markdown.replace(_NAMES, public_names())
    text = _LINK.sub(lambda link: f"]({_site_link(uri, link[1])}", text)
    return _TABLE_ROW.sub(
        lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text
    )


def _site_link(uri: str, link: str) -> str:
    path = _path_outside(uri, link)
    return posixpath.relpath(path, posixpath.dirname(uri) or ".") if path else link


def _path_outside(uri: str, link: str) -> str | None:
    """Return the path within the repository of a link that leaves docs/; None for any other."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(uri), link))
    return None if path.startswith("docs/") else path


def public_names() -> str:
    """Return the directives by which mkdocstrings documents every public name."""
    return "\n\n".join(
        f"## {kind}\n\n" + "\n\n".join(f"::: streamlic.{name}" for name in names)
        for kind, names in names_by_kind().items()
    )


def names_by_kind() -> dict[str, list[str]]:
    """Return the public names of the package, by what they are."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Constants": []}
    for name in streamlic.__all__:
        value = getattr(streamlic, name)
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        if not inspect.isclass(value):
            kind = "Functions" if inspect.isroutine(value) else "Constants"
        else:
            kind = "Errors" if issubclass(value, Exception) else "Classes"
        kinds[kind].append(name)
    return {kind: names for kind, names in kinds.items() if names}
