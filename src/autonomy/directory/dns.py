"""A directory that nobody keeps: a name in DNS leads to the nodes, which tell each other what they are.

Here is what a program says of it. What a node does is in `dns_client.py`.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from .._sansio.directory_url import DnsPlace, parse_directory_url
from ..abc import DirectoryClient, Seat
from .dns_client import using

Resolve = Callable[[str], Awaitable[Collection[str]]]
"""Returns the addresses of a host's name, or raises OSError."""


async def resolve(name: str) -> list[str]:
    """Return the addresses of a host's name, as this system finds them.

    Raises:
        OSError: They cannot be found.
    """
    found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return sorted({str(where[0]) for *_, where in found})


class DnsDirectory:
    """A directory for which nothing is run: ``directory="dns://shop.shops.svc.cluster.local:4400"``.

    The name leads to the addresses of all nodes of the zone, as that of a headless Service on Kubernetes does; each
    listens on that port. A node looks the name up every second, meets whoever is at an address that is new, and then
    each tells the other what it is and which workers it has, from then on too. So names are found without asking
    anybody, and owning one costs a message to each other node. It is for zones of some fifty nodes.

    A node is gone when it says so, when its session is down, or when nothing was heard of it for its lease. While the
    name cannot be looked up, what is known stays known.

    DNS says where to look, and no more: who is there proves by its certificate which node it is.

    Args:
        url: ``dns://NAME:PORT``.
        resolve: Finds the addresses of the name in place of this system: an async function of the name that returns
            addresses, or raises OSError. It is given five seconds.

    Attributes:
        place: What the URL says.

    Raises:
        TypeError, ValueError: It is no such URL.
    """

    def __init__(self, url: str | DnsPlace, *, resolve: Resolve = resolve) -> None:
        place = url if isinstance(url, DnsPlace) else parse_directory_url(url)
        if not isinstance(place, DnsPlace):
            raise ValueError(f"a directory by DNS is written dns://NAME:PORT, got {url!r:.160}")
        if not callable(resolve):
            raise TypeError(f"resolve must be an async function of a name, got {resolve!r:.80}")
        self.place = place
        self._resolve = resolve

    @property
    def places(self) -> Sequence[str]:
        """Where it is reached; see `abc.Directory`."""
        host = f"[{self.place.name}]" if ":" in self.place.name else self.place.name
        return (f"dns://{host}:{self.place.port}",)

    def __repr__(self) -> str:
        return f"DnsDirectory({self.places[0]!r})"

    def open(self, seat: Seat) -> AbstractAsyncContextManager[DirectoryClient]:
        """Use the directory from a node; see `abc.Directory`."""
        return using(self.place, seat, self._resolve)
