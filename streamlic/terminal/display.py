"""The live display of a job on a terminal, and the bar of a dataset that is read.

Rules:
1. The job's thread only hands over a copy of its state, five times a second at most; another
   thread draws it.
2. Lines printed meanwhile appear above the display, and the last frame stays.
3. A screen that becomes narrower breaks the lines of the last frame: all of their parts are erased.
4. A terminal that is closed ends the display, not the job.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.control import Control
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar
from rich.segment import ControlType

from streamlic.formatting import option_of
from streamlic.job.progress import Progress
from streamlic.system.process_memory import resident_bytes
from streamlic.terminal.frame import DisplayState, render
from streamlic.terminal.progress_log import state_lines
from streamlic.truto.retry import Retry

_STATE_SECONDS = 0.2
_FRAMES_PER_SECOND = 4
_LATELY_SECONDS = 5.0
_ECHO_COLUMNS = 2  # For the ^C that a terminal prints: it must not start another line.


def terminal() -> Console:
    """Return standard error as a terminal."""
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


class LiveDisplay:
    """Shows a job on the terminal. Use it as a context manager, and call it with its progress.

    The retries of a single account are printed above it; with ``is_verbose`` all retries, and every
    page. ``expected_pages`` is how many pages the run may have, for an estimate of the time left.
    """

    def __init__(
        self,
        title: str,
        memory_aim_bytes: int,
        *,
        is_verbose: bool = False,
        expected_pages: int | None = None,
    ) -> None:
        self._title = title
        self._expected_pages = expected_pages
        self._memory_aim_bytes = memory_aim_bytes
        self._is_verbose = is_verbose
        self._console = terminal()
        self._progress: Progress | None = None
        self._state: DisplayState | None = None
        self._lately: deque[tuple[float, int]] = deque()
        self._came: tuple[float, int, int] = (time.monotonic(), 0, 0)
        self._pages = 0
        self._is_over = False
        self._is_gone = False
        self._lengths: list[int] = []
        self._live = Live(
            console=self._console,
            get_renderable=self._drawn,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,  # It may be a file.
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._progress:
            self._is_over = True
            self._state = self._state_of(self._progress, time.monotonic())
            with suppress(OSError):
                self._live.stop()
                self._console.line()

    def __call__(self, progress: Progress) -> None:
        """Take the state of a job."""
        if self._is_gone:
            return
        now = time.monotonic()
        is_first, self._progress = self._progress is None, progress
        retries = [event for event in progress.events if isinstance(event, Retry)]
        is_due = self._state is None or retries or now - self._state.progress.at >= _STATE_SECONDS
        if is_due or not progress.pages_under_way:
            self._state = self._state_of(progress, now)
        try:
            if is_first:
                self._live.start(refresh=True)
                # Otherwise a killed process would leave it hidden.
                self._console.show_cursor(show=True)
            self._tell(progress, retries, now)
        except OSError:
            self._is_gone = True  # What rich could not write it would keep, and write again.

    def _tell(self, progress: Progress, retries: list[Retry], now: float) -> None:
        for retry in retries if progress.accounts == 1 or self._is_verbose else ():
            whose = f"{retry.account}: " if progress.accounts > 1 else ""
            self._above(
                f"{whose}attempt {retry.attempt} failed, another in {retry.wait_seconds:.1f} s: "
                f"{retry.error.described(option_of)}"
            )
        if self._is_verbose and progress.pages > self._pages:
            self._pages = progress.pages
            self._above(*state_lines(progress, now))

    def _above(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line)

    def _state_of(self, progress: Progress, now: float) -> DisplayState:
        if (progress.bytes_received, progress.pages) != self._came[1:]:
            self._came = (now, progress.bytes_received, progress.pages)
        self._lately.append((now, progress.bytes_received))
        while now - self._lately[0][0] > _LATELY_SECONDS and len(self._lately) > 2:
            self._lately.popleft()
        (since, before), *_ = self._lately
        return DisplayState(
            progress=progress,
            bytes_per_second=(progress.bytes_received - before) / max(now - since, 0.001),
            came_at=self._came[0],
            memory_bytes=resident_bytes(),
        )

    def _drawn(self) -> RenderableType:
        """Draw the state, and erase what a narrower screen left of the frame before."""
        state = self._state
        if state is None:
            return ""
        self._erase_broken(self._console.width)
        width = max(self._console.width - _ECHO_COLUMNS, 1)
        now = state.progress.at if self._is_over else time.monotonic()
        whole = render(
            state,
            now,
            width,
            title=self._title,
            memory_aim_bytes=self._memory_aim_bytes,
            is_over=self._is_over,
            expected_pages=self._expected_pages,
        )
        drawn = Constrain(whole, width)
        lines = self._console.render_lines(drawn, pad=False)
        self._lengths = [sum(segment.cell_length for segment in line) for line in lines]
        return drawn

    def _erase_broken(self, width: int) -> None:
        more = sum(max(length - 1, 0) // width for length in self._lengths)
        if more and self._live.is_started:
            erased = (ControlType.ERASE_IN_LINE, 2)
            self._console.control(Control(*(erased, (ControlType.CURSOR_UP, 1)) * more))


@contextmanager
def bytes_bar(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of the bytes that are done; yield the function that adds to them."""
    columns = (
        TextColumn(what),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=terminal(), transient=True, redirect_stdout=False) as bar:
        bar.console.show_cursor(show=True)  # As above.
        task = bar.add_task(what, total=total_bytes)
        yield lambda done: bar.advance(task, done)
