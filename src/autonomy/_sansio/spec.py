"""Zones as values: what somebody asks for (`ZoneSpec`), and which nodes that makes (`plan_zone`).

The rule of this file: the same specification and the same deployment give the same plan, on any machine, so that a
running zone can be compared with what is wanted of it. `_deploy/zone_file.py` makes specifications of files,
`_deploy/local.py` makes processes of plans.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MAIN_POD = "main-pod"
"""The pod that starts when all others are ready."""

AUTHORITY = "zone_authority"
"""Short name of the node that keeps a zone's directory and its CA. No container can have it, for the `_`."""

SET_BY_THE_ZONE = frozenset(
    {
        "AUTONOMY_ADDRESS",
        "AUTONOMY_CONTAINER",
        "AUTONOMY_HEALTH",
        "AUTONOMY_INDEX",
        "AUTONOMY_LISTEN",
        "AUTONOMY_NODE_FILE",
        "AUTONOMY_POD",
        "CLUSTER",
        "ENROLLMENT_TICKET",
        "ENROLLMENT_TICKET_FILE",
        "NODE",
        "ZONE",
    }
)
"""Environment variables that say who a node is and where it listens: not for zone files to set."""

SECRET_ENDINGS = ("KEY", "TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIALS")
"""What the names of variables end with that hold secrets, after an ``_`` or alone."""

MAX_CLONES = 1000
_ZONE = re.compile(r"[a-z0-9]{1,10}")
_POD = re.compile(r"[a-z]([a-z0-9-]{0,44}[a-z0-9])?")
_CONTAINER = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECRET_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@:\s]*:[^/@\s]+@", re.IGNORECASE)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Size = Literal["small", "big"]
Place = tuple[int, int]
"""Where a container stands in a specification: which pod, and which of its containers."""


@dataclass(frozen=True, slots=True)
class SecretVariable:
    """An environment variable whose value somebody keeps elsewhere.

    Attributes:
        variable: Its name.
        secret: The Kubernetes Secret that has the value.
        key: Where in that.
    """

    variable: str
    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One program of a pod.

    Attributes:
        name: The short name of its node, before the number of the clone.
        image: The folder below ``images`` that it is made from.
        env: Environment variables, over those of the image.
        secrets: Environment variables that are secrets. On one machine there are none.
    """

    name: str
    image: str
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[SecretVariable, ...] = ()


@dataclass(frozen=True, slots=True)
class PodSpec:
    """Containers that belong together, and how often to run them.

    Attributes:
        name: Unique in the zone.
        containers: At least one.
        size: Of the machine, where pods have machines of their own.
        public: Whether people outside of the zone may reach it.
        clones: How many there are, each with a number from 0 in its nodes' names; None for one without a number.
    """

    name: str
    containers: tuple[ContainerSpec, ...]
    size: Size = "small"
    public: bool = False
    clones: int | None = None


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """A whole zone, as somebody asks for it."""

    name: str
    pods: tuple[PodSpec, ...]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One container of one clone of a pod: one node.

    Attributes:
        short_name: ``{container}``, or ``{container}-{index}`` in a pod with clones.
        full_name: ``{cluster}-{zone}-{short_name}``.
    """

    pod: str
    container: str
    index: int | None
    short_name: str
    full_name: str
    image: str
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """One clone of a pod.

    Attributes:
        name: Its full name, ``{pod}-xxxxxxxxxx-xxxxx``: unique, and the same for as long as the deployment lives.
        pod: The name that the specification has for it.
    """

    name: str
    pod: str
    index: int | None
    size: Size
    public: bool
    nodes: tuple[PlannedNode, ...]

    @property
    def is_main(self) -> bool:
        """Whether it starts when all others are ready."""
        return self.pod == MAIN_POD


@dataclass(frozen=True, slots=True)
class Plan:
    """What a specification makes: pods in the order of the specification, clones in the order of their numbers."""

    zone: str
    cluster: str
    pods: tuple[PlannedPod, ...]

    @property
    def authority(self) -> str:
        """Full name of the node that keeps the zone's directory."""
        return f"{self.cluster}-{self.zone}-{AUTHORITY}"

    @property
    def first(self) -> tuple[PlannedPod, ...]:
        """The pods that start first: all but ``main-pod``."""
        return tuple(pod for pod in self.pods if not pod.is_main)

    @property
    def last(self) -> tuple[PlannedPod, ...]:
        """The pods that start when those are ready."""
        return tuple(pod for pod in self.pods if pod.is_main)


