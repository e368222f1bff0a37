"""A Truto API that runs on this machine: for demos, tests and benchmarks."""

from streamlic.emulator.answers import Answer, Asked, EmulatorConfig, answer
from streamlic.emulator.records import license_json, license_record
from streamlic.emulator.server import Emulator, running_emulator, serve

__all__ = [
    "Answer",
    "Asked",
    "Emulator",
    "EmulatorConfig",
    "answer",
    "license_json",
    "license_record",
    "running_emulator",
    "serve",
]
