"""The authorities that are kept on this machine: ``$AUTONOMY_HOME/authorities/ZONE``, or any folder.

Such a folder is that of a `ZoneAuthority`, with three files more: ``settings.json``, which people may change;
``running.json`` and ``nodes.json``, which the running authority alone writes. ``running.lock`` is held while it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from .._sansio.directory_url import check_shared
from .._sansio.enrollment import SHORT_NAME
from .._sansio.followers import Follower
from .._sansio.members import prefix_of
from .._sansio.rights import Rights
from .._sansio.shipment import CodePolicy
from .._sansio.spec import zone_name_problem
from ..errors import DeployFailed
from ..identity import ZoneAuthority
from ..identity.private_files import write_private
from .home import is_locked
from .state import read_json

EMBEDDED: Final = "embedded"
"""The authority's own node keeps the directory."""
_ABOUT: Final = (
    "What nodes of this zone are told when they join. directory: 'embedded' for one that the authority's node keeps, "
    "or a URL. rights: which nodes may message, manage and ship to which, by patterns of short names. code: what they "
    "take of those that may ship: never, import (classes that they have themselves) or source (any code: it runs with "
    "all rights of the node). As it is made, nobody ships and nobody manages; widen it for the nodes that need it."
)


class ZoneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the nodes of a zone are told when they join.

    Attributes:
        about: For people who read the file.
        zone: The zone's name.
        cluster: The cluster's name.
        directory: ``"embedded"``, or a URL.
        rights: What nodes let each other do.
        code: Which code they take from those that may ship.
    """

    about: str = _ABOUT
    zone: str
    cluster: str
    directory: str = EMBEDDED
    rights: Rights = Rights()
    code: CodePolicy = CodePolicy("import")

    def name_of(self, short_name: str) -> str:
        """Return the full name of a node."""
        return prefix_of(self.cluster, self.zone) + short_name


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Where an authority runs.

    Attributes:
        pid: Its process.
        address: Where nodes reach it, ``wss://HOST:PORT``.
        enroll: Where machines with a ticket reach it, ``HOST:PORT``.
    """

    pid: int
    address: str
    enroll: str


class AuthorityFolder:
    """The files of one zone's authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings_file = folder / "settings.json"
        self.running_file = folder / "running.json"
        self.nodes_file = folder / "nodes.json"
        self.running_lock = folder / "running.lock"

    def __repr__(self) -> str:
        return f"<AuthorityFolder {str(self.folder)!r}>"

    @classmethod
    def of(cls, home: Path, zone: str) -> AuthorityFolder:
        """Return the place of a zone's authority below `home`."""
        return cls(home / "authorities" / zone)

    @classmethod
    def create(
        cls, folder: Path, zone: str, *, cluster: str, directory: str = EMBEDDED, passphrase: bytes | None = None
    ) -> AuthorityFolder:
        """Make a zone: its CA, and its settings.

        Raises:
            ValueError: No zone or cluster can have that name, or no directory is at such a URL.
            IdentityError: There is a zone in that folder already, or others may enter it. Nothing was changed.
        """
        if problem := zone_name_problem(zone):
            raise ValueError(problem)
        if problem := zone_name_problem(cluster):
            raise ValueError(problem.replace("zone", "cluster", 1))
        if directory != EMBEDDED:
            check_shared(directory)
        place = cls(folder)
        ZoneAuthority.create(folder, zone, passphrase=passphrase)
        place.write(place.settings_file, ZoneSettings(zone=zone, cluster=cluster, directory=directory))
        return place

    @property
    def is_there(self) -> bool:
        """Whether there is a zone."""
        return self.settings_file.exists()

    @property
    def settings(self) -> ZoneSettings:
        """What nodes are told.

        Raises:
            DeployFailed: The file says what cannot be.
        """
        settings = read_json(self.settings_file, ZoneSettings)
        if settings is None:
            raise DeployFailed(f"there is no zone in {str(self.folder)!r}: 'autonomy zone init' makes one")
        try:
            if settings.directory != EMBEDDED:
                check_shared(settings.directory)
        except ValueError as error:
            raise DeployFailed(f"{str(self.settings_file)!r}: {error}") from None
        return settings

    @property
    def running(self) -> Running | None:
        """Where the authority runs; None if it does not."""
        return self.last_running if is_locked(self.running_lock) else None

    @property
    def last_running(self) -> Running | None:
        """Where it ran last."""
        return read_json(self.running_file, Running)

    @property
    def followers(self) -> list[Follower]:
        """What is known of the nodes; none is linked to an authority that does not run."""
        found = read_json(self.nodes_file, list[Follower]) or []
        if self.running is not None:
            return found
        return [msgspec.structs.replace(each, is_linked=False) for each in found]

    @property
    def authority_name(self) -> str:
        """Full name of the authority's node."""
        return self.settings.name_of(SHORT_NAME)

    @staticmethod
    def write(path: Path, value: object) -> None:
        """Write one of the files."""
        write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

    def passphrase(self) -> bytes | None:
        """Return what the CA's key is encrypted with, from the file that AUTONOMY_CA_PASSPHRASE_FILE names, if any."""
        named = os.environ.get("AUTONOMY_CA_PASSPHRASE_FILE")
        return Path(named).read_bytes().strip() if named else None

    def open(self) -> ZoneAuthority:
        """Return the CA."""
        return ZoneAuthority(self.folder, passphrase=self.passphrase())
