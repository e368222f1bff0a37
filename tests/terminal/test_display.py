"""What a terminal shows: at every width, while it waits, in the end, and where it shows little."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from streamlic.cli.expected_pages import expected_pages
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from streamlic.job.progress import ActiveAccount, Progress
from streamlic.terminal.frame import DisplayState, render
from streamlic.truto.request import LicensesRequest
from streamlic.truto.wait_reasons import WaitCause, WaitReason, WaitStatus
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, export_args, run_cli
from tests.support.terminal import Shown, show_cli

WIDTHS = [20, 39, 40, 80, 81, 120, 200, 400]
LONG = "account-" + "x" * 500


def of_one() -> DisplayState:
    wait = WaitStatus(WaitCause(WaitReason.RETRY_AFTER, "HTTP 429 " * 60), until=61.0, accounts=1)
    progress = Progress(
        account=LONG,
        rows=123_456_789_012,
        pages=1_234_567,
        bytes_received=9_876_543_210_987,
        parts=54_321,
        retries=1_234,
        rescued=99_999_999,
        resumed_rows=5_000_000,
        started=-400_000.0,
        at=0.0,
        waits=(wait,),
    )
    return DisplayState(progress=progress, memory_bytes=150 << 20)


def of_many() -> DisplayState:
    limit = WaitStatus(
        WaitCause(WaitReason.TOKEN_LIMIT, "500 requests in 10 s"), until=8.0, accounts=64
    )
    progress = Progress(
        accounts=10_000,
        accounts_done=1_234,
        accounts_failed=3,
        rows=24_680,
        waits=(limit,),
        slowest=(ActiveAccount(LONG, 45, 61.4), ActiveAccount("account-y", 1, 3.0)),
        started=0.0,
        at=0.0,
    )
    return DisplayState(progress=progress)


def lines(
    state: DisplayState,
    width: int,
    *,
    now: float = 0,
    is_over: bool = False,
    expected_pages: int | None = None,
) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    drawn: Group = render(
        state,
        now,
        width,
        title="export to licenses",
        memory_aim_bytes=256 << 20,
        is_over=is_over,
        expected_pages=expected_pages,
    )
    with console.capture() as capture:
        console.print(drawn, soft_wrap=True)  # Too long a line would stay one, and be seen.
    return capture.get().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("state", [of_one(), of_many()], ids=["one", "many"])
def test_no_line_is_wider_than_the_screen(state: DisplayState, width: int) -> None:
    console = Console(width=width, color_system=None)
    drawn = render(state, 0, width, title="t" * 300, memory_aim_bytes=256 << 20, is_over=False)
    shown = console.render_lines(drawn, pad=False)
    assert max(sum(segment.cell_length for segment in line) for line in shown) <= width
    assert len(shown) < 20, "no line was broken in two"


@pytest.mark.parametrize("width", [80, 200])
def test_all_figures_are_shown(width: int) -> None:
    text = "\n".join(lines(of_one(), width))
    for figure in (
        "123,456,789,012", "1,234,567  (", "9.9 TB", "54,321", "1,234", "99,999,999",
        "150 of 256 MiB", "111 h 06 m", "after 5,000,000 rows",
        "waiting  1 m 01 s: the API asked for it (Retry-After): HTTP 429",
    ):  # fmt: skip
        assert figure in text, figure


@pytest.mark.parametrize("width", [80, 200])
def test_many_accounts_are_shown_by_totals_failures_and_the_slowest(width: int) -> None:
    text = "\n".join(lines(of_many(), width))
    for figure in (
        "1,234 of 10,000 done, 3 failed", "45 pages in 1 m 01 s  account-", "1 page in 3 s",
        "  waiting  8 s, 64 accounts: the token's rate limit, 500 requests in 10 s",
        "unknown",
    ):  # fmt: skip
        assert figure in text, figure


def test_a_wait_is_counted_down_and_then_gone() -> None:
    state = of_many()
    assert "waiting  8 s, 64" in "\n".join(lines(state, 80))
    assert "waiting  3 s, 64" in "\n".join(lines(state, 80, now=5))
    assert "wait" not in "\n".join(lines(state, 80, now=8))


def test_silence_is_shown() -> None:
    state = DisplayState(progress=Progress(started=0, at=0, pages_under_way=1), came_at=0)
    assert "nothing has come" not in "\n".join(lines(state, 80, now=4))
    assert "waiting  nothing has come for 12 s" in "\n".join(lines(state, 80, now=12))


def test_in_the_end_nothing_is_waited_for() -> None:
    for state in (of_one(), of_many()):
        text = "\n".join(lines(state, 80, is_over=True))
        assert "ended: export to licenses" in text
        assert "wait" not in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_figure_keeps_its_place_however_large_the_others_grow(width: int) -> None:
    """The grid does not re-flow: at one width every label has one line and one column."""
    labels = ("rows", "pages", "received", "part files", "speed", "retries", "memory", "rescued",
              "time left", "carried")  # fmt: skip
    huge = replace(of_one().progress, carried_rows=10**30, pages=10**30, parts=10**30, rows=10**30)
    empty = Progress(account=LONG, started=0.0)
    fast = replace(of_one(), bytes_per_second=999_949.0)
    places = set()
    for state in (
        replace(of_one(), progress=huge),
        fast,
        DisplayState(progress=replace(empty, at=0.0)),
    ):
        text = lines(state, width)
        at = [(number, found.start()) for label in labels for number, line in enumerate(text)
              if (found := re.search(rf"(?<!\S){label}  ", line))]  # fmt: skip
        places.add(tuple(at))
    assert len(places) == 1
    assert len(places.pop()) == len(labels)


def test_no_speed_is_shown_in_a_wait() -> None:
    state = of_many()
    assert "speed  -" in "\n".join(lines(state, 80))
    assert "speed  1.5 MB/s" in "\n".join(lines(replace(state, bytes_per_second=1.5e6), 80))
    assert "0.0 " not in "\n".join(lines(state, 80)).replace("0.0/s", "")


@pytest.mark.parametrize(
    ("known", "now", "expected_pages", "left"),
    [
        ({"pages": 30}, 60, 120, "about 3 m 00 s"),
        ({"pages": 30}, 60, None, "-"),
        ({"pages": 130}, 60, 120, "-"),
        ({"pages": 30}, 4, 120, "-"),
        ({"pages": 30, "resumed_rows": 5}, 60, 120, "-"),
        ({"accounts": 10, "accounts_done": 5}, 60, None, "about 1 m 00 s"),
        ({"accounts": 1000, "accounts_done": 5}, 60, None, "-"),
        ({"accounts": 10, "accounts_done": 9, "pages": 30}, 60, 40, "about 20 s"),
        ({"bytes_received": 750, "bytes_in_all": 1000}, 60, None, "about 20 s"),
    ],
)
def test_the_time_left_is_estimated_where_a_total_is_known(
    known: dict[str, Any], now: int, expected_pages: int | None, left: str
) -> None:
    """From a body's size, the pages of an earlier run, or the share of accounts that are done."""
    state = DisplayState(progress=replace(Progress(started=0.0, at=0.0), **known))
    text = "\n".join(lines(state, 80, now=now, expected_pages=expected_pages))
    assert re.search(r"time left  (\S+(?: \S+)*)", text)[1] == left  # type: ignore[index]


