"""What a node that was deployed is told of itself and its zone: a JSON file that AUTONOMY_NODE_FILE names.

Whoever deploys writes it, mode 0600; `Node.start` reads it. It names the folder with the node's credentials, and holds
no secret itself.
"""

from __future__ import annotations

import msgspec

from .members import ZoneInfo
from .rights import Rights
from .shipment import NO_CODE, CodePolicy
from .spiffe import Revocation


class DirectoryPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which node keeps a zone's directory, and where it listens."""

    node: str
    address: str


class NodeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A deployed node, and where it finds the others.

    Attributes:
        name: Full name of the node.
        zone: The zone's name.
        cluster: The cluster's name.
        credentials: Folder with its credentials, which are written anew long before they end.
        directory: Which node keeps the directory, and it may be this one; or the directory's URL.
        listen: Where it listens; port 0 for any that is free.
        address: Where others reach it; empty if that is where it listens.
        pod: Its pod; empty for a node that is no container.
        container: Its container.
        index: Which clone of its pod it is.
        visible: Whether programs on other nodes are shown it.
        rights: What other nodes may do there.
        code: Which code it takes from those that may ship.
        revocation: How a stolen key comes to its end; see `autonomy.identity.TrustStore`.
        ready: The file to make when its names are complete, whole or not at all, with its incarnation in it.
    """

    name: str
    zone: str
    cluster: str
    credentials: str
    directory: DirectoryPlace | str
    listen: str = "wss://127.0.0.1:0"
    address: str = ""
    pod: str = ""
    container: str = ""
    index: int | None = None
    visible: bool = True
    rights: Rights = Rights()
    code: CodePolicy = NO_CODE
    revocation: Revocation = "crl"
    ready: str | None = None

    @property
    def zone_info(self) -> ZoneInfo:
        """Its place in the zone."""
        return ZoneInfo(self.zone, self.cluster, self.pod, self.container, self.index, self.visible, self.address)

    @property
    def short_name(self) -> str:
        """Its name within cluster and zone."""
        return self.name.removeprefix(self.zone_info.prefix)
