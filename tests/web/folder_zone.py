"""A zone that is a folder: each container writes ``POD.CONTAINER.log``, or has not yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from autonomy._web import PodView, ZoneLogs, serve_logs


@dataclass
class FolderZone:
    """What the log page sees of a zone."""

    folder: Path
    there: list[PodView] = field(default_factory=list)
    zone: str = "orders"
    error: Exception | None = None

    def pods(self) -> list[PodView]:
        if self.error:
            raise self.error
        return list(self.there)

    def log_file(self, pod_name: str, container: str) -> Path | None:
        assert any(pod.name == pod_name and container in pod.containers for pod in self.there), "names are looked up"
        return self.path(pod_name, container)

    def path(self, pod_name: str, container: str = "main") -> Path:
        return self.folder / f"{pod_name}.{container}.log"

    def write(self, text: str | bytes, pod_name: str = "main-pod", container: str = "main") -> None:
        """Add to what a container wrote."""
        with self.path(pod_name, container).open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())


def small_zone(folder: Path) -> FolderZone:
    """Return a zone of one pod ``main-pod``, which has written nothing, and two clones of ``runner-pod``."""
    runners = [
        PodView(f"runner-pod-{number}", "runner-pod", ("main", "proxy"), "running", (f"runner-{number}",))
        for number in range(2)
    ]
    return FolderZone(folder, [PodView("main-pod", "main-pod", ("main",), "running", ("main",)), *runners])


@asynccontextmanager
async def served(zone: ZoneLogs, host: str = "127.0.0.1") -> AsyncGenerator[str]:
    """Serve a zone's logs as long as the block runs, at the address given."""
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(serve_logs, zone, port=0, host=host))
        yield url
        nursery.cancel_scope.cancel()
