"""What other nodes ship: taken if they may and this node takes such code. Each yes or no is a line for security."""

from __future__ import annotations

from .. import logs
from .._sansio.options import NodeOptions
from .._sansio.rights import matches
from ..errors import CodeRefused
from .unpacking import unpack

_security = logs.get_logger("security")


def take(options: NodeOptions, shipment: bytes, asker: str) -> object:
    """Make a worker of what another node has shipped.

    Args:
        options: Of this node.
        shipment: What came.
        asker: Full name of the node that it came from, as its link proves it.

    Raises:
        CodeRefused: That node may not ship, or `unpack` refused it.
    """
    if not matches(options.rights.ship, asker.removeprefix(options.zone.prefix)):
        _security.warning("not allowed", peer=asker, right="ship")
        raise CodeRefused(f"node {asker!r} may not ship code to node {options.name!r}")
    try:
        accepted = unpack(shipment, options.code)
    except CodeRefused as error:
        _security.warning("code refused", peer=asker, reason=error)
        raise
    _security.info("code accepted", peer=asker, code=accepted.code, sha256=accepted.sha256, mode=accepted.mode)
    return accepted.worker
