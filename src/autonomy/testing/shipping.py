"""Workers that programs ship: their modules are in reach while they are packed, and while they are made there."""

from __future__ import annotations

from typing import Any

from .._sansio.shipment import CodePolicy
from .._zone import remote, taking
from .._zone.packing import pack
from .._zone.unpacking import unpack
from .processes import process


def stand_ins() -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there."""
    return [(remote, "pack", _pack), (taking, "unpack", _unpack)]


def _pack(worker: object) -> bytes:
    own = process.get()
    if own is None:
        return pack(worker)
    with own.modules.in_reach():
        return pack(worker)


def _unpack(shipment: bytes, policy: CodePolicy) -> Any:
    own = process.get()
    if own is None:
        return unpack(shipment, policy)
    with own.modules.in_reach():
        return unpack(shipment, policy)
