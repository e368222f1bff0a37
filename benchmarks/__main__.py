"""``python -m benchmarks``: decoding beside the textbook loop, and the emulator's own speed.

Each case runs in a process of its own, after a warm-up, the cases in turn; printed are medians and
spreads of MB/s, and of the ratio to the textbook measured in the same round.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import statistics
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
CHUNK_BYTES = 64 * 1024


def body_of(megabytes: int, *, with_remote_data: bool) -> bytes:
    """Return a body of licenses as the emulator sends them."""
    from streamlic.emulator.records import Shape, blocks

    shape = Shape() if with_remote_data else Shape(frozenset({"remote_data"}))
    pieces: list[bytes] = []
    size = start = 0
    while size < megabytes * 1_000_000:
        new = b"".join(blocks(7, ACCOUNT, start, start + 1000, shape))
        pieces.append(new)
        size += len(new)
        start += 1000
    return b'{"result":[' + b",".join(pieces) + b"]}"


def run_case(case: str, megabytes: int, *, with_remote_data: bool) -> None:
    """Decode once to warm up and once to measure; print seconds, bytes, rows and peak memory."""
    body = body_of(megabytes, with_remote_data=with_remote_data)
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        rows = _decode(case, body)
        seconds = time.perf_counter() - begun
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"seconds": seconds, "bytes": len(body), "rows": rows, "kib": int(peak)}))


def _decode(case: str, body: bytes) -> int:
    if case == "textbook":
        from benchmarks.textbook import decode

        return decode(BytesIO(body))
    from streamlic.decoder import open_decoder

    decoder = open_decoder(engine=case)
    for start in range(0, len(body), CHUNK_BYTES):
        decoder.feed(body[start : start + CHUNK_BYTES])
    decoder.close()
    return decoder.envelope.rows


def decoding(megabytes: int, rounds: int) -> None:
    """Compare the engine with the textbook, with and without remote_data."""
    for remote in (True, False):
        figures: dict[str, list[dict[str, float]]] = {"reference": [], "textbook": []}
        for _ in range(rounds):
            for case, seen in figures.items():
                command = [sys.executable, "-m", "benchmarks", "--case", case, "--mb"]
                command += [str(megabytes), *([] if remote else ["--no-remote-data"])]
                seen.append(json.loads(subprocess.check_output(command)))
        print(f"decoding {megabytes} MB, {'with' if remote else 'without'} remote_data:")
        for case, seen in figures.items():
            speeds = [one["bytes"] / 1e6 / one["seconds"] for one in seen]
            print(f"  {case:10} {_spread(speeds)} MB/s, peak {seen[0]['kib'] / 1024:.0f} MiB")
        ratios = [
            hand["seconds"] / ours["seconds"]
            for ours, hand in zip(figures["reference"], figures["textbook"], strict=True)
        ]
        print(f"  reference is {_spread(ratios)} times as fast as the textbook")


def emulator(megabytes: int, rounds: int) -> None:
    """Drain one large body of the emulator over loopback."""
    records = megabytes * 1_000_000 // 600
    command = [sys.executable, "-m", "streamlic", "emulate", "--records", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = urlsplit(process.stdout.readline().strip() if process.stdout else "")
            speeds = [_drain(url.hostname or "", url.port or 0) for _ in range(rounds + 1)][1:]
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"emulator: {_spread(speeds)} MB/s over loopback, peak {peak:.0f} MiB")


def _drain(host: str, port: int) -> float:
    query = f"integrated_account_id={ACCOUNT}&truto_response_format=stream&truto_ignore_limit=true"
    request = f"GET /unified/user-directory/licenses?{query} HTTP/1.1\r\nHost: {host}\r\n"
    size = 0
    begun = time.perf_counter()
    with socket.create_connection((host, port)) as connection:
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        buffer = bytearray(1 << 20)
        while count := connection.recv_into(buffer):
            size += count
    return size / 1e6 / (time.perf_counter() - begun)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Run all benchmarks, or one case of them in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--mb", type=int, default=30, help="megabytes of body")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions")
    parser.add_argument("--case", choices=["textbook", "reference"], help="one case, here and now")
    parser.add_argument("--no-remote-data", action="store_true", help="with --case: leave it out")
    given = parser.parse_args()
    if given.case:
        run_case(given.case, given.mb, with_remote_data=not given.no_remote_data)
        return
    print(f"{platform.machine()}, Python {platform.python_version()}, {given.rounds} rounds")
    decoding(given.mb, given.rounds)
    emulator(given.mb * 10, given.rounds)


if __name__ == "__main__":
    main()
