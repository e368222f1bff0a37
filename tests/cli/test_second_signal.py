"""A process that waits for a silent store ends at the second signal, whatever it waits for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
LONG_SECONDS = 60
SCRIPT = """
import sys
from streamlic.system import signals
signals.SAME_SIGNAL_SECONDS = signals.STILL_ENDING_SECONDS = 0.1
sys.argv = ["streamlic", *{arguments}]
from streamlic.__main__ import main
main()
"""


@pytest.mark.parametrize("arguments", [["export", "--account", ACCOUNT], ["inspect"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_waits_for_a_silent_store(
    arguments: list[str], number: signal.Signals
) -> None:
    """The store takes connections, and never answers. Python's own handlers cannot run then."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ALLOW_HTTP": "true", "TRUTO_API_TOKEN": "token",
            "TRUTO_API_BASE_URL": "https://127.0.0.1:9",
        }  # fmt: skip
        script = SCRIPT.format(arguments=[*arguments, "s3://bucket/lake"])
        with subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, **environment},
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            silent.settimeout(LONG_SECONDS)
            connection, _ = silent.accept()
            while not connection.recv(1):  # It was only to see whether somebody listens.
                connection.close()
                connection, _ = silent.accept()
            assert process.stderr is not None
            process.send_signal(number)
            said = process.stderr.readline()
            assert "another signal ends it at once" in said
            process.send_signal(number)
            assert process.wait(LONG_SECONDS) == 128 + number
            assert process.stderr.read().endswith("ended at once; what is committed is kept\n")
            connection.close()
