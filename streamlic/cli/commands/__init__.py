"""The commands, a module each, and the group that holds them."""

from streamlic.cli.commands.group import cli, main

__all__ = ["cli", "main"]
