"""Connections between a permit server and its processes: addresses, keys and time limits.

Both ends prove that they know the key, by an HMAC of a challenge, before anything else is read. The
key itself is never sent. The messages that follow hold only counts, and are not encrypted.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

from streamlic.errors import UsageError
from streamlic.truto.budget.messages import MOST_BYTES
from streamlic.validation import shown

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")

_SILENT = "it is silent"


class WrongKey(Exception):
    """The other end has another key."""


class Channel:
    """One connection, on which whole messages come and go. A peer that is silent is an OSError."""

    def __init__(self, connected: socket.socket, silence_seconds: float) -> None:
        self._socket = connected
        connected.setblocking(True)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = int(silence_seconds)
        limit = struct.pack("ll", whole, int((silence_seconds - whole) * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, option, limit)
        self._connection = Connection(os.dup(connected.fileno()))

    def admit(self, key: str) -> None:
        """Check the key of a process, and prove one's own. Raises WrongKey, OSError or EOFError."""
        self._prove(key, is_first=True)

    def introduce(self, key: str) -> None:
        """Prove one's key to a server, and check its own. Raises WrongKey, OSError or EOFError."""
        self._prove(key, is_first=False)

    def _prove(self, key: str, *, is_first: bool) -> None:
        secret = key.encode()
        try:
            if is_first:
                deliver_challenge(self._connection, secret)
                answer_challenge(self._connection, secret)
            else:
                answer_challenge(self._connection, secret)
                deliver_challenge(self._connection, secret)
        except AuthenticationError as error:
            raise WrongKey from error
        except AssertionError as error:  # Python 3.11 has no other answer to rubbish.
            raise OSError("not a permit server's challenge") from error
        except BlockingIOError as error:
            raise TimeoutError(_SILENT) from error

    def send(self, message: bytes) -> None:
        """Send a message. Raises OSError."""
        try:
            self._connection.send_bytes(message)
        except BlockingIOError as error:
            raise TimeoutError(_SILENT) from error

    def receive(self) -> bytes:
        """Return the next message. Raises OSError, or EOFError after the last one."""
        try:
            return self._connection.recv_bytes(MOST_BYTES)
        except BlockingIOError as error:
            raise TimeoutError(_SILENT) from error

    def cut(self) -> None:
        """End a wait of another thread on this channel."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # The other end did.

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._socket.close()


def parse_address(text: str) -> tuple[str, int]:
    """Return the host and the port of ``host:port`` or ``[::1]:port``; UsageError otherwise."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise UsageError(
            f"expected a permit server's address such as 10.0.0.7:5000, got {shown(text)}"
        )
    return match["v6"] or match["host"], int(match["port"])


def address_text(host: str, port: int) -> str:
    """Return an address as ``parse_address`` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
