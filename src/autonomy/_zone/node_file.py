"""What a node that was deployed is told of its zone: a file, named by the environment variable AUTONOMY_NODE_FILE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .._sansio.members import ZoneInfo
from .._sansio.rights import RIGHTS, Rights
from ..directory import EmbeddedDirectory
from ..identity import Credentials


class DirectoryPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the zone's directory is kept."""

    node: str
    address: str


class NodeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A deployed node and its place in the zone.

    Attributes:
        zone: The zone's name.
        cluster: The cluster's name.
        name: Full name of the node.
        credentials: Folder with its credentials.
        listen: Where it listens.
        directory: Where the zone's directory is kept.
        pod: Its pod.
        container: Its container.
        index: Which clone of its pod it is.
        rights: What other nodes may do there.
        ready: The file that it makes when its names are complete; None for none.
    """

    zone: str
    cluster: str
    name: str
    credentials: str
    listen: str
    directory: DirectoryPlace
    pod: str = ""
    container: str = ""
    index: int | None = None
    rights: Rights = RIGHTS
    ready: str | None = None

    @property
    def zone_info(self) -> ZoneInfo:
        """The node's place in the zone."""
        return ZoneInfo(self.zone, self.cluster, self.pod, self.container, self.index)

    @property
    def short_name(self) -> str:
        """Its name within cluster and zone."""
        return self.name.removeprefix(self.zone_info.prefix)

    def options(self) -> dict[str, Any]:
        """Return what `open_node` is told."""
        return {
            "credentials": Credentials.load(self.credentials),
            "listen": self.listen,
            "zone": self.zone_info,
            "directory": EmbeddedDirectory(self.directory.node, self.directory.address),
            "rights": self.rights,
        }

    def tell_ready(self, incarnation: str) -> None:
        """Say, to whoever deployed the node, that its names are complete."""
        if self.ready is not None:
            made = Path(self.ready).with_suffix(".new")
            made.write_text(incarnation)
            made.replace(self.ready)


def read_node_file(path: str) -> NodeFile:
    """Read a file.

    Raises:
        ValueError: It cannot be read, or says what cannot be.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=NodeFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"environment variable AUTONOMY_NODE_FILE: {path}: {error}") from None
