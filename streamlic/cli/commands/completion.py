"""``streamlic completion``: the script with which a shell completes the command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from streamlic.cli.main import COMPLETE_VARIABLE
from streamlic.errors import UsageError


@click.command(
    epilog="""\b
bash, in ~/.bashrc:    eval "$(streamlic completion bash)"
zsh, in ~/.zshrc:      eval "$(streamlic completion zsh)"
fish, once:            streamlic completion fish > ~/.config/fish/completions/streamlic.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: commands, options, choices and paths."""
    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"this version of click has no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "streamlic", COMPLETE_VARIABLE).source())
