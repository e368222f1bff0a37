"""S3 as moto has it, in a process of its own: for tests of object stores that must be quick."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from uuid import uuid4

import boto3
import pytest

BUCKET = "lake-bucket"
_STARTED = re.compile(rb"Running on (http://127\.0\.0\.1:[0-9]+)")


def environment(url: str) -> dict[str, str]:
    """Return the environment variables that reach a server."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "testtest",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
    }


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto on a free port, with one bucket, ``BUCKET``; yield its URL."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            log = server.stderr
            assert log is not None
            url = next(found[1] for line in log if (found := _STARTED.search(line))).decode()
            # It logs every request, and would wait if nobody read that.
            Thread(target=deque, args=(log, 0), daemon=True).start()
            boto3.client(
                "s3",
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="testtest",
            ).create_bucket(Bucket=BUCKET)
            yield url
        finally:
            server.kill()


def new_dest(url: str, patch: pytest.MonkeyPatch) -> str:
    """Return an empty DEST on a server, and set the environment that reaches it."""
    for name, value in environment(url).items():
        patch.setenv(name, value)
    return f"s3://{BUCKET}/lake-{uuid4().hex[:12]}"
