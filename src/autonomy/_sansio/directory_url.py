"""Where a zone's directory is, as text: ``etcd://HOST:PORT``, ``etcds://…``, ``embedded://NODE@HOST:PORT``, ``dns://NAME:PORT``.

Such a text lands in logs, node files and process lists. So it names files that hold secrets, and a secret in it is
refused, without being repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from .address import check_node_name

ETCD_PORT: Final = 2379
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})")
_FILES: Final = {"ca": "ca", "cert": "certificate", "key": "key", "user": "user", "password-file": "password_file"}
_SHAPES: Final = (
    "etcd://HOST:PORT[,HOST:PORT…], etcds://HOST:PORT[,…]?ca=PATH, embedded://NODE@HOST:PORT or dns://NAME:PORT"
)


@dataclass(frozen=True, slots=True)
class EtcdPlace:
    """An etcd, as a directory's URL names it.

    Attributes:
        endpoints: Its members, ``http://HOST:PORT`` or ``https://HOST:PORT``.
        ca: File with the CAs that vouch for its members, PEM; None for those of this system.
        certificate: File with the certificate that a node shows it, PEM; None for none.
        key: File with the key of that.
        user: Who asks; None where it asks for nobody.
        password_file: File with that user's password.
    """

    endpoints: tuple[str, ...]
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    user: str | None = None
    password_file: str | None = None

    @property
    def is_secured(self) -> bool:
        """Whether it is spoken to by TLS."""
        return self.endpoints[0].startswith("https:")


@dataclass(frozen=True, slots=True)
class EmbeddedPlace:
    """A directory that a node keeps, as its URL names it.

    Attributes:
        node: Full name of that node.
        address: Where it listens, ``wss://HOST:PORT``.
    """

    node: str
    address: str


@dataclass(frozen=True, slots=True)
class DnsPlace:
    """A name in DNS that leads to the nodes of a zone, as a directory's URL names it.

    Attributes:
        name: The name of a host.
        port: Where each node listens.
    """

    name: str
    port: int


def parse_directory_url(url: object) -> EtcdPlace | EmbeddedPlace | DnsPlace:
    """Return what a directory's URL names.

    Raises:
        TypeError, ValueError: It is none; the text says what is wrong, and never a password.
    """
    if not isinstance(url, str):
        raise TypeError(f"a directory's URL must be a str, got {type(url).__name__}: {url!r:.80}")
    scheme, separator, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if "@" in place and ":" in place.rpartition("@")[0]:
        raise ValueError(
            "a directory's URL has a password in it, which would land in logs and process lists: "
            "write ?user=NAME&password-file=PATH"
        )
    if not separator or scheme not in ("etcd", "etcds", "embedded", "dns"):
        raise ValueError(f"a directory's URL is written {_SHAPES}, got {url!r:.160}")
    if not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise ValueError(f"a directory's URL is plain text without blanks and '#', got {url!r:.160}")
    if scheme == "embedded":
        return _embedded(place, query, url)
    if scheme == "dns":
        return _dns(place, query, url)
    return _etcd(scheme, place, query, url)


def check_shared(url: str) -> str:
    """Return the URL of a directory that all machines of a zone are told, if it may be one; else raise ValueError.

    Files that it names are sought on each of them, wherever a program runs there: their paths are absolute.
    """
    place = parse_directory_url(url)
    if isinstance(place, EtcdPlace):
        for parameter, field in _FILES.items():
            path = None if field == "user" else getattr(place, field)
            if path is not None and not path.startswith("/"):
                raise ValueError(f"{parameter}={path!r:.160} is a path on each machine of the zone: begin it with /")
    return url


def _embedded(place: str, query: str, url: str) -> EmbeddedPlace:
    node, at, host = place.rstrip("/").partition("@")
    if not at or query:
        raise ValueError(f"an embedded directory is written embedded://FULL-NODE-NAME@HOST:PORT, got {url!r:.160}")
    return EmbeddedPlace(check_node_name(node), f"wss://{_host_and_port(host, None, url)}")


def _dns(place: str, query: str, url: str) -> DnsPlace:
    if "@" in place or "," in place or query:
        raise ValueError(f"a directory by DNS is written dns://NAME:PORT, with one name, got {url!r:.160}")
    name, _, port = _host_and_port(place.rstrip("/"), None, url).rpartition(":")
    return DnsPlace(name.strip("[]"), int(port))


def _etcd(scheme: str, place: str, query: str, url: str) -> EtcdPlace:
    if "@" in place:
        raise ValueError(f"a user of etcd is written ?user=NAME&password-file=PATH, got {url!r:.160}")
    http = "https" if scheme == "etcds" else "http"
    hosts = [_host_and_port(host, ETCD_PORT, url) for host in place.rstrip("/").split(",")]
    options = _options(query)
    if scheme == "etcd" and (found := [name for name in ("ca", "cert", "key") if _FILES[name] in options]):
        raise ValueError(f"{found[0]}= is for TLS: write etcds:// in {url!r:.160}")
    for one, other in (("cert", "key"), ("user", "password-file")):
        given = [name for name in (one, other) if _FILES[name] in options]
        if len(given) == 1:
            raise ValueError(f"{one}= and {other}= go together, got {given[0]}= alone in {url!r:.160}")
    return EtcdPlace(tuple(dict.fromkeys(f"{http}://{host}" for host in hosts)), **options)


def _host_and_port(text: str, default: int | None, url: str) -> str:
    """Return ``HOST:PORT`` if a part of a URL is that."""
    match = re.fullmatch(rf"({_HOST.pattern})(?::([0-9]{{1,5}}))?", text)
    port = default if match is None or match[2] is None else int(match[2])
    if match is None or port is None or not 0 < port <= 65_535:
        raise ValueError(f"HOST:PORT, with a port from 1 to 65535, must stand for {text!r:.80} in {url!r:.160}")
    return f"{match[1]}:{port}"


def _options(query: str) -> dict[str, str]:
    """Return the parameters of a URL, by the names of `EtcdPlace`. Values that may be secrets are not repeated."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, separator="&"):
        if name == "password":
            raise ValueError(
                "a directory's URL has a password in it, which would land in logs and process lists: "
                "write password-file=PATH"
            )
        if name not in _FILES:
            raise ValueError(f"a directory's URL takes {', '.join(f'{each}=' for each in _FILES)}, got {name!r:.80}")
        if not value:
            raise ValueError(f"{name}= in a directory's URL has no value")
        if _FILES[name] in found:
            raise ValueError(f"{name}= stands twice in a directory's URL")
        found[_FILES[name]] = value
    return found