async def test_an_earlier_run_tells_how_many_pages_to_expect(tmp_path: Path) -> None:
    request = LicensesRequest(account=ACCOUNT, limit=10)
    other = LicensesRequest(account=OTHER_ACCOUNT, limit=10)
    dest = str(tmp_path / "out")
    assert expected_pages(dest, [request]) is None
    async with running_emulator(EmulatorConfig(records=45)) as emulator:
        ended = await run_cli(*export_args(tmp_path / "out", emulator.url, "--limit", "10"))
    assert ended.code == 0
    assert expected_pages(dest, [request]) == 5
    assert expected_pages(dest, [request, other]) == 5
    assert expected_pages(dest, [other]) is None
    assert expected_pages(dest, [replace(request, limit=20)]) is None, "of another page size"


# Real processes on real terminals


async def exported(
    dest: Path, *more: str, columns: int = 80, retry_after: int = 0, **env: str
) -> Shown:
    """Export 20 pages of an account, one request of which is limited, on a terminal."""
    fault = parse_fault(f"429={retry_after}@7")
    config = EmulatorConfig(records=200, page_size=10)
    async with running_emulator(config, faults=(fault,)) as emulator:
        return await show_cli(
            "export", str(dest), "--base-url", emulator.url, "--rate-limit", "none",
            "--account", ACCOUNT, *more, columns=columns, env=env,
        )  # fmt: skip


