"""A node that was deployed: what its file says, as options of a node, and the credentials that are renewed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from .. import logs
from .._sansio.node_file import NodeFile
from ..directory import EmbeddedDirectory, directory_at
from ..errors import IdentityError
from ..identity import Credentials

_log = logs.get_logger("identity")
_LOOK_EVERY: Final = 0.25
"""Seconds between looks at the credentials: what was revoked is cut off that soon."""


class DeployedNode:
    """A node as whoever deployed it wants it.

    Args:
        path: Of its file.
        listen: Where it listens, if that is not for the file to know: the address of a pod, for instance.
        address: Where others reach it, likewise.

    Raises:
        ValueError: The file cannot be read, or says what cannot be.
        IdentityError: Its credentials cannot be used.
    """

    def __init__(self, path: str, *, listen: str | None = None, address: str | None = None) -> None:
        try:
            file = msgspec.json.decode(Path(path).read_bytes(), type=NodeFile)
            changed = {"listen": listen or file.listen, "address": address or file.address}
            self.file = msgspec.structs.replace(file, **changed)
            self.options = self._options()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ValueError(f"environment variable AUTONOMY_NODE_FILE: {path}: {error}") from None

    def _options(self) -> dict[str, Any]:
        """Return what `open_node` is told."""
        file = self.file
        self._seen = _seen(Path(file.credentials))
        self._credentials = Credentials.load(file.credentials, revocation=file.revocation)
        return {
            "credentials": self._credentials,
            "listen": file.listen,
            "zone": file.zone_info,
            "directory": directory_at(file.directory)
            if isinstance(file.directory, str)
            else EmbeddedDirectory(file.directory.node, file.directory.address),
            "rights": file.rights,
            "code": file.code,
        }

    def tell_ready(self, incarnation: str) -> None:
        """Say, to whoever deployed the node, that its names are complete."""
        if self.file.ready is not None:
            made = Path(self.file.ready).with_suffix(".new")
            made.write_text(incarnation)
            made.replace(self.file.ready)

    async def keep_current(self) -> None:
        """Use the credentials that are written in place of those before, and heed what is revoked."""
        folder = Path(self.file.credentials)
        seen = self._seen
        while True:
            await trio.sleep(_LOOK_EVERY)
            try:
                now = _seen(folder)
                if now != seen:
                    self._credentials.reload(folder)
                    seen = now
                    _log.info("credentials renewed", node=self.file.name)
            except (IdentityError, OSError) as error:  # half of it may be written yet: look again
                _log.warning("new credentials cannot be used yet", node=self.file.name, reason=error)


def _seen(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a file of a folder is written anew."""
    found = ((each.name, each.stat()) for each in sorted(folder.iterdir()))
    return [(name, stat.st_ino, stat.st_mtime_ns) for name, stat in found]
