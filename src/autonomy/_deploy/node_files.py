"""What tells a container's program which node it is: a file and the credentials that it names.

The file is JSON, mode 0600, and ``AUTONOMY_NODE_FILE`` has its path. It names a file to make when the node is ready;
nothing else comes back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .._sansio.node_file import DirectoryPlace, NodeFile
from .._sansio.rights import Rights
from .._sansio.shipment import CodePolicy
from .._sansio.spec import AUTHORITY, SET_BY_THE_ZONE, PlannedNode
from ..identity import ZoneAuthority
from ..identity.credentials import save_trust
from .home import ZonePlace
from .state import write_json

RIGHTS = Rights(message="*", manage="*", ship="*")
"""All nodes of a zone on one machine are one user's: each may do everything on each."""
CODE = CodePolicy("source")
"""So each takes what the others ship."""
_NOT_INHERITED = SET_BY_THE_ZONE | {"AUTONOMY_WAIT_UNTIL_INTERRUPTED"}


class NodeFiles:
    """Writes the files of a zone's nodes. All of it blocks for some milliseconds.

    Args:
        place: Where the zone is kept; its CA is made there if there is none.
        zone: The zone's name.
        cluster: The first part of its nodes' full names.
        directory: Which node keeps the directory.
    """

    def __init__(self, place: ZonePlace, zone: str, cluster: str, directory: DirectoryPlace) -> None:
        self._place, self._zone, self._cluster, self._directory = place, zone, cluster, directory
        there = (place.ca / "ca.crt").exists()
        self._authority = ZoneAuthority(place.ca) if there else ZoneAuthority.create(place.ca, zone)
        self._authority.sign_crl()
        self._names: dict[str, str] = {}
        self._seen = _identity(place.ca / "ca.crl")

    def write_authority(self) -> Path:
        """Write the file of the node that keeps the directory; return its path."""
        return self._write(AUTHORITY, listen=self._directory.address, visible=False)

    def write_guest(self, short_name: str) -> Path:
        """Write the file of a node that is no container, such as that of the program which opened the zone."""
        return self._write(short_name)

    def write(self, node: PlannedNode) -> Path:
        """Write the file of a container's node."""
        return self._write(node.short_name, pod=node.pod, container=node.container, index=node.index)

    def forget(self, short_name: str) -> None:
        """Renew a node's credentials no longer."""
        self._names.pop(short_name, None)

    def renew(self) -> None:
        """Give all nodes new certificates and a new list of what was revoked. Do so several times a day."""
        self._authority.sign_crl()
        for short_name, name in list(self._names.items()):
            if name not in self._authority.ledger.barred:
                self._authority.credentials(name).save(self._place.credentials / short_name)
        self.spread()

    def is_changed(self) -> bool:
        """Whether the CA's folder has changed since `spread`."""
        return self._seen != _identity(self._place.ca / "ca.crl")

    def spread(self) -> None:
        """Give all nodes the present CAs and lists of what was revoked."""
        self._seen = _identity(self._place.ca / "ca.crl")
        ca, crl = self._authority.ca, self._authority.crl
        for short_name in list(self._names):
            save_trust(self._place.credentials / short_name, ca, crl)

    def _write(
        self,
        short_name: str,
        *,
        pod: str = "",
        container: str = "",
        index: int | None = None,
        listen: str = "wss://127.0.0.1:0",
        visible: bool = True,
    ) -> Path:
        name = f"{self._cluster}-{self._zone}-{short_name}"
        credentials = self._place.credentials / short_name
        self._authority.credentials(name).save(credentials)
        self._names[short_name] = name
        path = self._place.node_file_of(short_name)
        value = NodeFile(
            name=name,
            zone=self._zone,
            cluster=self._cluster,
            credentials=str(credentials),
            directory=self._directory,
            listen=listen,
            pod=pod,
            container=container,
            index=index,
            visible=visible,
            rights=RIGHTS,
            code=CODE,
            ready=str(self._place.ready_file_of(short_name)),
        )
        write_json(path, value)
        return path

    def environment(
        self, short_name: str, own: Mapping[str, str], inherited: Mapping[str, str] = os.environ
    ) -> dict[str, str]:
        """Return the environment of a node's program: what this process has, what the container has, who it is."""
        found = inheritable(inherited)
        # What is installed beside the interpreter is what an image would have on its PATH.
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
        found["PYTHONUNBUFFERED"] = "1"
        return found | {
            **own,
            "CLUSTER": self._cluster,
            "ZONE": self._zone,
            "NODE": short_name,
            "AUTONOMY_NODE_FILE": str(self._place.node_file_of(short_name)),
        }


def _identity(path: Path) -> tuple[int, int]:
    """Return what changes when a file is replaced."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


def inheritable(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what a process elsewhere may have of this one's environment: nothing that says who a node is."""
    found = {key: value for key, value in variables.items() if key not in _NOT_INHERITED}
    if paths := found.get("PYTHONPATH"):
        found["PYTHONPATH"] = os.pathsep.join(str(Path(each).absolute()) for each in paths.split(os.pathsep))
    return found
