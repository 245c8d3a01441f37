"""Whole zones in one process, from one seed, in virtual time, with faults. Imported on demand.

Read `simulation` first.
"""

from __future__ import annotations

from .moments import Moment
from .simulation import Host, Mended, Report, Simulation, SimulationFailed

__all__ = ["Host", "Mended", "Moment", "Report", "Simulation", "SimulationFailed"]
