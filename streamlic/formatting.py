"""Amounts as text: bytes, durations, counts. Pure."""

from __future__ import annotations

from unicodedata import category

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def bytes_text(size_bytes: float) -> str:
    """Return a size in decimal units: ``118.4 MB``."""
    for unit, name in _UNITS:
        if size_bytes >= unit * 0.99995:  # Otherwise it would be 1,000 of the smaller unit.
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes:,.0f} B"


def memory_text(size_bytes: int) -> str:
    """Return an amount of memory in binary units: ``192 MiB``."""
    if size_bytes >= 1 << 30:
        return f"{size_bytes / (1 << 30):,.1f} GiB"
    return f"{size_bytes / (1 << 20):,.0f} MiB"


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units: ``1 h 02 m``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} m"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 page``, ``2,000 pages``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra, given where streamlic's source is."""
    return f"pip install '.[{extra}]' in the directory of streamlic's source"


def visible(text: str) -> str:
    """Return a text without what a terminal obeys: control characters become escapes."""
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return " " if category(character) == "Zs" else ascii(character)[1:-1]


def clipped(text: str, most: int) -> str:
    """Return a text of at most so many characters, on one line, without control characters."""
    text = " ".join(text[: most * 4].split()) if len(text) > most else " ".join(text.split())
    text = visible(text)
    return text if len(text) <= most else text[: most - 3] + "..."


_OPTION_OF_PARAMETER = {
    "dest": "DEST",
    "exclude_fields": "--exclude-field",
    "memory_bytes": "--memory",
    "ndjson": "--lines",
    "retry_for_seconds": "--retry-for",
    "silence_seconds": "--read-timeout",
    "token": "--token-file",
}
"""The options that are not spelled like their parameters."""


def option_of(parameter: str, value: str = "") -> str:
    """Return a parameter of Python as the command line spells it: ``--rows-at``, ``--mode append``.

    The value of a flag is ``True`` or ``False``.
    """
    option = _OPTION_OF_PARAMETER.get(parameter) or "--" + parameter.replace("_", "-")
    if value == "False":
        return option.replace("--", "--no-", 1)
    return option if value in ("", "True") else f"{option} {value}"
