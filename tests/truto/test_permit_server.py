"""A permit server and its processes over real sockets: keys, bad peers, deaths, and the rate."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyarrow.dataset import dataset

import streamlic
from streamlic import LeasedBudget, LocalBudget, PermitServer, PermitsUnavailable, RateLimit
from streamlic.emulator import EmulatorConfig
from streamlic.errors import UsageError
from streamlic.truto.budget import leased, lessee, sockets
from streamlic.truto.budget.base import TokenBudget, TokenPermit
from streamlic.truto.budget.messages import Answer, Ask
from streamlic.truto.budget.sockets import Channel, WrongKey, parse_address
from streamlic.truto.wait_reasons import WaitReason
from tests.support.examples import ROOT, blocks_of
from tests.support.forked import start_forked
from tests.support.leasing import export_leased
from tests.support.reading import settings_of, until
from tests.support.server_thread import WAIT_SECONDS, served

KEY = "a-key-that-nobody-may-see"
IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2_000)]


@pytest.fixture(autouse=True)
def _own_leases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test meets the leases of another."""
    monkeypatch.setenv("TRUTO_PERMIT_KEY", KEY)
    leased._lessees.clear()
    yield
    leased._lessees.clear()


def served_permits(limit: str = "500/10s", port: int = 0) -> PermitServer:
    """Return a server that processes did not know before, though its key is given."""
    server = PermitServer(limit, port=port)
    server.key = KEY
    return server


def permit_of(budget: TokenBudget) -> TokenPermit:
    """Wait for a permit."""
    end = time.monotonic() + WAIT_SECONDS
    while (now := time.monotonic()) < end:
        if (delay := budget.delay(now)) > 0:
            time.sleep(min(delay, 0.05))
        elif permit := budget.take(now):
            return permit
    raise TimeoutError


def test_a_process_leases_permits_and_reports_their_use() -> None:
    with served_permits() as server:
        budget = LeasedBudget(address=server.address)
        permits = [permit_of(budget) for _ in range(5)]
        assert len({permit.number for permit in permits}) == 5
        for permit in permits:
            budget.recount(permit, time.monotonic())
        until(lambda: len(server.budget._window._counted) == 5 and _latest(server) < 0)
        assert budget.cause().detail == "500 requests in 10 s"


def _latest(server: PermitServer) -> float:
    """Return the seconds until the last count, below zero if it is over."""
    return max(server.budget._window._counted) - time.monotonic()


def test_neither_a_pickle_nor_a_repr_has_the_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    with served_permits("40/10s") as server:
        assert KEY not in repr(server)
        for budget in (
            LeasedBudget(address=server.address),
            LeasedBudget(address=server.address, key_file=file, fallback=RateLimit(9, 1)),
        ):
            settings = streamlic.ConnectionSettings(token="t", budget=budget)
            pickled = pickle.dumps(settings)
            assert KEY.encode() not in pickled
            assert KEY not in repr(settings)
            other = pickle.loads(pickled).budget  # noqa: S301  (our own, of just now)
            assert permit_of(other)
            assert other == budget


def test_the_servers_own_requests_count_too() -> None:
    with served_permits("5/10s") as server:
        while server.budget.take(time.monotonic()):
            pass
        budget = LeasedBudget(address=server.address)
        until(lambda: budget.delay(time.monotonic()) > 5)
        assert budget.take(time.monotonic()) is None
        assert budget.cause().reason is WaitReason.TOKEN_LIMIT
        assert budget.cause().detail == "5 requests in 10 s"


def test_a_429_holds_for_all_processes_and_the_server() -> None:
    with served_permits() as server:
        # Two that differ lease apart, as two processes do.
        one = LeasedBudget(address=server.address)
        other = LeasedBudget(address=server.address, patience_seconds=31)
        permit_of(one)
        permit_of(other)
        one.wait_until(time.monotonic() + 60)
        until(lambda: server.budget.delay(time.monotonic()) > 50)
        until(lambda: other.delay(time.monotonic()) > 50)
        assert other.cause().reason is WaitReason.SERVER_LIMIT
        assert one.cause().reason is WaitReason.SERVER_LIMIT


def test_a_process_that_has_another_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with served_permits() as server:
        monkeypatch.setenv("OTHER_KEY", "another-key-of-its-own")
        budget = LeasedBudget(address=server.address, key_variable="OTHER_KEY")
        with pytest.raises(
            PermitsUnavailable, match=f"{server.address} has another key.*OTHER_KEY"
        ):
            permit_of(budget)
        assert permit_of(LeasedBudget(address=server.address))


