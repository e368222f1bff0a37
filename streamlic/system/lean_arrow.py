"""Loads Arrow as a job on a local disk needs it: sooner, and in less memory.

pyarrow loads NumPy if it is installed, and clients of object stores. A job uses neither, and they
take a quarter of the CPU time of a start and 20 MiB. pyarrow works without them: its own imports
are guarded. Only a process of the command line may do this, because pyarrow stays without NumPy.
"""

from __future__ import annotations

import sys
from importlib import import_module

_UNUSED = (
    "numpy",
    "pyarrow._azurefs",
    "pyarrow._gcsfs",
    "pyarrow._hdfs",
    "pyarrow._s3fs",
)


def load_arrow(dest: str) -> None:
    """Load pyarrow without what it can do without; nothing if it is loaded, or DEST is a bucket.

    pyiceberg reaches a bucket by pyarrow's client.
    """
    if "://" in dest or "pyarrow" in sys.modules:
        return
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None fails an import
    try:
        import_module("pyarrow.parquet")
        import_module("pyarrow._compute")  # It would load NumPy later.
    finally:
        for name in hidden:  # Others, such as DuckDB, may import them.
            del sys.modules[name]
