"""Which paths no directory can have, whoever makes it: they are the caller's mistake."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from streamlic.errors import UsageError
from streamlic.formatting import clipped

_BELOW = "x" * 150
"""As long as any name below DEST: that of a part file in staging."""
_SHOWN = 120


def check_path(dest: str) -> None:
    """Raise UsageError where DEST is no directory and no directory can be made there."""
    there = next(path for path in (Path(dest), *Path(dest).parents) if os.path.lexists(path))
    if not os.path.isdir(there):  # noqa: PTH112  # it raises for no path whatever
        what = "a link that leads to no directory" if there.is_symlink() else "a file"
        is_dest = there == Path(dest)
        raise UsageError(
            f"expected a directory, got {dest}, "
            + (f"which is {what} (DEST)" if is_dest else f"but {there} is {what} (DEST)")
        )
    most = os.pathconf(there, "PC_NAME_MAX")
    longest = max(len(os.fsencode(name)) for name in Path(dest).parts or ("",))
    if longest > most:
        raise UsageError(
            f"expected names of up to {most} bytes, got one of {longest:,}: "
            f"{clipped(dest, _SHOWN)} (DEST)"
        )
    try:
        os.lstat(f"{dest}/{_BELOW}")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(
                f"expected a shorter path, got {clipped(dest, _SHOWN)} of "
                f"{len(os.fsencode(dest)):,} bytes (DEST)"
            ) from error