def figures(frame: list[str]) -> dict[str, str]:
    """Return the figures of a frame by their labels."""
    labels = "rows|pages|received|part files|speed|retries|memory|rescued|account|accounts"
    found = re.findall(rf"(?<!\S)({labels})  (\S+(?: \S+)*)", "\n".join(frame))
    return dict(found)


@pytest.mark.parametrize("columns", [80, 200])
async def test_a_terminal_shows_an_export_and_keeps_its_last_state(
    tmp_path: Path, columns: int
) -> None:
    shown = await exported(tmp_path / "dest", columns=columns)
    assert shown.code == 0
    assert len(shown.frames) > 2
    last = shown.frames[-1]
    display = [line for line in last if line and not line.startswith(("read:", "verify:", "look:"))]
    assert max(map(len, display)) <= columns
    assert all(len(line) <= columns for frame in shown.frames[:-1] for line in frame)
    shown_figures = figures(last)
    assert shown_figures["rows"] == "200"
    assert shown_figures["pages"] == "20"
    assert shown_figures["part files"] == "1"
    assert shown_figures["retries"] == "1"
    assert re.fullmatch(r"[\d,]+ of 256 MiB", shown_figures["memory"])
    assert shown_figures["account"] == ACCOUNT
    assert "ended: export to " in last[0]
    assert any(line.startswith("run ") and line.endswith(": complete") for line in last)


async def test_a_wait_is_shown_and_the_retry_is_printed_above_it(tmp_path: Path) -> None:
    shown = await exported(tmp_path / "dest", retry_after=1)
    waits = [
        line
        for frame in shown.frames
        for line in frame
        if re.match(r" *waiting  \d+ s: the API asked for it \(Retry-After\): HTTP 429", line)
    ]
    assert waits
    retry = [line for line in shown.lines if line.startswith("attempt 1 failed, another in 1.")]
    assert len(retry) == 1, "what is printed above is never written over"


async def test_there_is_room_for_what_the_terminal_echoes(tmp_path: Path) -> None:
    """A ^C after a line as wide as the screen starts another, which would not be erased."""
    shown = await exported(tmp_path / ("d" * 100))
    widths = [
        len(line)
        for frame in shown.frames[:-1]
        for line in frame
        if line.startswith(" ")  # The display's own.
    ]
    assert max(widths) == 78


async def test_a_screen_that_becomes_narrower_is_kept_to(tmp_path: Path) -> None:
    fault = parse_fault("429=1@7")
    config = EmulatorConfig(records=200, page_size=10)
    async with running_emulator(config, faults=(fault,)) as emulator:
        args = ["export", str(tmp_path), "--base-url", emulator.url, "--account", ACCOUNT]
        shown = await show_cli(*args, columns=200, narrowed_to=50)
    assert max(len(line) for frame in shown.frames for line in frame) > 50
    assert figures(shown.frames[-1])["rows"] == "200"
    display = shown.frames[-1][: shown.frames[-1].index("")]
    assert max(map(len, display)) <= 50
    assert "\x1b[1A\r\x1b[2K" in shown.raw, "broken lines are erased before the others"


