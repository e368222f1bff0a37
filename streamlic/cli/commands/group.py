"""The command line: options in, a result out.

Results go to standard output, everything else to standard error. Commands are loaded when one is
needed, and import heavy modules when they run: so ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from streamlic._version import __version__
from streamlic.cli.command_group import EPILOG, CommandGroup, config_option
from streamlic.cli.main import run_command_line

_COMMANDS = {
    "export": "Export accounts' licenses to Parquet files in DEST",
    "accounts": "List the integrated accounts of the token's environment, and which "
    "cannot be read now",
    "convert": "Convert a saved response body, from a file or - for standard input, "
    "to Parquet in DEST",
    "report": "Report which seats in DEST are unused, by vendor, product and customer",
    "sql": "Print the rows of QUERY, in DuckDB's SQL, over the tables of DEST",
    "head": "Show the first rows of a saved body, a lake, or a Parquet file",
    "inspect": "Show what is in DEST: licenses, accounts, nights, vendors, and rescued values",
    "verify": "Check the tables in DEST against their commit log",
    "compact": "Write small part files in DEST into large ones",
    "expire": "Let the licenses of old runs in DEST go",
    "schema": "Show the columns of a lake's table",
    "emulate": "Run a Truto API on this machine, for demos, tests and benchmarks",
    "demo": "Export a week of nights from an emulated Truto to DEST, and report the unused seats",
    "doctor": "Check that a run would succeed: versions, engine, token, API, DEST, limits",
    "completion": "Print the completion script of SHELL: commands, options, choices and paths",
}
"""The first sentence of each command's help. Its module and its function have the same name."""


@click.group(
    cls=CommandGroup,
    summaries=_COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="streamlic")
@config_option
def cli(config: str | None) -> None:  # noqa: ARG001  (commands read it from the context)
    """Stream the Truto unified API's licenses into Parquet.

    Memory stays flat whatever the size, and a failure neither loses nor duplicates a row.
    """
    if sys.platform == "linux":
        # Measured on exports: jemalloc gives memory back soonest. Arrow reads this when it loads.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")


def main() -> NoReturn:
    """Run the command line; end the process with one of the documented exit codes."""
    run_command_line(cli)
