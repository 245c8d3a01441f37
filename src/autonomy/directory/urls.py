"""From a directory's URL to the directory."""

from __future__ import annotations

from .._sansio.directory_url import DnsPlace, EtcdPlace, parse_directory_url
from .dns import DnsDirectory
from .embedded import EmbeddedDirectory
from .etcd import EtcdDirectory


def directory_at(url: str) -> EtcdDirectory | EmbeddedDirectory | DnsDirectory:
    """Return the directory that a URL names; `open_node` and node files take such a URL too.

    Args:
        url: ``etcd://HOST:PORT[,HOST:PORT…]`` or ``etcds://…``, with the parameters that `EtcdDirectory` describes; or
            ``embedded://NODE@HOST:PORT`` for `EmbeddedDirectory`, with the full name of the node that keeps it; or
            ``dns://NAME:PORT`` for `DnsDirectory`.

    Raises:
        TypeError, ValueError: It is no such URL; or a file that it names cannot be used. The text never has a password.
        ImportError: It needs an extra that is not installed; the text says which.
    """
    place = parse_directory_url(url)
    if isinstance(place, DnsPlace):
        return DnsDirectory(place)
    return EtcdDirectory(place) if isinstance(place, EtcdPlace) else EmbeddedDirectory(place.node, place.address)
