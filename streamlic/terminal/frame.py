"""One frame of the live display: a job's state and a width in, lines out. Pure.

Rule: no line is wider than the screen, whatever the names and numbers in it, nor padded: a screen
that becomes narrower breaks long lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamlic.formatting import bytes_text, counted, duration_text
from streamlic.job.summary import Progress, UnderWay
from streamlic.terminal.wait_text import wait_text
from streamlic.truto.wait_reasons import WaitStatus

_LABEL = 12
_CELL = 38
_MOST_CELLS = 4
_SHORTEST_BAR, _LONGEST_BAR = 10, 50
_SILENT_SECONDS = 5.0
_WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class DisplayState:
    """A job's state at one moment (monotonic), with what only its own thread may ask for."""

    at: float
    progress: Progress
    waits: list[WaitStatus] = field(default_factory=list)
    slowest: list[UnderWay] = field(default_factory=list)
    bytes_per_second: float = 0.0
    """Lately, not on the whole."""
    came_at: float = 0.0
    """When bytes, or a page, last came."""
    memory_bytes: int | None = None


def render(
    state: DisplayState, now: float, width: int, *, title: str, memory_aim_bytes: int, is_over: bool
) -> Group:
    """Return what the screen shows at ``now``: labels and amounts, and what is waited for."""
    progress = state.progress
    rows: list[Text | Table] = [_title(progress, now, title, is_over=is_over)]
    if progress.accounts > 1:
        told = _labelled("accounts", f"{progress.accounts_done:,} of {progress.accounts:,} done")
        if progress.accounts_failed:
            told.append(f", {progress.accounts_failed:,} failed", style="red")
        rows.append(_with_bar(told, progress.accounts_done / progress.accounts, width))
    elif progress.bytes_in_all:
        share = min(progress.bytes_received / progress.bytes_in_all, 1)
        rows.append(_with_bar(_labelled("body", f"{share:.0%}"), share, width))
    rows.extend(_cells(_amounts(state, now, memory_aim_bytes), width))
    if progress.accounts == 1 and progress.account:
        rows.append(_labelled("account", progress.account))
    if not is_over:
        for number, one in enumerate(state.slowest):
            seconds = one.seconds + now - state.at
            text = f"{counted(one.pages, 'page')} in {duration_text(seconds)}  {one.account}"
            if progress.accounts > 1:
                rows.append(_labelled("" if number else "longest", text))
        rows.extend(_waits(state, now))
    return Group(*rows)


def _title(progress: Progress, now: float, title: str, *, is_over: bool) -> Text:
    """Say what and for how long; first the time, which a long name must not push out."""
    seconds = duration_text(now - progress.started)
    text = Text(f"{seconds:>9}  ", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{'ended: ' if is_over else ''}{title}")
    if progress.resumed_rows:
        text.append(f", after {counted(progress.resumed_rows, 'row')}", style="not bold")
    return text


def _amounts(state: DisplayState, now: float, memory_aim_bytes: int) -> list[tuple[str, str]]:
    progress = state.progress
    seconds = max(now - progress.started, 0.001)
    memory = "unknown"
    if state.memory_bytes is not None:
        memory = f"{state.memory_bytes >> 20:,} of {memory_aim_bytes >> 20:,} MiB"
    average = f"{progress.bytes_received / seconds / 1e6:,.1f} on average"
    carried = f"  ({progress.carried_rows:,} carried over)" if progress.carried_rows else ""
    return [
        ("rows", f"{progress.rows:,}{carried}"),
        ("pages", f"{progress.pages:,}  ({progress.pages / seconds:,.1f}/s)"),
        ("received", bytes_text(progress.bytes_received)),
        ("part files", f"{progress.parts:,}"),
        ("MB/s", f"{state.bytes_per_second / 1e6:,.1f}  ({average})"),
        ("retries", f"{progress.retries:,}"),
        ("memory", memory),
        ("rescued", f"{progress.rescued:,}"),
    ]


def _cells(amounts: list[tuple[str, str]], width: int) -> list[Text]:
    """Lay amounts out beside each other, as many as there is room for."""
    across = max(min(width // _CELL, _MOST_CELLS), 1)
    rows = []
    for at in range(0, len(amounts), across):
        row = Text(no_wrap=True, overflow="ellipsis")
        for label, value in amounts[at : at + across]:
            row.append(f"{label:>{_LABEL - 3}}  ", style="dim")
            row.append(f"{value:{_CELL - _LABEL}} ")
        row.rstrip()
        rows.append(row)
    return rows


def _labelled(label: str, value: str, style: str = "") -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(f"{label:>{_LABEL - 3}}  ", style="dim").append(value, style=style)


def _with_bar(line: Text, share: float, width: int) -> Text | Table:
    """Put a bar behind a line, where there is room for one."""
    room = width - line.cell_len - 2
    if room < _SHORTEST_BAR:
        return line
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(line, ProgressBar(1, share, width=min(room, _LONGEST_BAR)))
    return table


def _waits(state: DisplayState, now: float) -> list[Text]:
    waits = [wait for wait in state.waits if wait.until > now]
    if waits:
        texts = [wait_text(wait, now, accounts=state.progress.accounts) for wait in waits]
        texts = [text.removeprefix(f"{_WAITING} ") for text in texts]
        return [_labelled("" if number else _WAITING, text, "yellow")
                for number, text in enumerate(texts)]  # fmt: skip
    silent = now - state.came_at
    if state.progress.pages_under_way and silent >= _SILENT_SECONDS:
        return [_labelled(_WAITING, f"nothing has come for {duration_text(silent)}", "yellow")]
    return []
