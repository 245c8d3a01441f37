"""What commands do with the zones of this machine: deploy, delete, list.

The rule of this file: one command at a time works on a zone, and a command that is cut short leaves what the next one
can go on from. All of it is in `home.py`'s folders; a supervisor that was killed is noticed by the lock that it no
longer holds.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from .._sansio.spec import ZoneSpec, zone_name_problem
from ..errors import DeployFailed, ZoneFileError
from .containers import read_tail
from .home import ZonePlace, autonomy_home, command_lock, wait_for_lock
from .images import keep_image
from .local import AUTHORITY_PROGRAM
from .node_files import inheritable
from .state import Deployment, KeptImage, Wanted, ZoneState, read_json, write_json
from .supervisor import UP
from .zone_file import ZONE_FILE, ZoneFolder, read_zone_file, read_zone_folder

_LOOK_EVERY = 0.05
_BUSY = 120.0
"""Seconds to wait for another command."""
_TRIES = 3
_END = sys.maxsize
"""The generation that comes after all others."""
_STOPPING = 45.0
"""Seconds for a supervisor to stop its zone."""

# A process that nobody here is the parent of: it can become nobody's zombie.
_DETACH = "import os, sys; os.fork() and os._exit(0); os.execv(sys.argv[1], sys.argv[1:])"


async def deploy_zone(
    folder: Path,
    *,
    home: Path | None = None,
    cluster: str = "local",
    authority: Sequence[str] = AUTHORITY_PROGRAM,
    told: Callable[[ZoneState], None] | None = None,
    noted: Callable[[str], object] | None = None,
) -> ZoneState:
    """Run the zone that a folder describes, or change the one that runs into it; return when all of it is up.

    It goes on running when this program has ended, until `delete_zone`.

    Args:
        folder: Holds ``autonomy.yaml`` and ``images``.
        home: Where zones are kept; by default what ``AUTONOMY_HOME`` says.
        cluster: The first part of the nodes' full names. A zone that runs keeps its own.
        authority: What the node runs that keeps the directory.
        told: Is called with what has become of the zone, each time that it has changed.
        noted: Is called with a sentence if the zone that runs has moved: it was deployed from a folder that is gone, or
            has no zone of that name any more.

    Raises:
        ZoneFileError: Something in the folder is not as it must be. Nothing was changed.
        ValueError: A zone of that name runs that was deployed from another folder, which still has it. Nothing was
            changed.
        DeployFailed: Not all of it is up; the text says what is not, and why. The rest runs.

    Cancelling leaves the zone as far as it is.
    """
    wanted = await trio.to_thread.run_sync(read_zone_folder, folder)
    home = home or autonomy_home()
    place = ZonePlace.of(home, wanted.spec.name)
    async with command_lock(home, wanted.spec.name, _BUSY):
        moved = await trio.to_thread.run_sync(_check_folder, wanted, place)
        if moved and noted is not None:
            noted(moved)
        for _ in range(_TRIES):
            state = await _deploy(wanted, place, cluster, tuple(authority), told)
            if state is not None:
                break
        else:
            raise DeployFailed(f"the supervisor of the zone ends again and again{read_tail(place.supervisor_log)}")
    if state.state == "failed":
        raise DeployFailed(state.reason)
    return state


async def delete_zone(name: str, *, home: Path | None = None) -> bool:
    """Stop a zone and remove all that is kept of it, logs too; return whether there was one.

    Raises:
        ValueError: No zone can have that name.
        DeployFailed: Processes of it are still there.
    """
    if problem := zone_name_problem(name):
        raise ValueError(problem)
    home = home or autonomy_home()
    place = ZonePlace.of(home, name)
    if not home.exists():
        return False
    async with command_lock(home, name, _BUSY):
        if not place.folder.exists():
            return False
        if place.supervised:
            write_json(place.wanted, Wanted(_END, None))
            descriptor = await wait_for_lock(place.supervisor_lock, _STOPPING)
            if descriptor is None:
                raise DeployFailed(
                    f"the supervisor of zone {name!r} has not ended in {_STOPPING:g} s{read_tail(place.supervisor_log)}"
                )
            os.close(descriptor)
        await _wait_gone(place, name)
        await trio.to_thread.run_sync(shutil.rmtree, place.folder)
    return True


def make_deployment(
    wanted: ZoneFolder, place: ZonePlace, *, cluster: str, id: str, authority: Sequence[str]
) -> Deployment:
    """Copy the images of a zone to its place; return what is to run there.

    Raises:
        DeployFailed: An image cannot be copied.
    """
    images = {
        name: KeptImage(keep_image(image.folder, place.images).name, image.recipe)
        for name, image in wanted.images.items()
    }
    return Deployment(wanted.spec, cluster, id, images, tuple(authority), str(wanted.folder.absolute()))


def zone_state(name: str, *, home: Path | None = None) -> ZoneState | None:
    """Return what has become of a zone, None if there is none.

    Of a zone whose supervisor is gone, all is stopped; `reason` says so.

    Raises:
        DeployFailed: Its state cannot be read.
    """
    place = ZonePlace.of(home or autonomy_home(), name)
    supervised = place.supervised
    state = read_json(place.state, ZoneState)
    if state is None or supervised or state.state == "stopped":
        return state
    state.state, state.supervisor = "stopped", None
    state.reason = "its supervisor was killed, and all its processes with it. Deploy it again, or delete it."
    for container in [each for pod in state.pods for each in pod.containers]:
        container.state, container.pid = "stopped", None
    for pod in state.pods:
        pod.update()
    return state


def list_zones(*, home: Path | None = None) -> list[ZoneState]:
    """Return what has become of each zone of this machine, by name; of one whose state cannot be read, why."""
    home = home or autonomy_home()
    names = sorted(each.name for each in (home / "zones").glob("*") if not zone_name_problem(each.name))
    return [state for state in (_state_or_why(name, home) for name in names) if state]


# ---- within


def _state_or_why(name: str, home: Path) -> ZoneState | None:
    try:
        return zone_state(name, home=home)
    except DeployFailed as error:
        return ZoneState(name, cluster="", state="failed", reason=str(error))


def _check_folder(wanted: ZoneFolder, place: ZonePlace) -> str:
    """Raise ValueError if the zone that runs is another folder's; return what to say if that folder has it no more."""
    before = read_json(place.wanted, Wanted) if place.supervised else None
    if before is None or before.deployment is None or not before.deployment.folder:
        return ""
    folder, name = Path(before.deployment.folder), wanted.spec.name
    if _is_same(folder, wanted.folder):
        return ""
    if not _has_zone(folder, name):
        return (
            f"zone {name!r} was deployed from {str(folder)!r}, where it is no more: it has moved, and goes on from here"
        )
    raise ValueError(
        f"a zone {name!r} runs already, deployed from {str(folder)!r}, and this is {str(wanted.folder.absolute())!r}: "
        f"end that one first ('autonomy zone delete --zone {name}'), or give this one another name"
    )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _has_zone(folder: Path, name: str) -> bool:
    """Whether a folder has a zone of that name, as far as can be told: a file that cannot be read may have it."""
    file = folder / ZONE_FILE
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        return read_zone_file(file).name == name
    except ZoneFileError:  # somebody is at work on it
        return True