async def test_many_accounts_are_shown_together(tmp_path: Path) -> None:
    shown = await exported(tmp_path / "dest", "--account", OTHER_ACCOUNT)
    assert shown.code == 0
    assert figures(shown.frames[-1])["accounts"].startswith("2 of 2 done")
    assert not any(line.startswith("attempt ") for line in shown.lines)


async def test_no_color_is_respected(tmp_path: Path) -> None:
    plain = await exported(tmp_path / "plain", NO_COLOR="1")
    assert figures(plain.frames[-1])["rows"] == "200"
    assert not re.search(r"\x1b\[(?:\d+;)*[34]\dm", plain.raw)
    assert (await exported(tmp_path / "coloured")).has_colours


async def test_a_dumb_terminal_has_plain_lines(tmp_path: Path) -> None:
    shown = await exported(tmp_path / "dest", TERM="dumb")
    assert shown.code == 0
    assert "\x1b" not in shown.raw
    assert any(line.startswith("attempt 1 failed: HTTP 429") for line in shown.lines)


async def test_a_quiet_terminal_shows_the_summary_alone(tmp_path: Path) -> None:
    shown = await exported(tmp_path / "dest", "--quiet")
    assert "\x1b" not in shown.raw
    assert shown.lines[0].startswith("run ")


async def test_json_for_machines_is_drawn_over_by_nothing(tmp_path: Path) -> None:
    shown = await exported(tmp_path / "dest", "--log-format", "json", "--json")
    assert "\x1b" not in shown.raw
    events = [json.loads(line) for line in shown.lines if line]
    assert [one.get("event") for one in events[:2]] == ["start", "retry"]


async def test_the_cursor_is_left_visible(tmp_path: Path) -> None:
    """Where a process is killed nobody shows it again: it must not be hidden while it runs."""
    raw = (await exported(tmp_path / "dest", retry_after=1)).raw
    assert raw.index("\x1b[?25l") < raw.index("\x1b[?25h") < raw.index("waiting")


async def test_an_error_follows_the_display_on_a_line_of_its_own(tmp_path: Path) -> None:
    fault = parse_fault("status=404@5-9999")
    config = EmulatorConfig(records=200, page_size=10)
    async with running_emulator(config, faults=(fault,)) as emulator:
        args = ["export", str(tmp_path / "dest"), "--base-url", emulator.url, "--account", ACCOUNT]
        shown = await show_cli(*args)
    assert shown.code == 6
    last = [line for line in shown.frames[-1] if line]
    [at] = [number for number, line in enumerate(last) if line.startswith("streamlic: HTTP 404")]
    assert figures(last[:at])["rows"] == "40"
    assert any(line.startswith("resume: streamlic export ") for line in last[at:])


async def test_verify_and_inspect_end_with_their_results_on_a_terminal(tmp_path: Path) -> None:
    dest = str(tmp_path / "dest")
    body = tmp_path / "body.json"
    body.write_bytes(b'{"result": [{"id": "a", "status": "active"}]}')
    assert (await run_cli("convert", str(body), dest, "--quiet")).code == 0
    verified = await show_cli("verify", dest)
    assert any("verifying" in line for line in verified.lines)
    assert [line for line in verified.lines if line][-1].startswith("sound: ")
    inspected = await show_cli("inspect", dest)
    assert any("reading" in line for line in inspected.lines)
    assert any(re.fullmatch(r" +1  active", line) for line in inspected.lines)


@pytest.mark.parametrize("columns", [80, 200])
async def test_a_file_is_converted_with_a_bar(tmp_path: Path, columns: int) -> None:
    source = tmp_path / "body.json"
    source.write_bytes(b'{"result": [' + b",".join([b'{"id": "a"}'] * 5_000) + b"]}")
    shown = await show_cli("convert", str(source), str(tmp_path / "dest"), columns=columns)
    assert shown.code == 0
    assert any(re.match(r" *body  100%", line) for line in shown.frames[-1])
    assert figures(shown.frames[-1])["rows"] == "5,000"
