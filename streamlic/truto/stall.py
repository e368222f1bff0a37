"""Notices a response that does not make progress. Pure: its caller measures."""

from __future__ import annotations

from streamlic.errors import TransportError


class ProgressWatch:
    """Sees to it that ``progress_bytes`` arrive in each ``progress_seconds`` of waiting for them.

    Only time spent waiting for the network is given to it, so that a slow consumer is no lack of
    progress. Blanks between the bytes of a body are a server's sign of life: they count as
    progress, however few. Content that comes a byte now and then does not.
    """

    def __init__(self, progress_bytes: int, progress_seconds: float) -> None:
        self._progress_bytes = progress_bytes
        self._progress_seconds = progress_seconds
        self._arrived_bytes = 0
        self._waited_seconds = 0.0

    def arrived(self, size_bytes: int, waited_seconds: float, *, is_blank: bool = False) -> None:
        """Count bytes and the wait that they took; TransportError where it took too long."""
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
