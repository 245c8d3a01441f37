"""Where the nodes of a zone, and the names of their workers, are found.

`MemoryDirectory` is for nodes of one process. `EmbeddedDirectory` is a worker on one of the zone's nodes, and what the
others reach it by.
"""

from __future__ import annotations

from .embedded import EmbeddedDirectory
from .memory import MemoryDirectory

__all__ = ["EmbeddedDirectory", "MemoryDirectory"]
