"""What an answer consists of, and the answers that refuse a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Wire:
    """A fault in transmission: its name, at which byte, for how many seconds."""

    fault: str
    at: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What to send. Each call of ``pieces`` returns the whole body."""

    status: int
    pieces: Callable[[], Iterator[bytes]]
    headers: dict[str, str] = field(default_factory=dict)
    has_length: bool = True
    """Whether there is a Content-Length; without it the body is chunked."""
    wire: Wire | None = None


class Refusal(Exception):
    """The answer with which a request is refused."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refusal(
    status: int,
    message: str,
    *,
    insight: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
) -> Answer:
    """Plan an error envelope; ``more`` adds members to it."""
    body = {"statusCode": status, "error": _phrase(status), "message": message, **(more or {})}
    if insight:
        body["truto_error_insight"] = insight
    return json_answer(status, body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def rate_limited(wait_seconds: int) -> Answer:
    """Plan the answer to one request too many."""
    insight = {"rate_limit_error": {"description": "Too many requests", "value": True}}
    limited = refusal(429, "Rate limit exceeded", insight=insight)
    return Answer(429, limited.pieces, {**limited.headers, "Retry-After": str(wait_seconds)})


def missing(name: str) -> Refusal:
    """Return the refusal of a request without a required parameter."""
    insight = {
        "missing_required_query_parameters": {
            "description": "Required query parameters are missing",
            "value": [name],
        }
    }
    return Refusal(refusal(400, f"{name} is required", insight=insight))


def refused(status: int, message: str) -> Refusal:
    """Return the refusal of a request, for raising."""
    return Refusal(refusal(status, message))


def json_answer(status: int, body: dict[str, Any]) -> Answer:
    """Plan an answer with this body."""
    data = json.dumps(body).encode()
    return Answer(status, lambda: iter([data]), {"Content-Type": "application/json"})
