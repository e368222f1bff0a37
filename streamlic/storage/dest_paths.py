"""A DEST that cannot be a local directory: it is the caller's mistake."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path, PurePosixPath

from streamlic.errors import UsageError
from streamlic.formatting import clipped
from streamlic.storage.dest_urls import is_url

_BELOW = "x" * 150
"""As long as the longest name in a dataset: that of a part file in staging."""
_SHOWN = 120
_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
_FILE_SUFFIXES = (
    *(".parquet", ".parq", ".pq", ".avro", ".orc", ".arrow", ".feather", ".ipc"),
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".xls", ".xlsx"),
    *(".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".br", ".zip", ".tar", ".tgz"),
    *(".db", ".sqlite", ".duckdb"),
)
"""Endings of a DEST that was probably meant to be a file."""


def check_directory(dest: str) -> None:
    """Raise UsageError for a DEST that cannot be a local directory: a URL, or a file."""
    url = _URL.match(dest.strip())  # pathlib writes a URL with one slash.
    if url:
        if is_url(dest.strip()) and not is_url(dest):
            raise UsageError("expected a URL without spaces before it", parameter="dest")
        expected = f"a directory, or a URL of {', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]}"
        if is_url(dest):
            expected = "a directory on this machine"
        elif url["scheme"].lower() == "file":
            expected = "a directory without file:// before it"
        raise UsageError(f"expected {expected}, got {url['scheme']}://...", parameter="dest")
    _check_path(dest)
    if os.path.isdir(dest):  # noqa: PTH112  # it never raises
        return
    refuse_file_name(dest)


def is_file_name(dest: str) -> bool:
    """Return whether DEST is named as a file."""
    return PurePosixPath(dest).suffix.lower() in _FILE_SUFFIXES


def refuse_file_name(dest: str) -> None:
    """Raise UsageError for a new DEST that is named as a file."""
    if is_file_name(dest):
        suffix = PurePosixPath(dest).suffix.lower()
        raise UsageError(
            f"expected a directory for part files, got {clipped(dest, _SHOWN)}, which looks like "
            f"a file: give a name without {suffix}",
            parameter="dest",
        )


def _check_path(dest: str) -> None:
    """Raise UsageError if DEST is not a directory and none can be created there."""
    nearest = next(path for path in (Path(dest), *Path(dest).parents) if os.path.lexists(path))
    if not os.path.isdir(nearest):  # noqa: PTH112  # it never raises
        what = "a link that does not lead to a directory" if nearest.is_symlink() else "a file"
        is_dest = nearest == Path(dest)
        raise UsageError(
            f"expected a directory, got {dest}, "
            + (f"which is {what}" if is_dest else f"but {nearest} is {what}"),
            parameter="dest",
        )
    most = os.pathconf(nearest, "PC_NAME_MAX")
    longest = max(len(os.fsencode(name)) for name in Path(dest).parts or ("",))
    if longest > most:
        raise UsageError(
            f"expected names of up to {most} bytes, got one of {longest:,}: "
            f"{clipped(dest, _SHOWN)}",
            parameter="dest",
        )
    try:
        os.lstat(f"{dest}/{_BELOW}")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(
                f"expected a shorter path, got {clipped(dest, _SHOWN)} of "
                f"{len(os.fsencode(dest)):,} bytes",
                parameter="dest",
            ) from error