async def _deploy(
    wanted: ZoneFolder,
    place: ZonePlace,
    cluster: str,
    authority: tuple[str, ...],
    told: Callable[[ZoneState], None] | None,
) -> ZoneState | None:
    """Return what has become of the zone; None if its supervisor was killed before it knew what was wanted."""
    if not place.supervised:
        await _clean(place, wanted.spec)
    place.make()
    before = read_json(place.wanted, Wanted)
    id = secrets.token_hex(8)
    if before and before.deployment:
        running = before.deployment
        cluster, id, authority = running.cluster, running.id, running.authority
    deployment = await trio.to_thread.run_sync(
        partial(make_deployment, wanted, place, cluster=cluster, id=id, authority=authority)
    )
    generation = before.generation + 1 if before else 1
    write_json(place.wanted, Wanted(generation, deployment))
    if not place.supervised:
        await _start_supervisor(place)
    state = await _outcome(place, generation, told)
    await trio.to_thread.run_sync(_drop_images, place, deployment)
    return state


async def _clean(place: ZonePlace, spec: ZoneSpec) -> None:
    """Remove what a supervisor has left that was killed, but for the logs."""
    if not place.folder.exists():
        return
    await _wait_gone(place, spec.name)
    for path in (place.wanted, place.state):
        path.unlink(missing_ok=True)
    for folder in (place.ca, place.credentials, place.images, place.containers, place.nodes):
        await trio.to_thread.run_sync(shutil.rmtree, folder, True)  # ignore_errors


async def _wait_gone(place: ZonePlace, name: str) -> None:
    """Wait until no process of a zone without supervisor is left: their guards are killing them."""
    with trio.move_on_after(10):
        while place.running:  # noqa: ASYNC110  # other processes hold the lock
            await trio.sleep(_LOOK_EVERY)
        return
    raise DeployFailed(f"processes of zone {name!r} are still there, 10 s after its supervisor has gone")


async def _start_supervisor(place: ZonePlace) -> None:
    with place.supervisor_log.open("ab") as log:
        begin = os.fstat(log.fileno()).st_size
        os.fchmod(log.fileno(), 0o600)
        supervisor = [sys.executable, "-P", "-m", "autonomy._deploy.supervisor", str(place.folder)]
        done = await trio.run_process(
            [sys.executable, "-I", "-S", "-c", _DETACH, *supervisor],
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            stderr=log,
            check=False,
            cwd="/",
            env=inheritable(os.environ),
            start_new_session=True,
        )
    if done.stdout != UP:
        raise DeployFailed(f"the supervisor of the zone did not start{read_tail(place.supervisor_log, begin)}")


async def _outcome(place: ZonePlace, generation: int, told: Callable[[ZoneState], None] | None) -> ZoneState | None:
    """Wait until the supervisor has done what was wanted; return what has become of it, None if it never began."""
    last: ZoneState | None = None
    while True:
        supervised = place.supervised
        state = read_json(place.state, ZoneState)
        if state and state.generation == generation:
            if told and state != last:
                told(state)
            last = state
            if state.state in ("up", "failed"):
                return state
        if not supervised and (state is None or state.generation < generation):
            return None
        if not supervised:
            raise DeployFailed(f"the supervisor of the zone has ended{read_tail(place.supervisor_log)}")
        await trio.sleep(_LOOK_EVERY)


def _drop_images(place: ZonePlace, deployment: Deployment) -> None:
    """Remove what the zone is no longer made from."""
    used = {image.folder for image in deployment.images.values()}
    for path in place.images.iterdir():
        if path.name not in used:
            shutil.rmtree(path, ignore_errors=True)
