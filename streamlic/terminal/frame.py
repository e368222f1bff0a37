"""One frame of the live display: a snapshot of a job and a width in, lines out. Pure.

Rules:
1. No line is wider than the screen, whatever the names and numbers in it. Nor is it padded: a
   screen that becomes narrower breaks long lines.
2. At one width a figure keeps its place, however large it and its neighbors grow.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamlic.formatting import bytes_text, counted, duration_text
from streamlic.job.progress import Progress
from streamlic.terminal.wait_text import wait_text

_LABEL = 13
_CELL = 39
_MOST_CELLS = 4
_SHORTEST_BAR, _LONGEST_BAR = 10, 50
_SILENT_SECONDS = 5.0
_ESTIMATE_SECONDS = 5.0
_LEAST_SHARE = 0.01
_NONE = "-"
_WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class DisplayState:
    """A snapshot of a job, with what the display measures itself."""

    progress: Progress
    bytes_per_second: float = 0.0
    """The rate of the last seconds, not the average."""
    came_at: float = 0.0
    """When bytes, or a page, last arrived."""
    memory_bytes: int | None = None


def render(
    state: DisplayState,
    now: float,
    width: int,
    *,
    title: str,
    memory_aim_bytes: int,
    is_over: bool,
    expected_pages: int | None = None,
) -> Group:
    """Return the lines of the screen at ``now``: labels and figures, and the current waits.

    ``expected_pages`` is how many pages the run may have, as far as an earlier run tells.
    """
    progress = state.progress
    rows: list[Text | Table] = [_title(progress, now, title, is_over=is_over)]
    if progress.accounts > 1:
        done = _labelled("accounts", f"{progress.accounts_done:,} of {progress.accounts:,} done")
        if progress.accounts_failed:
            done.append(f", {progress.accounts_failed:,} failed", style="red")
        rows.append(_with_bar(done, progress.accounts_done / progress.accounts, width))
    elif progress.bytes_in_all:
        share = min(progress.bytes_received / progress.bytes_in_all, 1)
        rows.append(_with_bar(_labelled("body", f"{share:.0%}"), share, width))
    amounts = _amounts(state, now, memory_aim_bytes, expected_pages)
    rows.extend(_cells(amounts, width))
    if progress.accounts == 1 and progress.account:
        rows.append(_labelled("account", progress.account))
    if not is_over:
        for number, one in enumerate(progress.slowest):
            seconds = one.seconds + now - progress.at
            text = f"{counted(one.pages, 'page')} in {duration_text(seconds)}  {one.account}"
            if progress.accounts > 1:
                rows.append(_labelled("" if number else "longest", text))
        rows.extend(_waits(state, now))
    return Group(*rows)


def _title(progress: Progress, now: float, title: str, *, is_over: bool) -> Text:
    """Return the time and the title; the time first, so a long title does not push it out."""
    seconds = duration_text(now - progress.started)
    text = Text(f"{seconds:>9}  ", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{'ended: ' if is_over else ''}{title}")
    if progress.resumed_rows:
        text.append(f", after {counted(progress.resumed_rows, 'row')}", style="not bold")
    return text


def _amounts(
    state: DisplayState, now: float, memory_aim_bytes: int, expected_pages: int | None
) -> list[tuple[str, str]]:
    progress = state.progress
    seconds = max(now - progress.started, 0.001)
    memory = "unknown"
    if state.memory_bytes is not None:
        memory = f"{state.memory_bytes >> 20:,} of {memory_aim_bytes >> 20:,} MiB"
    speed, average = state.bytes_per_second, bytes_text(progress.bytes_received / seconds)
    left = seconds_left(progress, now, expected_pages)
    return [
        ("rows", f"{progress.rows:,}"),
        ("pages", f"{progress.pages:,}  ({progress.pages / seconds:,.1f}/s)"),
        ("received", f"{bytes_text(progress.bytes_received)}  (avg {average}/s)"),
        ("part files", f"{progress.parts:,}"),
        ("speed", f"{bytes_text(speed)}/s" if speed >= 1 else _NONE),  # In a wait there is none.
        ("retries", f"{progress.retries:,}"),
        ("memory", memory),
        ("rescued", f"{progress.rescued:,}"),
        ("time left", _NONE if left is None else f"about {duration_text(left)}"),
        ("carried", counted(progress.carried_rows, "row")),
    ]


def seconds_left(progress: Progress, now: float, expected_pages: int | None) -> float | None:
    """Return an estimate of the seconds left, None where none can be made.

    It assumes a steady speed, and a total: the size of a body, or else the pages of an earlier run,
    or else that accounts are of similar size. A resumed run has no estimate: it does not count what
    an earlier process did.
    """
    seconds = now - progress.started
    if progress.resumed_rows or seconds < _ESTIMATE_SECONDS:
        return None
    if progress.bytes_in_all:
        share = progress.bytes_received / progress.bytes_in_all
    elif expected_pages:
        share = progress.pages / expected_pages
    else:
        share = progress.accounts_done / progress.accounts
    return seconds * (1 - share) / share if _LEAST_SHARE <= share < 1 else None


def _cells(amounts: list[tuple[str, str]], width: int) -> list[Text]:
    """Lay amounts out in columns of one width, as many as there is room for."""
    across = max(min(width // _CELL, _MOST_CELLS), 1)
    room = _CELL - _LABEL
    rows = []
    for at in range(0, len(amounts), across):
        row = Text(no_wrap=True, overflow="ellipsis")
        for label, value in amounts[at : at + across]:
            row.append(f"{label:>{_LABEL - 3}}  ", style="dim")
            row.append(f"{_fitted(value, room):{room}} ")
        row.rstrip()
        rows.append(row)
    return rows


def _fitted(value: str, room: int) -> str:
    return value if len(value) <= room else value[: room - 3] + "..."


def _labelled(label: str, value: str, style: str = "") -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(f"{label:>{_LABEL - 3}}  ", style="dim").append(value, style=style)


def _with_bar(line: Text, share: float, width: int) -> Text | Table:
    """Append a bar to a line, if there is room for one."""
    room = width - line.cell_len - 2
    if room < _SHORTEST_BAR:
        return line
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(line, ProgressBar(1, share, width=min(room, _LONGEST_BAR)))
    return table


def _waits(state: DisplayState, now: float) -> list[Text]:
    waits = [wait for wait in state.progress.waits if wait.until > now]
    if waits:
        texts = [wait_text(wait, now, accounts=state.progress.accounts) for wait in waits]
        texts = [text.removeprefix(f"{_WAITING} ") for text in texts]
        return [_labelled("" if number else _WAITING, text, "yellow")
                for number, text in enumerate(texts)]  # fmt: skip
    silent = now - state.came_at
    if state.progress.pages_under_way and silent >= _SILENT_SECONDS:
        return [_labelled(_WAITING, f"nothing has come for {duration_text(silent)}", "yellow")]
    return []
