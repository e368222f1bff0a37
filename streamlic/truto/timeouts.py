"""How long to wait for the network, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Bounds on waiting for the network; there is none on a whole page.

    ``silence_seconds`` may pass until the first byte of an answer, and between two bytes. Of a
    body's content at least ``progress_bytes`` have to arrive in so many seconds spent waiting for
    them; time that the consumer takes does not count, and blanks keep a body alive however few
    they are. A token file is read again for ``token_seconds`` when its token was refused, until one
    is accepted.
    """

    connect_seconds: float = 30.0
    silence_seconds: float = 300.0
    progress_bytes: int = 1024
    token_seconds: float = 60.0

    @property
    def answer_seconds(self) -> float:
        """The most that may pass until an answer's head is whole, for it could drip, too."""
        return self.connect_seconds + self.silence_seconds