def test_a_server_that_has_another_key_is_refused() -> None:
    """It could lease too many permits, or none: the process checks it as well."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = sockets.address_text(*listening.getsockname()[:2])
        budget = LeasedBudget(address=address)
        assert budget.delay(time.monotonic()) > 0
        channel = Channel(listening.accept()[0], WAIT_SECONDS)
        with pytest.raises(WrongKey):
            channel.admit("another-key-of-its-own")
        channel.close()
        until(lambda: budget.delay(time.monotonic()) == 0)
        with pytest.raises(PermitsUnavailable, match="another key"):
            budget.take(time.monotonic())


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_key_is_named(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("TRUTO_PERMIT_KEY")
    else:
        monkeypatch.setenv("TRUTO_PERMIT_KEY", value)
    with pytest.raises(UsageError, match=r"no key .*127.0.0.1:9 in TRUTO_PERMIT_KEY"):
        permit_of(LeasedBudget(address="127.0.0.1:9"))
    file = tmp_path / "key"
    with pytest.raises(UsageError, match=r"cannot be read.*No such file.*\(key_file\)"):
        permit_of(LeasedBudget(address="127.0.0.1:9", key_file=file))
    file.write_text(value or "")
    with pytest.raises(UsageError, match=rf"no key .* in {file}"):
        permit_of(LeasedBudget(address="127.0.0.1:9", key_file=str(file)))


def hanging(server: PermitServer) -> socket.socket:
    """Return a connection that sends nothing, and reads the challenge only."""
    return socket.create_connection(parse_address(server.address), WAIT_SECONDS)


def test_peers_that_hang_or_send_rubbish_hold_up_nobody() -> None:
    with served_permits() as server, ExitStack() as stack:
        silent = [stack.enter_context(hanging(server)) for _ in range(60)]
        for rubbish in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\0\0\0\5xx",  # A message that never ends.
            struct.pack("!iQ", -1, 1 << 60),
            struct.pack("!i", -7),
        ):
            stack.enter_context(hanging(server)).sendall(rubbish)
        assert permit_of(LeasedBudget(address=server.address))
        # The oldest of too many were closed.
        while silent[0].recv(256):
            pass


def known(server: PermitServer) -> Channel:
    """Return a connection that has proved the key."""
    channel = Channel(hanging(server), WAIT_SECONDS)
    channel.introduce(KEY)
    return channel


@pytest.mark.parametrize("message", [b"", b"rubbish", b"cos\nsystem\n(S'exit'\ntR.", b"[1,[],[]]"])
def test_a_message_that_is_none_ends_its_connection_only(message: bytes) -> None:
    with served_permits() as server:
        channel, other = known(server), known(server)
        channel.send(message)
        with pytest.raises((EOFError, ConnectionError)):
            channel.receive()
        other.send(Ask(wanted=1).to_bytes())
        assert Answer.from_bytes(other.receive()).permits == 1
        channel.close()
        other.close()


def test_a_message_that_is_too_large_ends_its_connection() -> None:
    with served_permits() as server:
        channel = known(server)
        channel._socket.sendall(struct.pack("!i", 1 << 20))
        with pytest.raises((EOFError, ConnectionError)):
            channel.receive()
        channel.close()


def test_a_server_that_is_full_admits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlic.truto.budget.server._MOST_CONNECTIONS", 1)
    with served_permits() as server:
        first = known(server)
        for _ in range(2):
            first.send(Ask().to_bytes())
            assert Answer.from_bytes(first.receive()).permits == 0
            second = known(server)
            with pytest.raises((EOFError, ConnectionError)):
                second.receive()
            second.close()
        first.close()
        assert permit_of(LeasedBudget(address=server.address)), "it waits until there is room"


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessee, "_REPLY_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = sockets.address_text(*listening.getsockname()[:2])
        with pytest.raises(PermitsUnavailable, match=f"{address} gave no permits.*it is silent"):
            permit_of(LeasedBudget(address=address, patience_seconds=0.1))


def test_without_a_server_requests_wait_and_then_the_error_names_it() -> None:
    with served_permits() as server:
        address = server.address
    budget = LeasedBudget(address=address, patience_seconds=0.3)
    until(lambda: budget.delay(time.monotonic()) > 0.02)
    assert budget.cause().reason is WaitReason.PERMIT_SERVER
    assert budget.cause().detail == address
    with pytest.raises(PermitsUnavailable, match=f"{address} gave no permits for 0.3 s") as raised:
        permit_of(budget)
    assert "Connection refused" in str(raised.value)
    assert raised.value.advice.endswith("{fallback}, a limit to continue with on its own")
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301  (our own, of just now)
    assert str(again) == str(raised.value)
    with pytest.raises(PermitsUnavailable):
        permit_of(LeasedBudget(address=address, patience_seconds=0.3))
    port = parse_address(address)[1]
    until(lambda: budget.delay(time.monotonic()) > 0)
    with served_permits(port=port):
        assert permit_of(budget), "a later request looks for the server again"


def test_with_a_fallback_a_process_continues_with_its_share() -> None:
    """It waits until no window holds a request of the permits before."""
    with served_permits("40/0.1s") as server:
        budget = LeasedBudget(address=server.address, fallback="10/0.1s", patience_seconds=0.1)
        leased_permit = permit_of(budget)
    lost_at = time.monotonic()
    assert permit_of(budget).number == 0
    assert time.monotonic() - lost_at >= 0.1 + 1 + 0.5
    assert budget.cause().detail == "10 requests in 0.1 s"
    budget.recount(leased_permit, time.monotonic())  # Its answer came late.
    budget.wait_until(time.monotonic() + 60)
    assert budget.delay(time.monotonic()) > 50


def test_processes_wait_for_a_server_that_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they sent before fills its first window."""
    monkeypatch.setattr(lessee, "_MOST_PAUSE_SECONDS", 0.05)
    with served_permits("4/0.1s") as server:
        budget = LeasedBudget(address=server.address)
        permit_of(budget)
        port = parse_address(server.address)[1]
    until(lambda: budget.cause().reason is WaitReason.PERMIT_SERVER or not asks(budget))
    started_at = time.monotonic()
    with PermitServer("4/0.1s", port=port, key=KEY):
        permit_of(budget)
    assert time.monotonic() - started_at >= 0.1 + 1 + 0.5


