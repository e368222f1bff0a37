"""A Truto API that runs on this machine: for demos, tests and benchmarks."""

from streamlic.emulator.accounts import SIZES, EmulatedAccount, emulated_accounts
from streamlic.emulator.answers import Answer, Asked, EmulatorConfig, answer
from streamlic.emulator.fault_answers import FAULTS
from streamlic.emulator.faults import Fault, parse_fault
from streamlic.emulator.records import license_json, license_record
from streamlic.emulator.server import Emulator, running_emulator, serve

__all__ = [
    "FAULTS",
    "SIZES",
    "Answer",
    "Asked",
    "EmulatedAccount",
    "Emulator",
    "EmulatorConfig",
    "Fault",
    "answer",
    "emulated_accounts",
    "license_json",
    "license_record",
    "parse_fault",
    "running_emulator",
    "serve",
]
