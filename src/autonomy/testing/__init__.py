"""Whole zones in one process, from one seed, in virtual time, with faults. Imported on demand.

Read `simulation` first.
"""

from __future__ import annotations

from .chaos import NotRecovered
from .faults import Fault, Story
from .moments import Moment
from .plays import Performance, perform, replay, search, shrink
from .report import write_report
from .simulation import Host, Mended, Report, Simulation, SimulationFailed

__all__ = [
    "Fault",
    "Host",
    "Mended",
    "Moment",
    "NotRecovered",
    "Performance",
    "Report",
    "Simulation",
    "SimulationFailed",
    "Story",
    "perform",
    "replay",
    "search",
    "shrink",
    "write_report",
]
