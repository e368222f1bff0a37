"""Paths at which nobody can create a directory: they are the caller's mistake."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from streamlic.errors import UsageError
from streamlic.formatting import clipped

_BELOW = "x" * 150
"""As long as the longest name in a dataset: that of a part file in staging."""
_SHOWN = 120


def check_path(dest: str) -> None:
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
