"""A Truto API that runs on this machine: for demos, tests and benchmarks."""

from streamlic.emulator.accounts import ACCOUNT_SECRET, SIZES, EmulatedAccount, emulated_accounts
from streamlic.emulator.answers import answer
from streamlic.emulator.asked import Asked
from streamlic.emulator.changes import night_time
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.fault_answers import FAULTS
from streamlic.emulator.faults import Fault, parse_fault
from streamlic.emulator.planned import Answer
from streamlic.emulator.records import license_json, license_record
from streamlic.emulator.server import Emulator, running_emulator, serve
from streamlic.emulator.worlds import World, world

__all__ = [
    "ACCOUNT_SECRET",
    "FAULTS",
    "SIZES",
    "Answer",
    "Asked",
    "EmulatedAccount",
    "Emulator",
    "EmulatorConfig",
    "Fault",
    "World",
    "answer",
    "emulated_accounts",
    "license_json",
    "license_record",
    "night_time",
    "parse_fault",
    "running_emulator",
    "serve",
    "world",
]
