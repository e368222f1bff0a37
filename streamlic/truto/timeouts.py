"""How long to wait for the network, in seconds, and whether a response makes progress. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from streamlic.errors import TransportError


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Limits on waiting for the network. A whole page has no limit.

    At most ``silence_seconds`` may pass before the first byte of a response, and between two bytes.
    At least ``progress_bytes`` of a body's content must arrive in every ``silence_seconds`` of
    waiting for them. The consumer's own time does not count, and white space keeps a body alive,
    however little. When a token is refused, its file is read again for up to ``token_seconds``.
    """

    connect_seconds: float = 30.0
    silence_seconds: float = 300.0
    progress_bytes: int = 1024
    token_seconds: float = 60.0

    @property
    def answer_seconds(self) -> float:
        """The time limit for a response's complete head, which could arrive slowly, too."""
        return self.connect_seconds + self.silence_seconds


class ProgressWatch:
    """Checks that ``progress_bytes`` arrive in each ``progress_seconds`` of waiting for them.

    It counts only time spent waiting for the network, so that a slow consumer does not look like a
    stall. White space in a body is a keep-alive of the server: it counts as progress, however
    little. A byte of content now and then does not.
    """

    def __init__(self, progress_bytes: int, progress_seconds: float) -> None:
        self._progress_bytes = progress_bytes
        self._progress_seconds = progress_seconds
        self._arrived_bytes = 0
        self._waited_seconds = 0.0

    def arrived(self, size_bytes: int, waited_seconds: float, *, is_blank: bool = False) -> None:
        """Count bytes and the wait that they took; TransportError if it took too long."""
        self._arrived_bytes += size_bytes
        self._waited_seconds += waited_seconds
        if is_blank or self._arrived_bytes >= self._progress_bytes:
            self._arrived_bytes, self._waited_seconds = 0, 0.0
        elif self._waited_seconds >= self._progress_seconds:
            raise TransportError(
                f"only {self._arrived_bytes} bytes came in {self._waited_seconds:.0f} seconds "
                "of waiting",
                parameter="silence_seconds",
            )
