"""Where the zones of this machine are kept: ``$AUTONOMY_HOME/zones/NAME``, one folder a zone, for this user alone.

Three locks, all of the kernel, so that none outlives its holder: ``locks/NAME`` is held by a command at work,
``supervisor.lock`` by the zone's supervisor, ``processes.lock`` by the supervisor and the guard of every container, so
that it is free only when nothing of the zone runs any more.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from ..errors import DeployFailed
from ..identity.private_files import make_private_folder

_LOOK_EVERY = 0.05


def autonomy_home(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that ``AUTONOMY_HOME`` names, else ``.autonomy`` in the user's home."""
    named = variables.get("AUTONOMY_HOME")
    return Path(named).absolute() if named else Path.home() / ".autonomy"


class ZonePlace:
    """The files of one zone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted = folder / "wanted.json"
        self.state = folder / "state.json"
        self.logs = folder / "logs"
        self.ca = folder / "ca"
        self.credentials = folder / "credentials"
        self.images = folder / "images"
        self.containers = folder / "containers"
        self.nodes = folder / "nodes"
        self.supervisor_lock = folder / "supervisor.lock"
        self.supervisor_log = folder / "supervisor.log"
        self.processes_lock = folder / "processes.lock"

    @classmethod
    def of(cls, home: Path, zone: str) -> ZonePlace:
        """Return the place of a zone below `home`."""
        return cls(home / "zones" / zone)

    def make(self) -> None:
        """Make the folders that are not there, for this user alone."""
        for folder in (self.folder, self.logs, self.credentials, self.images, self.containers, self.nodes):
            make_private_folder(folder)

    def log_of(self, short_name: str) -> Path:
        """Return the log file of a node."""
        return self.logs / f"{short_name}.log"

    def node_file_of(self, short_name: str) -> Path:
        """Return the file that tells a node who it is."""
        return self.nodes / f"{short_name}.json"

    def ready_file_of(self, short_name: str) -> Path:
        """Return the file that a node makes when it is ready."""
        return self.nodes / f"{short_name}.ready"

    @property
    def supervised(self) -> bool:
        """Whether the zone has a supervisor."""
        return is_locked(self.supervisor_lock)

    @property
    def running(self) -> bool:
        """Whether any process of the zone is there."""
        return is_locked(self.processes_lock)


def try_lock(path: Path) -> int | None:
    """Lock a file, and return what holds the lock until it is closed; None if somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Not LOCK_SH: guards hold theirs shared.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def wait_for_lock(path: Path, seconds: float) -> int | None:
    """Lock a file, as `try_lock`, and try again for so long."""
    with trio.move_on_after(seconds):
        while True:
            descriptor = try_lock(path)
            if descriptor is not None:
                return descriptor
            await trio.sleep(_LOOK_EVERY)
    return None


@asynccontextmanager
async def command_lock(home: Path, zone: str, seconds: float) -> AsyncGenerator[None]:
    """Be the one command that works on a zone.

    Raises:
        DeployFailed: Another one was at work for all this time.
        IdentityError: Others may enter the folders of zones.
    """
    make_private_folder(home / "locks")
    make_private_folder(home / "zones")
    descriptor = await wait_for_lock(home / "locks" / zone, seconds)
    if descriptor is None:
        raise DeployFailed(f"another command has been at work on zone {zone!r} for {seconds:g} s. Try again later.")
    try:
        yield
    finally:
        os.close(descriptor)
