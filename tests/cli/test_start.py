"""How commands start: with nothing loaded that they have no use for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from streamlic.cli.command_group import CommandGroup
from streamlic.cli.commands import cli
from streamlic.cli.help import first_sentence

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"


def modules_after(code: str) -> set[str]:
    """Return the modules of a new process that ran ``code``."""
    command = f"{code}\nimport sys, json\nprint('\\n' + json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_each_command_is_listed_with_the_first_sentence_of_its_help() -> None:
    assert isinstance(cli, CommandGroup)
    said = {name: first_sentence(one) for name, one in cli.commands.items()}
    assert cli.summaries == said


def test_help_loads_no_command() -> None:
    loaded = modules_after(
        "from streamlic.cli.commands import cli\ncli.main(['--help'], standalone_mode=False)\n"
    )
    assert not {"asyncio", "ssl", "streamlic.cli.settings", "yarl"} & loaded
    assert not [name for name in loaded if name.startswith("streamlic.cli.commands.e")]


def test_a_job_loads_neither_numpy_nor_what_arrow_computes_with(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"result": [{"id": "1"}, {"id": "2"}]}))
    loaded = modules_after(
        "from streamlic.cli.commands import cli\n"
        f"cli.main(['convert', {str(body)!r}, {str(tmp_path / 'lake')!r}, '--quiet', "
        f"'--account', {ACCOUNT!r}], standalone_mode=False)\n"
    )
    assert "pyarrow.parquet" in loaded
    assert not {"numpy", "pyarrow.compute", "pyarrow._s3fs"} & loaded


@pytest.mark.skipif(not find_spec("numpy"), reason="NumPy is not installed")
def test_others_in_the_process_may_load_numpy_after_arrow() -> None:
    loaded = modules_after(
        "from streamlic.system.lean_arrow import load_arrow\n"
        "load_arrow('lake')\n"
        "import numpy, pyarrow as pa, pyarrow.compute as pc, pyarrow.fs as fs\n"
        "assert pc.sum(pa.array([1, 2])).as_py() == 3\n"
        "assert numpy.arange(3).sum() == 3\n"
        "import pyarrow._s3fs\n"
    )
    assert "numpy" in loaded


def test_arrow_that_is_loaded_stays_as_it_is() -> None:
    loaded = modules_after(
        "import pyarrow\nfrom streamlic.system.lean_arrow import load_arrow\nload_arrow('lake')\n"
    )
    assert "pyarrow.parquet" not in loaded


def test_arrow_keeps_its_clients_for_a_bucket() -> None:
    """The metadata of Iceberg tables are read and written by them."""
    modules_after(
        "from streamlic.system.lean_arrow import load_arrow\n"
        "load_arrow('s3://bucket/lake')\n"
        "import pyarrow.fs\n"
        "assert pyarrow.fs.S3FileSystem\n"
    )
