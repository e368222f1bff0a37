"""The command that looks at all that a run needs, before the run does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import click
from click.core import ParameterSource

from streamlic.cli.option_names import PREFIX
from streamlic.cli.option_sources import SettingsCommand, config_path, variables_not_read
from streamlic.cli.options import (
    connection_of,
    connection_options,
    machine_options,
    options,
    read_timeout,
    token_named,
)
from streamlic.diagnostics.check import Check, check_versions, exit_code_of, report_of

_MANY_ACCOUNTS = 10_000


class _Doctor(SettingsCommand):
    """Tells of variables in a check of its own."""

    warns_of_variables = False


@click.command(cls=_Doctor)
@click.argument("dest", type=click.Path(), required=False)
@options(
    *connection_options,
    read_timeout(20),
    *machine_options,
    click.option("--offline", is_flag=True, help="Ask the API nothing, and need no token."),
    click.option("--json", "as_json", is_flag=True, help="Print the checks as one JSON object."),
)
@click.pass_context
def doctor(ctx: click.Context, /, dest: str | None, **given: Any) -> None:
    """Look whether all is well for a run: versions, engine, token, API, DEST, limits.

    What the environment and the file say for export holds here too. Each check is ok, a warning or
    failed, with what to do. Ends with 0 where none failed, or else with what export would end with.
    """
    checks = [_settings(ctx), check_versions()]
    if not exit_code_of(checks):  # Without its libraries there is nothing more to look with.
        checks += asyncio.run(_checks(dest, given))
    if given["as_json"]:
        click.echo(json.dumps(report_of(checks)))
    else:
        for check in checks:
            click.echo(f"{check.state:8} {check.name:11} {check.found}")
            if check.advice:
                click.echo(f"{'':20} -> {check.advice}")
    sys.exit(exit_code_of(checks))


async def _checks(dest: str | None, given: dict[str, Any]) -> list[Check]:
    from streamlic.diagnostics.doctor import (
        check_api,
        check_dest,
        check_engine,
        check_limits,
        check_memory,
        check_processors,
        check_token,
    )
    from streamlic.job.options import JobOptions
    from streamlic.system.machine import memory_limit
    from streamlic.truto.timeouts import Timeouts

    timeouts = Timeouts(connect_seconds=10, silence_seconds=given["read_timeout"], token_seconds=0)
    is_online = not given["offline"]
    token = check_token(token_named(given), given["token_file"], is_needed=is_online)
    checks = [check_engine(given["engine"]), token]
    if is_online and token.state != "failed":
        checks.append(await check_api(given["base_url"], lambda: connection_of(given, timeouts)))
    if dest is not None:
        checks.append(check_dest(dest))
    source = click.get_current_context().get_parameter_source("memory_bytes")
    is_default = source is ParameterSource.DEFAULT
    memory = check_memory(given["memory_bytes"], memory_limit(), is_default=is_default)
    checks += [memory, check_processors()]
    if memory.state != "failed":
        options = JobOptions(memory_bytes=given["memory_bytes"])
        checks.append(check_limits(options.pages_at_once(_MANY_ACCOUNTS)))
    return checks


def _settings(ctx: click.Context) -> Check:
    """Look where options come from, and for variables that none is read from."""
    path, unknown = config_path(ctx), variables_not_read(ctx)
    given = sorted(name for name in os.environ if name.startswith(f"{PREFIX}_"))
    facts = {"file": path and str(path), "variables": given, "unknown_variables": list(unknown)}
    found = f"{f'file {path}' if path else 'no file'}; {', '.join(given) or 'no variables'}"
    if unknown:
        meant = ", ".join(nearest for nearest in unknown.values() if nearest)
        return Check(
            name="settings",
            state="warning",
            found=f"{found}; no option is read from {', '.join(unknown)}",
            advice=f"did you mean {meant}?" if meant else "unset what is not meant for options",
            facts=facts,
        )
    return Check(name="settings", state="ok", found=found, facts=facts)
