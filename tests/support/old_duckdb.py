"""SQL in an older DuckDB: PyPI has its extensions for Delta and Iceberg, and none for newer ones.

It is in an environment of its own, which ``make test-cloud`` makes, and runs as a process.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).parents[2] / ".venv-duckdb" / "bin" / "python"
_TIMEOUT_SECONDS = 120
_PROGRAM = """
import json, sys
from importlib.util import find_spec
from pathlib import Path
import duckdb

connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")  # It would be written to stdout.
for name in ("httpfs", "avro", "delta", "iceberg"):
    package = Path(find_spec(f"duckdb_extension_{name}").origin).parent
    (file,) = package.rglob(f"{name}.duckdb_extension")
    connection.execute(f"LOAD '{file}'")
for statement in json.load(sys.stdin):
    rows = connection.execute(statement).fetchall()
json.dump(rows, sys.stdout, default=str)
"""


def read_with_old_duckdb(*statements: str, env: Mapping[str, str] | None = None) -> list[list[Any]]:
    """Run statements one after the other, and return the rows of the last one.

    A value that JSON does not have comes as text. Without the environment the test is skipped.
    """
    if not PYTHON.exists():
        pytest.skip("DuckDB 1.5.5 is not installed: `make test-cloud` installs it")
    done = subprocess.run(
        [PYTHON, "-c", _PROGRAM],
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        env=dict(env) if env is not None else None,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[Any]] = json.loads(done.stdout)
    return rows


def s3_secret(environment: Mapping[str, str]) -> str:
    """Return the statement with which DuckDB reaches an S3 of this machine."""
    names: Sequence[tuple[str, str]] = (
        ("KEY_ID", environment["AWS_ACCESS_KEY_ID"]),
        ("SECRET", environment["AWS_SECRET_ACCESS_KEY"]),
        ("REGION", environment["AWS_REGION"]),
        ("ENDPOINT", environment["AWS_ENDPOINT_URL"].removeprefix("http://")),
        ("URL_STYLE", "path"),
    )
    given = ", ".join(f"{name} '{value}'" for name, value in names)
    return f"CREATE SECRET (TYPE s3, USE_SSL false, {given})"
