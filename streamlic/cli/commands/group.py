"""The command line: options in, a result out.

Results go to standard output, everything else to standard error. Commands import heavy modules when
they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from streamlic._version import __version__
from streamlic.cli.commands.accounts import accounts
from streamlic.cli.commands.compact import compact
from streamlic.cli.commands.completion import completion
from streamlic.cli.commands.convert import convert
from streamlic.cli.commands.demo import demo
from streamlic.cli.commands.doctor import doctor
from streamlic.cli.commands.emulate import emulate
from streamlic.cli.commands.expire import expire
from streamlic.cli.commands.export import export
from streamlic.cli.commands.head import head
from streamlic.cli.commands.inspect import inspect
from streamlic.cli.commands.report import report
from streamlic.cli.commands.schema import schema
from streamlic.cli.commands.sql import sql
from streamlic.cli.commands.verify import verify
from streamlic.cli.main import run_command_line
from streamlic.cli.option_names import OptionNames
from streamlic.cli.option_sources import EPILOG, SettingsGroup, config_option


@click.group(
    cls=SettingsGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
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


for command in (
    export, accounts, convert, report, sql, head, inspect, verify, compact, expire, schema, emulate,
    demo, doctor, completion,
):  # fmt: skip
    cli.add_command(command)
OptionNames(cli.commands).give_variables()


def main() -> NoReturn:
    """Run the command line; end the process with one of the documented exit codes."""
    run_command_line(cli)
