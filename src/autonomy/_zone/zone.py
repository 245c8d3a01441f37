"""The nodes of a zone, as programs look for them.

A node that is in no zone is the only one it sees.
"""

from __future__ import annotations

from typing import Any

from .._mixed.worlds import pause
from ..abc import NodeRef
from .remote import View


class Zone:
    """Finds nodes, from the point of view of one of them."""

    @staticmethod
    async def nodes(node: NodeRef, filter: str | None = None) -> list[NodeRef]:
        """Return the live nodes of the zone, sorted by name, this one included.

        What is returned is what this node knows; nobody is asked. A node that was lost is in it for at most 10 s.

        Args:
            node: The node that looks.
            filter: Only nodes whose pod's, container's or short name contains this text; case matters. Cluster and zone
                are not looked at.

        Raises:
            TypeError: `filter` is neither a str nor None.
        """
        if filter is not None and not isinstance(filter, str):
            raise TypeError(
                f"filter must be a part of a node's short name, or None, got {type(filter).__name__}: {filter!r:.80}"
            )
        await pause()
        return _neighbours(node, filter)

    @staticmethod
    async def node(node: NodeRef, short_name: str) -> NodeRef | None:
        """Return the live node of the zone that has this short name, or None."""
        if not isinstance(short_name, str):
            raise TypeError(f"short_name must be a str, got {type(short_name).__name__}: {short_name!r:.80}")
        await pause()
        return next((each for each in _neighbours(node, None) if each.short_name == short_name), None)


def _neighbours(node: Any, filter: str | None) -> list[NodeRef]:
    """Return the nodes that a node sees; of a `RemoteNode`, those of the node that looks at it."""
    view: View | None = getattr(node, "_view", None)
    if view is None:
        raise TypeError(f"node must be a node, such as the one that main is given, got {node!r:.80}")
    return view.neighbours(filter)
