"""What is wanted of a zone on this machine and what has become of it, as values and as JSON files.

The rule of this file: each file has one writer. Commands write ``wanted.json``, one at a time; the zone's supervisor
writes ``state.json``. Both are written whole or not at all, so that whoever reads never waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from .._sansio.spec import ZoneSpec
from ..errors import DeployFailed
from ..identity.private_files import write_private
from .recipe import Recipe

Phase = Literal["pending", "starting", "running", "ready", "failed", "stopped"]
"""How far a container or a pod is.

`pending`: its turn has not come. `starting`: its process is being made, for the first time or again. `running`: it is
there, and its node is not ready. `ready`: its node is, or it has run for so long that nobody waits any more. `failed`:
it has crashed so often that something must be wrong; it is started again all the same, less and less often. `stopped`:
its program has ended in good order, or it was stopped.
"""

ZonePhase = Literal["deploying", "up", "failed", "stopping", "stopped"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptImage:
    """The zone's own copy of an image: a folder named for what it holds, and what its Dockerfile says."""

    folder: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Deployment:
    """A zone that is to run here.

    Attributes:
        spec: Its pods.
        cluster: The first part of its nodes' full names.
        id: Tells it from others of the same name; it goes into the pods' full names.
        images: By name, all that the pods are made from.
        authority: The program of the node that keeps the directory, and its arguments.
        folder: Where it was deployed from, for people.
    """

    spec: ZoneSpec
    cluster: str
    id: str
    images: dict[str, KeptImage]
    authority: tuple[str, ...]
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What commands want: a deployment, or with None an end. The generation counts what was wanted before."""

    generation: int
    deployment: Deployment | None


@dataclass(slots=True)
class ContainerState:
    """What has become of a container.

    Attributes:
        name: The container's name in its pod.
        node: Its node's full name.
        log: Path of the file that has all that it wrote.
        pid: Of its program, while there is one.
        restarts: How often it was started again after a crash.
        reason: Why it is not as it should be, with the end of its log; else empty.
    """

    name: str
    node: str
    short_name: str
    log: str
    state: Phase = "pending"
    reason: str = ""
    pid: int | None = None
    restarts: int = 0


@dataclass(slots=True)
class PodState:
    """What has become of one clone of a pod; `name` is its full name, `pod` the one in the zone file."""

    name: str
    pod: str
    index: int | None
    size: str
    public: bool
    containers: list[ContainerState]
    state: Phase = "pending"
    reason: str = ""

    def update(self) -> None:
        """Make its state that of its containers."""
        self.state = _together({each.state for each in self.containers})
        reasons = [f"container {each.name!r}: {each.reason}" for each in self.containers if each.reason]
        self.reason = "\n".join(reasons)


@dataclass(slots=True)
class ZoneState:
    """What has become of a zone.

    Attributes:
        generation: Which `Wanted` this is the outcome of.
        directory: Where the directory's node listens, once there is one.
        supervisor: Process id of what runs the zone.
        folder: Where it was deployed from.
    """

    zone: str
    cluster: str
    generation: int = 0
    state: ZonePhase = "deploying"
    reason: str = ""
    supervisor: int | None = None
    folder: str = ""
    directory: str = ""
    authority: ContainerState | None = None
    pods: list[PodState] = field(default_factory=list)


def _together(states: set[Phase]) -> Phase:
    """Return the state of a pod whose containers have these."""
    if "failed" in states:
        return "failed"
    if states <= {"ready", "stopped"}:
        return "ready" if "ready" in states else "stopped"
    order: Iterable[Phase] = ("pending", "starting")
    return next((each for each in order if each in states), "running")


def write_json(path: Path, value: object) -> None:
    """Write a value to a file, mode 0600, whole or not at all."""
    write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def read_json(path: Path, kind: type[T]) -> T | None:
    """Return what was written to a file, None if there is none.

    Raises:
        DeployFailed: It holds something else, for instance what another version has written.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DeployFailed(f"{str(path)!r} cannot be read: {error}. Delete the zone, and deploy it again.") from error