def asks(budget: TokenBudget) -> bool:
    """Use up what is there, and ask for more."""
    now = time.monotonic()
    return budget.delay(now) > 0 or budget.take(now) is not None


def test_a_process_with_nothing_to_do_leaves_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lessee, "_IDLE_SECONDS", 0.05)
    with served_permits() as server:
        budget = LeasedBudget(address=server.address)
        budget.recount(permit_of(budget), time.monotonic())
        until(lambda: budget._lessee()._thread is None)
        running = server._server
        assert running
        until(lambda: not running._members)
        assert permit_of(budget)


def test_a_forked_process_leases_for_itself() -> None:
    with served_permits() as server:
        budget = LeasedBudget(address=server.address)
        first = permit_of(budget).number
        child = os.fork()
        if not child:
            try:
                os._exit(permit_of(budget).number == first)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":1", "host:0", "host:99999", "::1:5", "a b:5", "http://x:5"]
)
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(UsageError, match=r"expected a permit server's address such as 10\.0\.0\.7"):
        LeasedBudget(address=address)
    assert parse_address("[::1]:5") == ("::1", 5)
    assert sockets.address_text("::1", 5) == "[::1]:5"
    assert parse_address("driver.internal:65535") == ("driver.internal", 65535)


def test_a_server_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="got none"):
        PermitServer("none")
    with pytest.raises(UsageError, match="16 characters or more, got a shorter one"):
        PermitServer(key="short")
    with pytest.raises(UsageError, match="entered first"):
        PermitServer().address  # noqa: B018  (reading it raises)
    assert "not running" in repr(PermitServer())
    with served_permits() as server:
        port = parse_address(server.address)[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}.*in use"):
            PermitServer(port=port).__enter__()
    assert len(PermitServer().key) == 64
    assert PermitServer().key != PermitServer().key


def test_a_run_that_gets_no_permits_ends_as_one_and_resumes(tmp_path: Path) -> None:
    """No account is to blame, so none fails."""
    config = EmulatorConfig(records=4)
    with served(config) as emulator:
        with served_permits() as server:
            address = server.address
        settings = settings_of(
            emulator.url, budget=LeasedBudget(address=address, patience_seconds=0.1)
        )
        with pytest.raises(PermitsUnavailable, match=address):
            streamlic.export(tmp_path / "lake", IDS[:3], connection=settings)
        with pytest.raises(PermitsUnavailable, match=address):
            list(streamlic.read_licenses(IDS[0], connection=settings))
        assert not emulator.requests
        settings = settings_of(emulator.url, budget=LocalBudget())
        assert streamlic.export(tmp_path / "lake", IDS[:3], connection=settings).rows == 12


