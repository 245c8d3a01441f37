"""A worker that counts words, on whichever machine this program runs."""

from __future__ import annotations

from autonomy import Context, Node


class Words:
    """Counts the words of a text."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{len(message.split())} words, says {context.node.name}")


async def main(node: Node) -> None:
    await node.start_worker("words", Words())


Node.start(main)
