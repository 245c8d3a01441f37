"""A zone on this machine, for a program: nodes in processes of their own, and one in this process to talk to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.lowlevel import in_trio_task

from ._deploy.local import LocalZone as Processes
from ._deploy.local import check_runners, open_processes
from ._deploy.state import PodState
from ._zone.node_file import DeployedNode
from .node import Node, open_node

_HERE = "main"


class LocalZone:
    """A zone of processes on this machine; `open_local_zone` makes these.

    Attributes:
        node: The node of this process, a member of the zone: `Zone.nodes` finds the others from it.
    """

    def __init__(self, node: Node, processes: Processes) -> None:
        self.node = node
        self._processes = processes

    def __repr__(self) -> str:
        return f"<LocalZone {self._processes.state.zone!r}, {len(self.pods)} processes>"

    @property
    def pods(self) -> tuple[PodState, ...]:
        """What has become of each process: its state, its log file, how often it was started again."""
        return self._processes.pods


@asynccontextmanager
async def open_local_zone(
    runners: Mapping[str, int], *, name: str = "local", files: str | Path | None = None
) -> AsyncGenerator[LocalZone]:
    """Open a zone of nodes that wait for work, each in a process of its own: this is how a program uses all cores.

    ``{"runner": 4}`` makes ``runner-0`` to ``runner-3``. All are ready when the block begins. One that crashes is
    started again, after pauses that grow. Nothing is left of them when the block has ended, however it ends, also if
    this process is killed. What they write is in files that are removed at the end; see `LocalZone.pods`.

    All of these nodes trust each other: each may start workers on each. An exception of the block comes out bare.

    Example:
        ```python
        async with open_local_zone({"runner": 4}) as zone:
            for number, runner in enumerate(await Zone.nodes(zone.node, "runner")):
                await runner.start_worker(f"square-{number}", Square())
            await gather(*(zone.node.send_and_receive(f"square-{i}", str(i)) for i in range(4)))
        ```

    Args:
        runners: How many nodes of each name. ``main`` is the name of this process's own.
        name: The zone's name: 1 to 10 of ``a-z0-9``.
        files: A folder that each process gets a copy of, to run in; modules in it can be imported there.

    Raises:
        TypeError, ValueError: A name or a number that cannot be, or no runners at all.
        RuntimeError: This is no Trio program.
        DeployFailed: A process did not start; the text says why. Nothing is left of the others.
    """
    if not in_trio_task():
        raise RuntimeError("open_local_zone is for Trio programs: trio.run(main), or a main(node) of Node.start")
    check_runners(runners)
    if _HERE in runners:
        raise ValueError(f"the node of this process is called {_HERE!r}; choose another name for those processes")
    outcome: BaseException | None = None
    async with open_processes(runners, name=name, files=Path(files) if files else None) as processes:
        deployed = DeployedNode(str(await processes.join(_HERE)))
        try:
            async with open_node(**deployed.options) as node:
                node._nursery.start_soon(deployed.keep_current)
                yield LocalZone(node, processes)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001  # raised below, so that no nursery wraps it
            outcome = error
    if outcome is not None:
        raise outcome
