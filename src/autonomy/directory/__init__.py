"""Where the nodes of a zone, and the names of their workers, are found.

`MemoryDirectory` is for nodes of one process. `EmbeddedDirectory` is a worker on one of the zone's nodes, and what the
others reach it by. `EtcdDirectory` is kept in etcd. `DnsDirectory` is kept by nobody: DNS leads to the nodes, which
tell each other what they are. `directory_at` makes one of the latter three from a URL.
"""

from __future__ import annotations

from .dns import DnsDirectory
from .embedded import EmbeddedDirectory
from .etcd import EtcdDirectory
from .memory import MemoryDirectory
from .urls import directory_at

__all__ = ["DnsDirectory", "EmbeddedDirectory", "EtcdDirectory", "MemoryDirectory", "directory_at"]