def plan_zone(spec: ZoneSpec, *, cluster: str, deployment: str) -> Plan:
    """Return the pods and nodes that `spec` makes.

    Args:
        spec: What is wanted; no two containers of it may want one name (`first_collision`).
        cluster: The first part of all nodes' full names.
        deployment: Tells this deployment from others of the same name; it goes into the pods' full names.
    """
    prefix = f"{cluster}-{spec.name}-"
    return Plan(spec.name, cluster, tuple(pod for each in spec.pods for pod in _planned(each, prefix, deployment)))


def _planned(pod: PodSpec, prefix: str, deployment: str) -> Iterator[PlannedPod]:
    family = _letters(f"{deployment}/{pod.name}", 10)
    for index in _indices(pod):
        nodes = []
        for each in pod.containers:
            short = short_name(each.name, index)
            nodes.append(PlannedNode(pod.name, each.name, index, short, prefix + short, each.image, each.env))
        name = f"{pod.name}-{family}-{_letters(f'{deployment}/{pod.name}/{index}', 5)}"
        yield PlannedPod(name, pod.name, index, pod.size, pod.public, tuple(nodes))


def short_name(container: str, index: int | None) -> str:
    """Return a node's short name."""
    return container if index is None else f"{container}-{index}"


def first_collision(spec: ZoneSpec) -> tuple[str, Place, Place] | None:
    """Return a node name that two containers want, and where both stand; None if there is none."""
    taken: dict[str, Place] = {}
    for pod_number, pod in enumerate(spec.pods):
        for number, container in enumerate(pod.containers):
            for index in _indices(pod):
                name, place = short_name(container.name, index), (pod_number, number)
                if name in taken:
                    return name, taken[name], place
                taken[name] = place
    return None


def _indices(pod: PodSpec) -> list[int | None]:
    return [None] if pod.clones is None else list(range(pod.clones))


def _letters(text: str, count: int) -> str:
    """Return lower-case letters and digits that depend on `text` alone."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return "".join(_DIGITS[number // 36**place % 36] for place in range(count))


# ---- what may be written: each returns what is wrong with a text, or None


def zone_name_problem(name: str) -> str | None:
    """Say why a zone cannot have this name."""
    return None if _ZONE.fullmatch(name) else f"zone name {name!r:.60} is not allowed: write 1 to 10 of a-z 0-9"


def pod_name_problem(name: str) -> str | None:
    """Say why a pod cannot have this name; the limit leaves room for the rest of its full name."""
    return _label_problem(name, _POD, "pod name", 46)


def container_name_problem(name: str) -> str | None:
    """Say why a container cannot have this name."""
    return _label_problem(name, _CONTAINER, "container name", 63)


def variable_problem(name: str) -> str | None:
    """Say why an environment variable cannot be set."""
    if name in SET_BY_THE_ZONE:
        return f"environment variable {name} says who a node is and where, and the zone sets it: leave it out"
    if not _VARIABLE.fullmatch(name):
        return f"{name!r:.60} cannot be the name of an environment variable: write A-Z a-z 0-9 _, no digit first"
    return None


def secret_problem(name: str, value: str) -> str | None:
    """Say why a variable should not stand in the open, where everybody reads who may read a deployment."""
    is_secret = name.upper().split("_")[-1] in SECRET_ENDINGS
    if not is_secret and not _WITH_PASSWORD.search(value):
        return None
    why = "is a secret by its name" if is_secret else "has a password in a URL"
    return (
        f"environment variable {name} {why}, and manifests are no place for secrets. Make a Secret, and write "
        f"{name}: {{secret: NAME, key: KEY}}"
    )


def reference_problem(secret: str, key: str) -> str | None:
    """Say why no Secret can have that name, or no such key."""
    if not _SECRET.fullmatch(secret):
        return f"secret {secret!r:.80} is not allowed: write 1 to 253 of a-z 0-9 . -, a letter or digit first and last"
    if not _SECRET_KEY.fullmatch(key):
        return f"key {key!r:.80} is not allowed: write 1 to 253 of A-Z a-z 0-9 . _ -"
    return None


def _label_problem(name: str, pattern: re.Pattern[str], what: str, longest: int) -> str | None:
    if pattern.fullmatch(name):
        return None
    return (
        f"{what} {name!r:.80} is not allowed: write 1 to {longest} of a-z 0-9 -, a letter first and no '-' at the end"
    )
