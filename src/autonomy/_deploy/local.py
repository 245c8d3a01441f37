"""A zone as processes on this machine, within a Trio program: `open_processes`, or `running_zone` for any deployment.

The rule of this file: it compares what is wanted with what is there and does the difference, so that deploying for the
first time, again, and after half of it has failed are one thing. Whatever happens to this process, nothing of the zone
outlives it. Next: `pods.py`, `containers.py`, `guard.py`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .._sansio.border import check_count
from .._sansio.node_file import DirectoryPlace
from .._sansio.spec import (
    AUTHORITY,
    MAX_CLONES,
    ContainerSpec,
    Plan,
    PlannedPod,
    PodSpec,
    ZoneSpec,
    container_name_problem,
    plan_zone,
    pod_name_problem,
    zone_name_problem,
)
from ..errors import DeployFailed, IdentityError
from ..logs import get_logger
from .containers import Container, Patience, Program
from .home import ZonePlace
from .images import keep_image
from .node_files import NodeFiles
from .pods import Pod, fingerprint
from .recipe import CopyRule, Recipe
from .renewing import keep_renewing
from .state import ContainerState, Deployment, KeptImage, PodState, ZonePhase, ZoneState

_log = get_logger("zone")
RUNNER_PROGRAM = ("python", "-c", "from autonomy import Node; Node.start()")
AUTHORITY_PROGRAM = RUNNER_PROGRAM
"""It is told by its node file that it keeps the directory."""
_SPREAD_EVERY = 0.1


class LocalZone:
    """A zone whose nodes are processes of this machine. `open_processes` and `running_zone` make these.

    Attributes:
        state: What has become of it, kept up to date.
    """

    def __init__(self, place: ZonePlace, nursery: trio.Nursery, patience: Patience, held: int) -> None:
        self.state = ZoneState(zone="", cluster="", supervisor=os.getpid())
        self._place = place
        self._nursery = nursery
        self._patience = patience
        self._held = held
        self._pods: dict[str, Pod] = {}
        self._files: NodeFiles | None = None
        self._authority: Container | None = None
        self._applying = trio.Lock()
        self._follows_pods = False
        self._something = trio.Event()

    def __repr__(self) -> str:
        return f"<LocalZone {self.state.zone!r}, {self.state.state}, {len(self._pods)} pods>"

    @property
    def pods(self) -> tuple[PodState, ...]:
        """What has become of each pod."""
        return tuple(self.state.pods)

    async def apply(self, deployment: Deployment) -> None:
        """Make the zone what `deployment` says; return when all of it is up.

        What has not changed goes on undisturbed. ``main-pod`` starts when all others are ready. If this fails or is
        cancelled, what was started goes on, and the next call begins with what is there.

        Raises:
            DeployFailed: A pod has failed; the text says why. The others run.
        """
        async with self._applying:
            self.state.state, self.state.reason = "deploying", ""
            self._follows_pods = False
            try:
                await self._apply(deployment)
            except DeployFailed as error:
                self._conclude("failed", str(error))
                raise
            except (IdentityError, OSError) as error:
                self._conclude("failed", str(error))
                raise DeployFailed(str(error)) from error
            self._conclude("up")

    async def stop(self) -> None:
        """Stop all pods, ``main-pod`` first, and then the directory; return when nothing is left of them."""
        self._conclude("stopping", self.state.reason)
        async with self._applying:
            if self._files:
                pods = list(self._pods.values())
                await self._stop_pods([pod for pod in pods if pod.is_main])
                await self._stop_pods([pod for pod in pods if not pod.is_main])
            if self._authority:
                await self._authority.stop()
            self._conclude("stopped", self.state.reason)

    async def join(self, short_name: str) -> Path:
        """Make credentials for one more node, which is no process of this zone; return the path of its node file.

        Raises:
            ValueError: A container's node has that name, or no node can have it.
        """
        if problem := container_name_problem(short_name):
            raise ValueError(problem)
        if any(each.short_name == short_name for pod in self.state.pods for each in pod.containers):
            raise ValueError(f"zone {self.state.zone!r} has a node {short_name!r} already")
        if self._files is None:
            raise DeployFailed("nothing was deployed yet")
        return await trio.to_thread.run_sync(self._files.write_guest, short_name)

    async def renew(self) -> None:
        """Give all nodes new certificates, in the folders that their node files name."""
        if self._files:
            await trio.to_thread.run_sync(self._files.renew)

    async def wait_change(self) -> None:
        """Wait until `state` has changed."""
        await self._something.wait()

    # ---- within

    async def _apply(self, deployment: Deployment) -> None:
        plan = plan_zone(deployment.spec, cluster=deployment.cluster, deployment=deployment.id)
        files = await self._start_authority(plan, deployment)
        await self._stop_pods([pod for pod in self._pods.values() if not _stays(pod, plan, deployment)])
        for planned in plan.pods:
            if planned.name not in self._pods:
                self._pods[planned.name] = Pod(planned, deployment, self._place, self._notice_pod, self._patience)
            self._pods[planned.name].label(planned)
        self._pods = {planned.name: self._pods[planned.name] for planned in plan.pods}
        self.state.pods = [pod.state for pod in self._pods.values()]
        self._notice()
        await self._start(plan.first, files)
        self._follows_pods = True
        await self._start(plan.last, files)

    async def _start_authority(self, plan: Plan, deployment: Deployment) -> NodeFiles:
        """Start the directory, if this is the first time; return when it is ready."""
        self.state.folder = deployment.folder
        if self._files is None:
            self.state.zone, self.state.cluster = plan.zone, plan.cluster
            self.state.directory = f"wss://127.0.0.1:{_free_port()}"
            directory = DirectoryPlace(plan.authority, self.state.directory)
            files = await trio.to_thread.run_sync(NodeFiles, self._place, plan.zone, plan.cluster, directory)
            await trio.to_thread.run_sync(files.write_authority)
            self._files = files
            self._start_authority_process(plan, deployment, files)
        state = self.state.authority
        assert state is not None
        await self._until(lambda: state.state in ("ready", "stopped", "failed"))
        if state.state != "ready":
            raise DeployFailed(f"the directory of zone {plan.zone!r} does not run: {state.reason}")
        return self._files

    def _start_authority_process(self, plan: Plan, deployment: Deployment, files: NodeFiles) -> None:
        log = self._place.log_of(AUTHORITY)
        self.state.authority = ContainerState(AUTHORITY, plan.authority, AUTHORITY, str(log))
        program = Program(
            Recipe((), (), "/", deployment.authority).command(sys.executable),
            self._place.folder,
            files.environment(AUTHORITY, {}),
            log,
            self._place.ready_file_of(AUTHORITY),
        )
        self._authority = Container(program, self.state.authority, self._notice, self._patience, self._held)
        self._nursery.start_soon(self._authority.run)
        self._nursery.start_soon(keep_renewing, self.renew)
        self._nursery.start_soon(self._keep_spreading, files)

    async def _stop_pods(self, pods: Sequence[Pod]) -> None:
        files = self._files
        assert files is not None
        async with trio.open_nursery() as nursery:
            for pod in pods:
                nursery.start_soon(pod.stop, files)
        for pod in pods:
            del self._pods[pod.name]
            _log.info("pod stopped", pod=pod.name)

    async def _start(self, planned: Sequence[PlannedPod], files: NodeFiles) -> None:
        """Start those of the pods that do not run, and wait for all of them.

        Raises:
            DeployFailed: One of them has failed; the others were waited for.
        """
        pods = [self._pods[each.name] for each in planned]
        async with trio.open_nursery() as nursery:
            for pod in pods:
                if not pod.begun:
                    nursery.start_soon(pod.start, self._nursery, files, self._held)
        await self._until(lambda: all(pod.decided for pod in pods))
        if reason := _failures(pods):
            raise DeployFailed(reason)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            await self._something.wait()

    def _conclude(self, state: ZonePhase, reason: str = "") -> None:
        self.state.state, self.state.reason = state, reason
        self._notice()

    def _notice_pod(self) -> None:
        """Notice that a pod has changed: once all have been started, the zone is up or has failed as they have."""
        if self._follows_pods and self.state.state in ("up", "failed"):
            pods = list(self._pods.values())
            if reason := _failures(pods):
                self.state.state, self.state.reason = "failed", reason
            elif all(pod.decided for pod in pods):
                self.state.state, self.state.reason = "up", ""
        self._notice()

    def _notice(self) -> None:
        self._something.set()
        self._something = trio.Event()

    async def _keep_spreading(self, files: NodeFiles) -> None:
        """Let nodes have what a command has changed in the CA's folder, such as who was revoked."""
        while True:
            await trio.sleep(_SPREAD_EVERY)
            try:
                if files.is_changed():
                    await trio.to_thread.run_sync(files.spread)
            except Exception as error:  # noqa: BLE001  # a full disk must not end a zone
                _log.exception("what is trusted could not be written for all nodes", error)


