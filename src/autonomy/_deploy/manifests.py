"""A zone as manifests for somebody else's machines: what may be chosen, and what both kinds have in common.

The rule of this file and of all that is named for a kind, `kubernetes*.py` and `compose.py`: pure. A specification and
`Choices` become documents, plain data, the same ones each time; nothing is read, asked or written. No document holds a
secret: those are named, and whoever runs the zone makes them. `yaml_text.py` writes documents down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from .._sansio.directory_url import ETCD_PORT, DnsPlace, EmbeddedPlace, parse_directory_url
from .._sansio.rights import RIGHTS, Rights
from .._sansio.shipment import CodePolicy
from .._sansio.spec import ContainerSpec, PodSpec, ZoneSpec, short_name, zone_name_problem
from .._sansio.spiffe import check_identity_name

Document = dict[str, Any]
"""One Kubernetes object, or one compose file: plain data."""

Identity = Literal["cert-manager", "tickets"]
"""Who certifies the nodes of a zone: cert-manager, or the zone's own authority for whoever shows it a ticket."""

NODE_PORT: Final = 4400
"""Where the first container of a pod listens for other nodes; the next ones on the ports after it."""
HEALTH_PORT: Final = 4500
"""Where it answers probes; the next containers likewise."""
ENROLL_PORT: Final = 4443
"""Where a zone's authority takes tickets."""
USER: Final = 10001
"""User and group that nodes run as: no user of any machine."""
MAX_CONTAINERS: Final = HEALTH_PORT - NODE_PORT

AUTHORITY: Final = "authority"
"""Short name of the node that certifies the others, where they come with tickets."""

PRE_STOP: Final = 5
"""Seconds for everybody to learn that a public pod takes no more requests, before it is told to end."""
DRAIN: Final = 26
"""Seconds within which a node ends in good order, `Node.start`'s last resort included; see how-to/stopping.md."""
HTTP_GRACE: Final = 5
"""Seconds that requests have before that, in a program with an HTTP server."""
MARGIN: Final = 9
"""Seconds that an end in good order may come late on a busy machine, before the program is killed."""

_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9._/:-]{0,253}[a-z0-9])?")
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_TAKEN: Final = frozenset({"POD_NAME", "POD_IP", "POD_INDEX", "AUTONOMY_HOME", "AUTONOMY_WAIT_UNTIL_INTERRUPTED"})


@dataclass(frozen=True, slots=True)
class Choices:
    """What a zone file leaves open: everything that is for the machines to say, not for the programs.

    Attributes:
        registry: Where images are, in front of their names; ``ghcr.io/acme/shop`` for ``ghcr.io/acme/shop/main:TAG``.
        tag: Of the images.
        cluster: The first part of the nodes' full names.
        identity: Who certifies nodes.
        directory: URL of the zone's directory, ``etcd://HOST:PORT``; or ``dns://ZONE.NAMESPACE.svc:4400`` for none, on
            Kubernetes; None for the one that the zone's authority keeps.
        directory_secret: A Secret whose files that URL names, below ``/etc/autonomy/directory``.
        namespace: Where the objects are to be; None for wherever they are applied.
        public_port: The port on which public pods answer HTTP.
        ingress: By public pod, the host name that leads to it from outside.
        base_image: What the authority runs; None for ``REGISTRY/autonomy:TAG``.
        rights: What nodes may do on each other, where node files say it.
        code: Which code nodes take, likewise.
        wait: Seconds that ``main-pod`` waits for all others to be ready, before it starts anyway; 0 for not at all.

    Raises:
        ValueError: A value that cannot be; the text says what would be right.
    """

    registry: str
    tag: str
    cluster: str = "local"
    identity: Identity = "cert-manager"
    directory: str | None = None
    directory_secret: str | None = None
    namespace: str | None = None
    public_port: int = 8000
    ingress: Mapping[str, str] = field(default_factory=dict)
    base_image: str | None = None
    rights: Rights = RIGHTS
    code: CodePolicy = CodePolicy("import")  # noqa: RUF009  # it is frozen
    wait: int = 120

    def __post_init__(self) -> None:
        if not _REGISTRY.fullmatch(self.registry):
            raise ValueError(
                f"registry {self.registry!r:.80} cannot be in front of an image's name: write HOST/PATH in lower case"
            )
        if not _TAG.fullmatch(self.tag):
            raise ValueError(f"tag {self.tag!r:.80} is none: write 1 to 128 of A-Z a-z 0-9 . _ -")
        if problem := zone_name_problem(self.cluster):
            raise ValueError(problem.replace("zone", "cluster", 1))
        if self.namespace is not None and not _LABEL.fullmatch(self.namespace):
            raise ValueError(f"namespace {self.namespace!r:.80} is not allowed: write 1 to 63 of a-z 0-9 -")
        if self.directory is not None:
            etcd_endpoints(self.directory)
        for host in self.ingress.values():
            if not _HOST.fullmatch(host) or len(host) > 253:
                raise ValueError(f"ingress host {host!r:.80} is no host name: write it in lower case, without a port")

    @property
    def authority_image(self) -> str:
        """What the zone's authority runs."""
        return self.base_image or f"{self.registry}/autonomy:{self.tag}"


