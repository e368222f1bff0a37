"""A command line that does what no command of streamlic does, run as streamlic runs its own."""

from __future__ import annotations

import errno

import click

from streamlic.cli.main import run_command_line


@click.group()
def cli() -> None:
    pass


@cli.command()
def fail() -> None:
    """Fail as a file does that is not the output."""
    raise OSError(errno.ENOSPC, "of another file")


@cli.command()
def say() -> None:
    """Write characters that few encodings have."""
    for to_errors in (False, True):
        click.echo("caf\xe9 \u043a \udcff", err=to_errors)


def run_another() -> None:
    run_command_line(cli)


if __name__ == "__main__":
    run_another()
