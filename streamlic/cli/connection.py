"""The connection that a command's settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from streamlic.cli.settings import (
    AccountsSettings,
    ConnectionOptions,
    ExportSettings,
)
from streamlic.cli.watch import log_of_command

if TYPE_CHECKING:
    from streamlic.share import Share
    from streamlic.truto.client import Connection
    from streamlic.truto.credentials import TokenSource
    from streamlic.truto.retry import RetryPolicy
    from streamlic.truto.timeouts import Timeouts


def connection_of(
    settings: ExportSettings | AccountsSettings, shard: Share | None = None
) -> Connection:
    """Return the connection that the settings describe; warn if others can read its token."""
    from streamlic.truto.credentials import readable_by_others
    from streamlic.truto.retry import RetryPolicy
    from streamlic.truto.timeouts import Timeouts

    token = settings.token_file
    if token and (mode := readable_by_others(token)):
        log_of_command().warning(
            f"others can read the token file {token} (mode {mode:04o}): chmod 600 {token}"
        )
    return connection_with(
        settings,
        Timeouts(silence_seconds=settings.read_timeout),
        RetryPolicy(retry_for_seconds=settings.retry_for),
        shard,
    )


def connection_with(
    settings: ConnectionOptions,
    timeouts: Timeouts,
    retry: RetryPolicy | None = None,
    shard: Share | None = None,
) -> Connection:
    """Return the connection that the settings describe, with these timeouts and retries."""
    from streamlic.truto.client import Connection
    from streamlic.truto.retry import RetryPolicy
    from streamlic.truto.settings import ConnectionSettings

    return Connection(
        ConnectionSettings(
            token=token_of(settings),
            base_url=_base_url_of(settings),
            allow_http=settings.allow_http,
            ca_file=settings.ca_file,
            rate_limit=settings.rate_limit,
            token_share=settings.token_share,
            timeouts=timeouts,
            retry=retry or RetryPolicy(),
        ).for_shard(shard)
    )


def _base_url_of(settings: ConnectionOptions) -> str:
    """Return the API's URL; UsageError if a variable for it is empty.

    Click ignores an empty variable, and requests would go to production.
    """
    from streamlic.truto.credentials import base_url_from_environment

    context = click.get_current_context()
    if context.get_parameter_source("base_url") is not ParameterSource.DEFAULT:
        return settings.base_url
    [option] = (one for one in context.command.params if one.name == "base_url")
    return base_url_from_environment(option.envvar or ())


def token_of(settings: ConnectionOptions) -> TokenSource:
    """Return where to read the token from."""
    from streamlic.truto.credentials import TokenSource

    file = settings.token_file
    return TokenSource.from_file(file) if file else TokenSource.from_environment()
