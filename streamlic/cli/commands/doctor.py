"""``streamlic doctor``: checks of what a run needs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import click
from click.core import ParameterSource

from streamlic.cli.connection import connection_with, token_of
from streamlic.cli.option_names import PREFIX
from streamlic.cli.option_sources import SettingsCommand, config_path, variables_not_read
from streamlic.cli.options import (
    connection,
    connection_options,
    json_option,
    lake_options,
    machine_options,
    options,
    part_bytes,
    read_timeout,
)
from streamlic.cli.settings import DoctorSettings
from streamlic.diagnostics.check import (
    Check,
    check_versions,
    exit_code_of,
    failed,
    report_of,
)
from streamlic.errors import StreamlicError

_MANY_ACCOUNTS = 10_000


class _Doctor(SettingsCommand):
    """Reports unknown variables in a check of its own."""

    warns_of_variables = False


@click.command(cls=_Doctor)
@click.argument("dest", type=click.Path(), required=False)
@options(
    *connection_options,
    read_timeout(20),
    *machine_options,
    *lake_options,
    part_bytes,
    connection("--offline", is_flag=True, help="Send no request, and need no token."),
    json_option,
)
@click.pass_context
def doctor(ctx: click.Context, /, **given: Any) -> None:
    """Check that a run would succeed: versions, engine, token, API, DEST, limits.

    Takes the settings of export from the environment and the file too. Each check is ok, a warning
    or failed, with advice. Exits with 0 if none failed, otherwise with the exit code that export
    would have.
    """
    settings = DoctorSettings(**given)
    checks = [_settings(ctx), check_versions()]
    if not exit_code_of(checks):  # The other checks need the libraries.
        checks += asyncio.run(_checks(settings))
    if settings.as_json:
        click.echo(json.dumps(report_of(checks)))
    else:
        for check in checks:
            click.echo(f"{check.state:8} {check.name:11} {check.found}")
            if check.advice:
                click.echo(f"{'':20} -> {check.advice}")
    sys.exit(exit_code_of(checks))


async def _checks(settings: DoctorSettings) -> list[Check]:
    from streamlic.diagnostics.doctor import (
        check_api,
        check_engine,
        check_limits,
        check_memory,
        check_processors,
        check_token,
    )
    from streamlic.job.options import JobOptions
    from streamlic.system.machine import memory_limit
    from streamlic.truto.timeouts import Timeouts

    timeouts = Timeouts(connect_seconds=10, silence_seconds=settings.read_timeout, token_seconds=0)
    is_online = not settings.offline
    token = check_token(token_of(settings), settings.token_file, is_needed=is_online)
    checks = [check_engine(settings.engine), token]
    if is_online and token.state != "failed":
        checks.append(
            await check_api(settings.base_url, lambda: connection_with(settings, timeouts))
        )
    place = [] if settings.dest is None else _place(settings, settings.dest)
    checks += place
    source = click.get_current_context().get_parameter_source("memory_bytes")
    is_default = source is ParameterSource.DEFAULT
    memory = check_memory(settings.memory_bytes, memory_limit(), is_default=is_default)
    checks.append(memory)
    checks += _format(settings, is_dest_ok=all(check.state != "failed" for check in place))
    checks.append(check_processors())
    if memory.state != "failed":
        options = JobOptions(memory_bytes=settings.memory_bytes)
        checks.append(check_limits(options.pages_at_once(_MANY_ACCOUNTS)))
    return checks


def _place(settings: DoctorSettings, dest: str) -> list[Check]:
    """Check DEST: a directory, or an object store and what it needs."""
    from streamlic.diagnostics.doctor import check_dest
    from streamlic.diagnostics.object_store import check_object_store
    from streamlic.job.options import JobOptions
    from streamlic.storage.dest_urls import is_url
    from streamlic.system.machine import MIN_MEMORY_BYTES

    if not is_url(dest):
        return [check_dest(dest)]
    options = JobOptions(
        memory_bytes=max(settings.memory_bytes, MIN_MEMORY_BYTES),
        part_bytes=settings.part_bytes,
        scratch=settings.scratch,
    )
    return check_object_store(dest, options, is_online=not settings.offline)


def _format(settings: DoctorSettings, *, is_dest_ok: bool) -> list[Check]:
    """Check the format of the tables: that of the lake in DEST, or of a new one.

    Nothing is asked of a DEST that is not all right: its own check says why.
    """
    from streamlic.dataset.commit_log import load_lake
    from streamlic.dataset.lake_state import LakeState
    from streamlic.dataset.records import WantedFormat
    from streamlic.diagnostics.table_format import check_format
    from streamlic.storage.dest_urls import is_url
    from streamlic.storage.open_store import open_store
    from streamlic.tables.table_options import needs_lake

    dest, store, lake = settings.dest, None, LakeState()
    is_known = dest is None or (is_dest_ok and not (settings.offline and is_url(dest)))
    if dest is not None and is_known:
        try:
            store = open_store(dest)
            lake = load_lake(store)
        except StreamlicError as error:
            return [failed("format", error, None, {})]
    wanted = WantedFormat(
        name=settings.format, partition_by=settings.partition_by, catalog=settings.catalog
    )
    if lake.format is None and wanted == WantedFormat():
        return []
    if not is_known and needs_lake(wanted):
        return []
    is_online, memory_bytes = not settings.offline, settings.memory_bytes
    return [check_format(wanted, store, lake, memory_bytes=memory_bytes, is_online=is_online)]


def _settings(ctx: click.Context) -> Check:
    """Check where options come from, and for unknown variables."""
    path, unknown = config_path(ctx), variables_not_read(ctx)
    given = sorted(name for name in os.environ if name.startswith(f"{PREFIX}_"))
    facts = {"file": path and str(path), "variables": given, "unknown_variables": list(unknown)}
    found = f"{f'file {path}' if path else 'no file'}; {', '.join(given) or 'no variables'}"
    if unknown:
        meant = ", ".join(nearest for nearest in unknown.values() if nearest)
        return Check(
            name="settings",
            state="warning",
            found=f"{found}; no option has the name {', '.join(unknown)}",
            advice=f"did you mean {meant}?"
            if meant
            else "unset the variables that are not options",
            facts=facts,
        )
    return Check(name="settings", state="ok", found=found, facts=facts)