async def exported_by_processes(
    tmp_path: Path, limit: RateLimit, processes: int, accounts: int, *, is_one_killed: bool = False
) -> tuple[float, float]:
    """Export with several processes; return the seconds they took, and the least possible.

    The emulator counts: it must refuse no request. A process that is killed starts again.
    """
    config = EmulatorConfig(
        records=2,
        rate_limits=True,
        token_requests=limit.requests,
        window_seconds=limit.window_seconds,
        latency_ms=20,
    )
    with (
        served(config) as emulator,
        served_permits(f"{limit.requests}/{limit.window_seconds}s") as (server),
    ):
        budget = LeasedBudget(address=server.address)
        env = {**os.environ, "TRUTO_PERMIT_KEY": KEY}

        async def export(number: int) -> list[float]:
            own = IDS[:accounts][number::processes]
            given = (budget, emulator.url, str(tmp_path / str(number)), own)
            while True:
                process = await start_forked(export_leased, *given, env=env)
                if is_one_killed and not number and len(emulator.requests) < accounts / 4:
                    await asyncio.to_thread(until, lambda: len(emulator.requests) > accounts / 3)
                    process.kill()
                out, err = await process.communicate()
                if process.returncode == 0:
                    return [float(one) for one in out.split()]
                assert process.returncode == -9, err.decode()

        ended = await asyncio.gather(*map(export, range(processes)))
        assert emulator.refused == 0
        assert len(emulator.requests) <= accounts + is_one_killed * limit.requests
    assert sum(rows for _, _, rows, _ in ended) == accounts * 2
    assert sum(retries for *_, retries in ended) == 0
    least = (accounts / limit.requests - 1) * limit.window_seconds
    return max(one[1] for one in ended) - min(one[0] for one in ended), least


async def test_processes_keep_one_limit_and_one_that_is_killed_starts_again(tmp_path: Path) -> None:
    """The emulator refuses what exceeds the limit in any window; it refuses nothing."""
    await exported_by_processes(tmp_path, RateLimit(60, 2), 4, 100, is_one_killed=True)


@pytest.mark.slow
async def test_processes_whose_server_ends_continue_with_their_shares(tmp_path: Path) -> None:
    """No window holds requests of their permits and of their shares together."""
    limit = RateLimit(60, 2)
    config = EmulatorConfig(
        records=2, rate_limits=True, token_requests=60, window_seconds=2, latency_ms=20
    )
    with served(config) as emulator, served_permits("60/2s") as server:

        async def export(number: int) -> str:
            budget = LeasedBudget(
                address=server.address, fallback=limit.share(number + 1, 3), patience_seconds=0.1
            )
            given = (budget, emulator.url, str(tmp_path / str(number)), IDS[:240][number::3])
            env = {**os.environ, "TRUTO_PERMIT_KEY": KEY}
            out, err = await (await start_forked(export_leased, *given, env=env)).communicate()
            assert out, err.decode()
            return out.decode()

        ended = [asyncio.create_task(export(number)) for number in range(3)]
        await asyncio.to_thread(until, lambda: len(emulator.requests) > 90)
        server.__exit__(None, None, None)
        outputs = await asyncio.gather(*ended)
    assert emulator.refused == 0
    assert [output.split()[2:] for output in outputs] == [["160", "0"]] * 3


@pytest.mark.slow
def test_the_programs_of_the_page_share_one_token(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "many-accounts.md").read_text()
    programs = [block.text for block in blocks_of(page) if block.language == "py"]
    [serves] = (program for program in programs if "PermitServer(" in program)
    [works] = (program for program in programs if "LeasedBudget(" in program)
    (tmp_path / "work.py").write_text(works)
    for name, accounts in (("first", IDS[:3]), ("second", IDS[3:8])):
        (tmp_path / f"{name}.txt").write_text("\n".join(accounts))
    with served(EmulatorConfig(records=2, token="any")) as emulator:
        env = {**os.environ, "TRUTO_API_BASE_URL": emulator.url, "TRUTO_API_TOKEN": "any"}
        subprocess.run([sys.executable, "-c", serves], cwd=tmp_path, env=env, check=True)
    for name, rows in (("first", 6), ("second", 10)):
        assert dataset(tmp_path / f"lake-{name}" / "licenses").count_rows() == rows


@pytest.mark.slow
async def test_six_processes_use_all_of_the_limit_of_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long they take is printed."""
    took, least = await exported_by_processes(tmp_path, RateLimit(500, 10), 6, 1_980)
    with capsys.disabled():
        print(f"\n1,980 requests of 6 processes: {took:.1f} s, {took / least:.2f} times the least")