def _failures(pods: Sequence[Pod]) -> str:
    """Return which pods have failed, and why; empty if none has."""
    failed = [pod.state for pod in pods if pod.state.state == "failed"]
    return "\n".join(f"pod {state.name!r} failed: {state.reason}" for state in failed)


def _stays(pod: Pod, plan: Plan, deployment: Deployment) -> bool:
    """Whether a pod runs as the plan wants it to, or will."""
    wanted = next((each for each in plan.pods if each.name == pod.name), None)
    gone = pod.ending or pod.state.state == "failed"
    return wanted is not None and not gone and pod.fingerprint == fingerprint(wanted, deployment)


def _free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running_zone(place: ZonePlace, patience: Patience | None = None) -> AsyncGenerator[LocalZone]:
    """Be what runs the zone kept in a place, for as long as the block lasts; then stop all of it.

    Nothing runs until `LocalZone.apply`. Only one process at a time may do so: the caller sees to it.
    """
    place.make()
    patience = patience or Patience()
    held = os.open(place.processes_lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        outcome: BaseException | None = None
        async with trio.open_nursery() as nursery:
            zone = LocalZone(place, nursery, patience, held)
            try:
                yield zone
            except BaseException as error:  # noqa: BLE001  # kept, so that the nursery does not wrap it
                outcome = error
            with trio.CancelScope(shield=True):
                await zone.stop()
            nursery.cancel_scope.cancel()
        if outcome is not None:
            raise outcome
    finally:
        os.close(held)


@asynccontextmanager
async def open_processes(
    runners: Mapping[str, int],
    *,
    name: str = "local",
    cluster: str = "local",
    files: Path | None = None,
    program: Sequence[str] = RUNNER_PROGRAM,
    authority: Sequence[str] = AUTHORITY_PROGRAM,
    patience: Patience | None = None,
) -> AsyncGenerator[LocalZone]:
    """Open a zone of nodes that wait for work: ``{"runner": 4}`` makes ``runner-0`` to ``runner-3``.

    Each is a process of its own. All are ready when the block begins, and nothing is left of them when it has ended,
    however it ends.

    Args:
        runners: How many nodes of each name.
        name: The zone's name.
        cluster: The first part of the nodes' full names.
        files: A folder that each node gets a copy of, to run in.
        program: What each node runs.
        authority: What the node runs that keeps the directory.
        patience: How long things may take.

    Raises:
        TypeError, ValueError: A name or a number that cannot be, or no runners at all.
        DeployFailed: A node did not start; the text says why.
    """
    check_runners(runners)
    if problem := zone_name_problem(name):
        raise ValueError(problem)
    if files is not None and not files.is_dir():  # noqa: ASYNC240  # one look, before anything runs
        raise ValueError(f"files must be a folder, and {str(files)!r} is none")
    pods = tuple(PodSpec(each, (ContainerSpec(each, "files"),), clones=count) for each, count in runners.items())
    with tempfile.TemporaryDirectory(prefix="autonomy-zone-", ignore_cleanup_errors=True) as folder:
        place = ZonePlace(Path(folder) / name)
        place.make()
        source = Path(folder) / "empty"
        source.mkdir()
        kept = await trio.to_thread.run_sync(keep_image, files or source, place.images)
        recipe = Recipe((CopyRule((".",), "/", into=True),), (), "/", tuple(program))
        deployment = Deployment(
            ZoneSpec(name, pods),
            cluster,
            secrets.token_hex(8),
            {"files": KeptImage(kept.name, recipe)},
            tuple(authority),
        )
        async with running_zone(place, patience) as zone:
            await zone.apply(deployment)
            yield zone


def check_runners(runners: Mapping[str, int]) -> None:
    """Complain about names of runners, or numbers of them, that cannot be."""
    example = 'runners must name how many nodes there are of each name, such as {"runner": 4}'
    if not isinstance(runners, Mapping):
        raise TypeError(f"{example}, got {type(runners).__name__}: {runners!r:.80}")
    if not runners:
        raise ValueError(f"{example}, got none")
    for each, count in runners.items():
        if not isinstance(each, str):
            raise TypeError(f"{example}, got the name {each!r:.80}")
        if problem := pod_name_problem(each):
            raise ValueError(problem)
        if check_count(count, f"the number of {each!r}") > MAX_CLONES:
            raise ValueError(f"the number of {each!r} must be at most {MAX_CLONES}, got {count}")
