"""Whole zones in one process, from one seed, in virtual time, with faults; and whether what clients saw may be so.

Imported on demand. Read `simulation` first; then `history` and `linearizability` for what was seen, `checkers` for
simple promises.
"""

from __future__ import annotations

from .chaos import NotRecovered
from .checkers import (
    Answered,
    Began,
    Died,
    Ended,
    Record,
    Reported,
    Sent,
    Violation,
    check_no_duplicates,
    check_no_silent_loss,
    check_one_at_a_time,
    check_order,
    check_replies_match,
    check_sequential_counter,
)
from .faults import Fault, Story
from .history import UNSEEN, Call, History
from .hosts import Host
from .linearizability import check_linearizable
from .models import Counter, KeyedRegister, Model, Queue, Register, Set
from .moments import Moment
from .plays import Performance, perform, replay, search, shrink
from .programs import ProgramFailed
from .report import write_report
from .runs import Report, SimulationFailed
from .simulation import Simulation
from .verbs import Mended
from .verdicts import Verdict

__all__ = [
    "Answered",
    "Began",
    "Call",
    "Counter",
    "Died",
    "Ended",
    "Fault",
    "History",
    "Host",
    "KeyedRegister",
    "Mended",
    "Model",
    "Moment",
    "NotRecovered",
    "Performance",
    "ProgramFailed",
    "Queue",
    "Record",
    "Register",
    "Report",
    "Reported",
    "Sent",
    "Set",
    "Simulation",
    "SimulationFailed",
    "Story",
    "UNSEEN",
    "Verdict",
    "Violation",
    "check_linearizable",
    "check_no_duplicates",
    "check_no_silent_loss",
    "check_one_at_a_time",
    "check_order",
    "check_replies_match",
    "check_sequential_counter",
    "perform",
    "replay",
    "search",
    "shrink",
    "write_report",
]
