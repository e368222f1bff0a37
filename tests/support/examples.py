"""The examples of a Markdown page, run as a reader would run them.

Rules:
1. ``sh`` and ``python`` blocks run in order, in one shell and one empty directory.
2. A ``text`` block right after one shows lines of its output, in order; ``...`` means left-out
   lines. Ids, times and sizes may differ from run to run.
3. ``streamlic`` and ``python`` are those of this tree. The API is that of TRUTO_API_BASE_URL unless
   the page sets another.
4. Blocks of other languages do not run.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import click

from streamlic.cli.commands import cli

ROOT = Path(__file__).parents[2]
RUN = ("sh", "python")

_ENDS = set("();<>|&")
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_VARIES = re.compile(
    r"\d{8}T\d{6}Z-[0-9a-f]{8}"  # a run's id
    r"|\d{4}-\d\d-\d\d[T ][\d:.]+(?:\+00:00|Z)?"
    r"|(?<=127\.0\.0\.1:)\d+"
    r"|[\d.,]+ ?s \(\d+:\d\d:\d\d\)"  # pytest's time, after a minute
    r"|[\d.,]+ ?s\b|[\d.,]+(?= ?(?:kB|MB|MB/s|MiB|pages/s)\b)"
    r"|(?<=engine )\w+"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line at which its text begins."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """Return a page's fenced blocks."""
    return [
        Block(
            found["language"],
            re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            page.count("\n", 0, found.start()) + 2,
        )
        for found in _FENCE.finditer(page)
    ]


def run_page(page: str, directory: Path, *, seconds: float = 120, **env: str) -> None:
    """Run a page's examples in ``directory``; fail where one fails, or says other than is shown."""
    blocks = blocks_of(page)
    work, own = directory / "work", directory / "own"
    work.mkdir()
    _commands(own)
    parts = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for block in blocks:
        if block.language in RUN:
            text = block.text
            if block.language == "python":
                (own / f"{block.line}.py").write_text(text)
                text = f"python {own}/{block.line}.py\n"
            parts.append(f"echo {block.line} > {own}/line")
            parts.append(f"{{\n{text}}} > {own}/{block.line}.out 2>&1")
    (own / "page.sh").write_text("\n".join(parts) + "\n")
    given = {
        **os.environ,
        "PATH": f"{own}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **env,
    }
    code = _run(["bash", str(own / "page.sh")], work, given, seconds)
    last = (own / "line").read_text().strip()
    output = (own / f"{last}.out").read_text()
    assert code == 0, f"the example at line {last} ended with {code}:\n{output}"
    for block, after in pairwise(blocks):
        if block.language in RUN and after.language == "text":
            _check_shown(after, (own / f"{block.line}.out").read_text())


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every command of streamlic that a text names, as a shell reads them.

    A backslash continues a line, and a comment, a redirection, a pipe or a list ends a command.
    """
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # A quote that another language means otherwise.
            continue
        for place, (word, name) in enumerate(pairwise(words), 1):
            if Path(word).name == "streamlic" and name in cli.commands:
                yield list(takewhile(lambda one: not set(one) <= _ENDS, words[place:]))


def run_example(text: str, in_a_loop: bool) -> None:
    """Run a program of Python as a script, or as a cell of a notebook."""
    code = compile(text, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def in_this_loop() -> None:
        awaited = eval(code, {"__name__": "__main__"})  # noqa: S307  (our own documentation)
        if inspect.isawaitable(awaited):
            await awaited

    if in_a_loop:
        asyncio.run(in_this_loop())
    else:
        exec(code, {"__name__": "__main__"})  # noqa: S102


def check_command(arguments: list[str]) -> None:
    """Fail where streamlic would refuse these arguments as wrong use."""
    name, *rest = arguments
    with click.Context(cli) as parent:
        cli.commands[name].make_context(name, rest, parent=parent)


@cache
def module_of_docs(name: str) -> Any:
    """Return a Python module of docs/, which is not a package."""
    spec = spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commands(directory: Path) -> None:
    directory.mkdir()
    for name, module in [("streamlic", "-m streamlic "), ("python", "")]:
        path = directory / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n')
        path.chmod(0o755)


def _run(command: list[str], directory: Path, env: dict[str, str], seconds: float) -> int:
    with subprocess.Popen(
        command, cwd=directory, env=env, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _check_shown(shown: Block, output: str) -> None:
    lines = iter([_VARIES.sub("~", line.rstrip()) for line in output.splitlines()])
    for line in shown.text.splitlines():
        wanted = _VARIES.sub("~", line.rstrip())
        if wanted.strip() not in ("", "..."):
            assert wanted in lines, f"{line!r} is shown, but not said:\n{output}"
