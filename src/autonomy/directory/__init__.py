"""Where the nodes of a zone, and the names of their workers, are found.

`MemoryDirectory` is for nodes of one process. `EmbeddedDirectory` is a worker on one of the zone's nodes, and what the
others reach it by. `EtcdDirectory` is kept in etcd. `directory_at` makes one of the latter two from a URL.
"""

from __future__ import annotations

from .embedded import EmbeddedDirectory
from .etcd import EtcdDirectory
from .memory import MemoryDirectory
from .urls import directory_at

__all__ = ["EmbeddedDirectory", "EtcdDirectory", "MemoryDirectory", "directory_at"]
