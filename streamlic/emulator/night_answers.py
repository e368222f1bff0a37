"""Plans the answers of ``/emulator/night``, which Truto does not have: it selects a night."""

from __future__ import annotations

import json

from streamlic.emulator.accounts import moment_text
from streamlic.emulator.changes import night_time
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.planned import Answer, refused

NIGHT_PATH = "/emulator/night"


def night_answer(config: EmulatorConfig) -> Answer:
    """Plan what there is to say about this night."""
    body = {
        "night": config.night,
        "nights": config.nights,
        "time": moment_text(night_time(config.night)),
        "accounts": len(config.world.accounts),
    }
    text = json.dumps(body).encode() + b"\n"  # So that a shell's prompt starts a new line.
    return Answer(200, lambda: iter([text]), {"Content-Type": "application/json"})


def chosen_night(config: EmulatorConfig, body: bytes) -> int:
    """Return the night that a body chooses, the next one if it is empty. Refusal of any other."""
    last = config.nights - 1
    if not body.strip():
        if config.night >= last:
            raise refused(409, f"night {config.night} is the last one")
        return config.night + 1
    try:
        night = json.loads(body)["night"]
    except (ValueError, KeyError, TypeError):
        raise refused(400, 'the body must be empty, or like {"night": 5}') from None
    if type(night) is not int or not 0 <= night <= last:
        raise refused(400, f"night must be from 0 to {last}")
    return night
