"""One clone of a pod: its containers, which start and stop together."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

import msgspec
import trio

from .._sansio.spec import PlannedNode, PlannedPod
from ..errors import DeployFailed, IdentityError
from .containers import Container, Patience, Program
from .home import ZonePlace
from .images import lay_out, mapped
from .node_files import NodeFiles
from .state import ContainerState, Deployment, KeptImage, PodState


def fingerprint(pod: PlannedPod, deployment: Deployment) -> str:
    """Return a text that changes when anything changes that the pod's processes are made from."""
    images = {node.image: deployment.images[node.image] for node in pod.nodes}
    return hashlib.sha256(msgspec.json.encode((pod.nodes, images))).hexdigest()


class Pod:
    """A pod of a running zone.

    Args:
        planned: What it is to be.
        deployment: What it is made from.
        place: Where the zone is kept.
        changed: Is called after each change of `state`.
        patience: How long things may take.
    """

    def __init__(
        self,
        planned: PlannedPod,
        deployment: Deployment,
        place: ZonePlace,
        changed: Callable[[], None],
        patience: Patience,
    ) -> None:
        self.name = planned.name
        self.is_main = planned.is_main
        self.fingerprint = fingerprint(planned, deployment)
        self.begun = False
        self.ending = False
        self._nodes = planned.nodes
        self._images = deployment.images
        self._place = place
        self._changed = changed
        self._patience = patience
        self._containers: list[Container] = []
        states = [self._pending(node) for node in planned.nodes]
        self.state = PodState(planned.name, planned.pod, planned.index, planned.size, planned.public, states)

    async def start(self, nursery: trio.Nursery, files: NodeFiles, held: int) -> None:
        """Let its containers run in `nursery`; what keeps them from it is in `state`."""
        self.begun = True
        with trio.CancelScope(shield=True):  # all of them or none: it takes no longer than to copy their files
            for node, state in zip(self._nodes, self.state.containers, strict=True):
                await self._start(node, state, nursery, files, held)

    async def stop(self, files: NodeFiles) -> None:
        """Stop its containers; return when nothing is left of them. They end even if this is cancelled."""
        self.ending = True
        async with trio.open_nursery() as nursery:
            for container in self._containers:
                nursery.start_soon(container.stop)
        for node in self._nodes:
            files.forget(node.short_name)

    def label(self, planned: PlannedPod) -> None:
        """Take over what a plan says of it that its processes do not depend on."""
        self.state.size, self.state.public = planned.size, planned.public

    @property
    def decided(self) -> bool:
        """Whether there is nothing to wait for any more: it is ready, has finished or has failed."""
        return self.state.state in ("ready", "stopped", "failed")

    # ---- within

    async def _start(
        self, node: PlannedNode, state: ContainerState, nursery: trio.Nursery, files: NodeFiles, held: int
    ) -> None:
        try:
            program = await trio.to_thread.run_sync(self._prepare, node, files)
        except (DeployFailed, IdentityError, OSError) as error:
            state.state, state.reason = "failed", str(error)
            self._notice()
            return
        container = Container(program, state, self._notice, self._patience, held)
        self._containers.append(container)
        nursery.start_soon(container.run)

    def _notice(self) -> None:
        self.state.update()
        self._changed()

    def _pending(self, node: PlannedNode) -> ContainerState:
        log = self._place.log_of(node.short_name)
        return ContainerState(node.container, node.full_name, node.short_name, str(log))

    def _prepare(self, node: PlannedNode, files: NodeFiles) -> Program:
        image: KeptImage = self._images[node.image]
        root = self._place.containers / node.short_name
        folder = lay_out(self._place.images / image.folder, image.recipe, root)
        files.write(node)
        return Program(
            tuple(mapped(each, root) for each in image.recipe.command(sys.executable)),
            folder,
            files.environment(node.short_name, dict(image.recipe.env + node.env)),
            self._place.log_of(node.short_name),
            self._place.ready_file_of(node.short_name),
        )
