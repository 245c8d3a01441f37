"""What the log page wants to know of a zone, and no more; whoever deploys zones answers it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod as the page shows it.

    Attributes:
        name: Its own name, different from those of its clones: ``runner-pod-k3v9x0a1bz-7h2mq``.
        pod: What the zone file calls it: ``runner-pod``.
        containers: The names of its containers.
        state: One word for people: ``running``, ``starting``, ``failed``, ``finished``, ``stopped``.
        nodes: The names of its nodes.
        reason: Why it is in this state, if that is worth a sentence.
        label: What people call it, short enough for a list: ``runner-pod-0``. Empty if that is its name.
    """

    name: str
    pod: str
    containers: tuple[str, ...]
    state: str
    nodes: tuple[str, ...] = ()
    reason: str = ""
    label: str = ""


class ZoneLogs(Protocol):
    """A zone whose logs can be read. Asked anew at each request, and each second while somebody follows."""

    @property
    def zone(self) -> str:
        """The zone's name."""
        ...

    def pods(self) -> list[PodView]:
        """Return the pods there are now, in the order in which people want to see them."""
        ...

    def log_file(self, pod_name: str, container: str) -> Path | None:
        """Return where this container writes, or None if it has no file yet; the file need not be there.

        Only names that `pods` has just returned come here.
        """
        ...
