"""Has words counted, wherever in the zone that is done, and says who is there."""

from __future__ import annotations

from autonomy import Node, Zone


async def main(node: Node) -> None:
    print(await node.send_and_receive("words", "to be or not to be", timeout=30))
    print(*[each.name for each in await Zone.nodes(node)])


Node.start(main)
