"""The nodes of a zone, as programs look for them.

A node that is in no zone is the only one it sees. The zone itself, its directory and its far nodes have yet to come;
programs written for them run on one node already.
"""

from __future__ import annotations

from .._mixed.worlds import pause
from ..abc import NodeRef


class Zone:
    """Finds nodes, from the point of view of one of them."""

    @staticmethod
    async def nodes(node: NodeRef, filter: str | None = None) -> list[NodeRef]:
        """Return the live nodes of the zone, sorted by name, this one included.

        Args:
            node: The node that looks.
            filter: Only nodes whose short name contains this text; case matters. Cluster and zone are not looked at.

        Raises:
            TypeError: `filter` is neither a str nor None.
        """
        if filter is not None and not isinstance(filter, str):
            raise TypeError(
                f"filter must be a part of a node's short name, or None, got {type(filter).__name__}: {filter!r:.80}"
            )
        await pause()
        return [node] if filter is None or filter in node.short_name else []

    @staticmethod
    async def node(node: NodeRef, short_name: str) -> NodeRef | None:
        """Return the live node of the zone that has this short name, or None."""
        if not isinstance(short_name, str):
            raise TypeError(f"short_name must be a str, got {type(short_name).__name__}: {short_name!r:.80}")
        await pause()
        return node if node.short_name == short_name else None
