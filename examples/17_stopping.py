"""The end in good order: what is queued is finished, then workers stop, the last one started first."""

import trio

from autonomy import Context, Node


class Clerk:
    """Takes a moment for each letter, and closes its book at the end."""

    async def on_start(self, context: Context) -> None:
        print(context.name, "opens the book")

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(0.05)
        print(context.name, "files", message)

    async def on_stop(self, context: Context) -> None:
        print(context.name, "closes the book")


async def main(node: Node) -> None:
    await node.start_worker("archive", Clerk())
    await node.start_worker("desk", Clerk())
    for letter in ("one", "two", "three"):
        await node.send_message("desk", letter)
    print("main returns")


Node.start(main, drain_timeout=5)
print("the node has ended")

# prints:
#   archive opens the book
#   desk opens the book
#   main returns
#   desk files one
#   desk files two
#   desk files three
#   desk closes the book
#   archive closes the book
#   the node has ended
