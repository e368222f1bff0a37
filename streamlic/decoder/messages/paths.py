"""Paths into a body, as decode errors write them. Pure."""

from __future__ import annotations

import json
import re

from streamlic.decoder.scanner import PathStep


def path_text(path: tuple[PathStep, ...]) -> str:
    """Write a path as ``result[3].products[2]``; any other key as ``["a b"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_@$][\w@$-]*", step) and len(step) <= 60:
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step if len(step) <= 60 else step[:57] + '...')}]"
    return text
