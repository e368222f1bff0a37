"""A Truto API that runs on this machine: for demos, tests and benchmarks."""

from streamlic.emulator.accounts import SIZES, EmulatedAccount, emulated_accounts
from streamlic.emulator.answers import Answer, Asked, EmulatorConfig, answer
from streamlic.emulator.records import license_json, license_record
from streamlic.emulator.server import Emulator, running_emulator, serve

__all__ = [
    "SIZES",
    "Answer",
    "Asked",
    "EmulatedAccount",
    "Emulator",
    "EmulatorConfig",
    "answer",
    "emulated_accounts",
    "license_json",
    "license_record",
    "running_emulator",
    "serve",
]
