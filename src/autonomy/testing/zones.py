"""What the hosts of a simulated zone have in common: what they find each other by, and what they may do.

A zone that a folder asks for is made in `deployed_zones`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._deploy.node_files import CODE, RIGHTS
from .._sansio.members import ZoneInfo
from .._sansio.spec import AUTHORITY
from ..directory import EmbeddedDirectory
from .hosts import Host
from .network import address_of

if TYPE_CHECKING:  # it needs PyYAML, as most simulations do not
    from .deployed_zones import DeployedZone


class SimulatedZone:
    """What the hosts of a simulation have in common, if they are nodes of one zone.

    Args:
        info: The zone.
        keeper: The host that keeps its directory; None for one that does nothing else.

    Attributes:
        wanted: What a folder says of it, if there is one.
    """

    def __init__(self, info: ZoneInfo, keeper: str | None) -> None:
        self.info = info
        self.keeper = keeper or info.prefix + AUTHORITY
        self.wanted: DeployedZone | None = None

    def authority(self) -> Host:
        """Return the host that keeps the directory and does nothing else."""
        host = Host(self.keeper, None, {})
        host.place = replace(self.info, visible=False)
        return host

    def options_of(self, host: Host) -> dict[str, Any]:
        """Return the options of `open_node` for the node of a host."""
        return {
            "zone": host.place or self.info,
            "directory": EmbeddedDirectory(self.keeper, address_of(self.keeper)),
            "rights": RIGHTS,
            "code": CODE,
            "ready": host.is_ready_at_once,
        }

    @contextmanager
    def laid_out(self) -> Generator[None]:
        """Have the files of all containers, as long as the block runs."""
        if self.wanted is None:
            yield
            return
        with TemporaryDirectory() as folder:
            self.wanted.lay_out(Path(folder))
            yield
