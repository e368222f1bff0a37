"""What a run says of its memory, by what its container allows; in process, with limits made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from streamlic.cli import main as cli_running
from streamlic.cli.commands import cli
from streamlic.cli.types import Size
from streamlic.system import machine
from streamlic.system.machine import MemoryLimit

MIB = 1 << 20
BODY = b'{"result":[{"id":"a"}]}'


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put this process into a container of so many MiB."""

    def contain(limit_mib: int) -> None:
        limit = MemoryLimit(limit_mib * MIB, "/sys/fs/cgroup/memory.max", is_containers=True)
        for module in (machine, cli_running):
            monkeypatch.setattr(module, "memory_limit", lambda: limit)

    return contain


def converted(dest: Path, *more: str) -> Result:
    source = dest.with_name("body.json")
    source.write_bytes(BODY)
    args = ["convert", str(source), str(dest), *more]
    result = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


def test_an_aim_that_the_container_led_to_is_the_first_line(tmp_path: Path, container: Any) -> None:
    container(200)
    says = "--memory is 150 MiB, because the container has 200 MiB (/sys/fs/cgroup/memory.max)"
    assert converted(tmp_path / "a").stderr.splitlines()[0] == says
    first, *_ = map(
        json.loads, converted(tmp_path / "b", "--log-format", "json").stderr.splitlines()
    )
    assert (first["event"], first["level"]) == ("memory", "info")
    assert (first["memory_bytes"], first["limit_bytes"]) == (150 * MIB, 200 * MIB)
    assert first["limit"] == "/sys/fs/cgroup/memory.max"
    assert converted(tmp_path / "c", "--quiet").stderr == ""
    assert "container" not in converted(tmp_path / "d", "--memory", "150MiB").stderr


def test_a_container_with_room_for_the_usual_aim_is_not_worth_a_line(
    tmp_path: Path, container: Any
) -> None:
    container(2000)
    assert "--memory" not in converted(tmp_path / "a").stderr


@pytest.mark.parametrize(
    ("limit_mib", "more"), [(200, ["--memory", "201MiB"]), (100, []), (128, ["--memory", "1GiB"])]
)
def test_an_aim_beyond_the_limit_is_warned_of_even_if_quiet(
    tmp_path: Path, container: Any, limit_mib: int, more: list[str]
) -> None:
    container(limit_mib)
    [warning] = converted(tmp_path / "a", "--quiet", *more).stderr.splitlines()
    assert warning.startswith("streamlic: warning: --memory ")
    assert f"{limit_mib} MiB (/sys/fs/cgroup/memory.max)" in warning
    assert "give a smaller --memory, or the container more" in warning


def test_the_doctor_says_where_its_aim_is_from(
    monkeypatch: pytest.MonkeyPatch, container: Any
) -> None:
    container(200)
    for more, says in [([], True), (["--memory", "150MiB"], False)]:
        result = CliRunner().invoke(cli, ["doctor", "--offline", "--json", *more])
        [check] = (one for one in json.loads(result.stdout)["checks"] if one["name"] == "memory")
        assert check["state"] == "ok"
        assert check["facts"]["memory_bytes"] == 150 * MIB
        assert ("by default, because the container's limit is low" in check["found"]) is says


def test_help_says_what_the_default_is() -> None:
    text = " ".join(CliRunner().invoke(cli, ["export", "--help"]).stdout.split())
    assert "256MiB, or 3/4 of the container's limit where that is less" in text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("128Mi", 128 * MIB), ("1Gi", 1 << 30), ("2Ki", 2048), ("1Ti", 1 << 40),
        ("64MB", 64_000_000), ("64M", 64_000_000), ("1g", 10**9), ("3k", 3000), ("2T", 2 * 10**12),
        ("256 MiB", 256 * MIB), (" 256mib ", 256 * MIB), ("1.5Gi", 3 << 29), ("7b", 7), ("7", 7),
    ],
)  # fmt: skip
def test_sizes_are_read_as_people_and_kubernetes_write_them(text: str, size_bytes: int) -> None:
    assert Size().convert(text, None, None) == size_bytes


@pytest.mark.parametrize("text", ["Mi", "1Mib/s", "-1Mi", "1 M i", "1Bi", "0x10", "1e3", "1Pi"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a size such as 256MiB"):
        Size().convert(text, None, None)
