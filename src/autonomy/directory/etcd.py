"""A directory that is kept in etcd: no node of the zone keeps it, and it outlives each of them.

Here is what can be said without the extra `etcd`. What a node does there is in `etcd_client.py`; what the keys are, and
why nobody can change another start's, in `_sansio/etcd_zone.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from .._sansio.directory_url import EtcdPlace, parse_directory_url
from .._sansio.etcd_zone import EtcdZone
from .._sansio.members import STARTING
from ..abc import DirectoryClient, Seat

if TYPE_CHECKING:
    import httpx


class EtcdDirectory:
    """A directory that is kept in etcd: ``directory="etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379"``.

    All nodes of the zone are given members of the same etcd. Several zones may share it, for each has keys of its own,
    below ``/autonomy/ZONE/`` or ``/autonomy/CLUSTER.ZONE/``. A node that is not heard for 15 s is gone. While etcd is
    away, what is known stays known, and what is not raises DirectoryUnavailable.

    Needs the extra ``etcd``, and an etcd from 3.4 on.

    Args:
        url: ``etcd://HOST:PORT[,HOST:PORT…]``, or ``etcds://…`` for TLS. Its parameters name files: ``ca`` with the CAs
            that vouch for etcd (else those of this system do); ``cert`` and ``key`` for one that wants certificates;
            all PEM; ``password-file`` beside ``user`` for one that wants passwords. A certificate or password that is
            written anew is used from the next connection on.
        transport: What carries the requests in place of TCP, for tests: a function that makes one.

    Attributes:
        place: What the URL says.
        lease: Seconds that a silent node is believed to be there; None for as long as each node wants. For tests.
        starting: Seconds after which a node counts as ready. For tests likewise.

    Raises:
        TypeError, ValueError: It is no such URL, or names a file that cannot be used. The text never has a password.
        ImportError: The extra is not installed.
    """

    def __init__(
        self, url: str | EtcdPlace, *, transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    ) -> None:
        place = url if isinstance(url, EtcdPlace) else parse_directory_url(url)
        if not isinstance(place, EtcdPlace):
            raise ValueError(f"a directory in etcd is written etcd://HOST:PORT or etcds://HOST:PORT, got {url!r:.160}")
        try:
            from . import etcd_client  # noqa: PLC0415  # an optional client
        except ImportError as error:
            raise ImportError("a directory in etcd needs httpx: pip install 'autonomy-actors[etcd]'") from error
        self._client = etcd_client
        etcd_client.check_files(place)
        self.place = place
        self.lease: float | None = None
        self.starting = STARTING
        self._transport = transport

    @property
    def places(self) -> Sequence[str]:
        """Where it is reached; see `abc.Directory`."""
        return self.place.endpoints

    def __repr__(self) -> str:
        return f"EtcdDirectory({', '.join(self.place.endpoints)})"

    def open(self, seat: Seat) -> AbstractAsyncContextManager[DirectoryClient]:
        """Use the directory from a node; see `abc.Directory`.

        Raises:
            ValueError: The node's zone has no name; or a file cannot be used any more.
        """
        zone = EtcdZone(seat.zone, seat.name, seat.incarnation)
        transport = None if self._transport is None else self._transport()
        return self._client.using(self.place, zone, self.lease, self.starting, transport)