def etcd_endpoints(url: str) -> list[tuple[str, int]]:
    """Return hosts and ports of the etcd that a directory's URL names; none for ``dns://``.

    Raises:
        ValueError: It is no such URL, or has a password in it; that is not repeated.
    """
    place = parse_directory_url(url)
    if isinstance(place, EmbeddedPlace):
        raise ValueError(
            "a directory for a zone on several machines is etcd://HOST:PORT[,HOST:PORT…], or on Kubernetes "
            f"dns://ZONE.NAMESPACE.svc:{NODE_PORT}, got {url!r:.160}"
        )
    if isinstance(place, DnsPlace):
        return []
    parts = [urlsplit(each) for each in place.endpoints]
    return [(each.hostname or "", each.port or ETCD_PORT) for each in parts]


def dns_place(choices: Choices) -> DnsPlace | None:
    """Return the name that leads to all nodes, where DNS is all the directory that there is."""
    place = None if choices.directory is None else parse_directory_url(choices.directory)
    return place if isinstance(place, DnsPlace) else None


def check_spec(spec: ZoneSpec, choices: Choices) -> None:
    """Check what a zone must be to run on several machines.

    Raises:
        ValueError: It is not so; the text says what would be right.
    """
    if choices.identity == "cert-manager" and choices.directory is None:
        raise ValueError(
            "a zone on several machines needs a directory: --directory etcd://HOST:PORT, or for a small one on "
            f"Kubernetes dns://{spec.name}.NAMESPACE.svc:{NODE_PORT}. (With --identity tickets its authority can keep "
            "it.)"
        )
    public = [pod.name for pod in spec.pods if pod.public]
    for name in choices.ingress:
        if name not in public:
            there = f"public pods are {', '.join(public)}" if public else "no pod is public"
            raise ValueError(f"an ingress host is for a public pod, and {name!r:.80} is none: {there}")
    for pod in spec.pods:
        if len(pod.containers) > MAX_CONTAINERS:
            raise ValueError(f"pod {pod.name!r} has {len(pod.containers)} containers, at most {MAX_CONTAINERS} can be")
        for container in pod.containers:
            _check_container(container, pod)
        for container, index in nodes_of(pod):
            name = short_name(container.name, index)
            if choices.identity == "tickets" and name == AUTHORITY:
                raise ValueError(f"a container cannot be called {AUTHORITY!r}: that is the node which certifies others")
            check_identity_name(full_name(spec, choices, name))


def _check_container(container: ContainerSpec, pod: PodSpec) -> None:
    if not _REPOSITORY.fullmatch(container.image):
        raise ValueError(
            f"image {container.image!r:.80} cannot be in a registry: name its folder by a-z 0-9, parted by . _ -"
        )
    taken = {name for name, _ in container.env} | {each.variable for each in container.secrets}
    if found := sorted(taken & _TAKEN):
        raise ValueError(
            f"container {container.name!r} of pod {pod.name!r}: {found[0]} is set by the zone: leave it out"
        )


def nodes_of(pod: PodSpec) -> Iterator[tuple[ContainerSpec, int | None]]:
    """Yield the containers of all clones of a pod, with the number of the clone."""
    for index in [None] if pod.clones is None else range(pod.clones):
        for container in pod.containers:
            yield container, index


def replicas(pod: PodSpec) -> int:
    """Return how many there are of a pod."""
    return 1 if pod.clones is None else pod.clones


def full_name(spec: ZoneSpec, choices: Choices, short: str) -> str:
    """Return a node's full name."""
    return f"{choices.cluster}-{spec.name}-{short}"


def image_of(container: ContainerSpec, choices: Choices) -> str:
    """Return the name of the image that a container runs."""
    return f"{choices.registry}/{container.image}:{choices.tag}"


def grace(pod: PodSpec) -> int:
    """Return how many seconds a pod has to end in good order, before what is left of it is killed."""
    return DRAIN + MARGIN + (PRE_STOP + HTTP_GRACE if pod.public else 0)
