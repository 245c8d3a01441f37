"""Several nodes inside one Trio program. They share nothing, and do not see each other."""

import trio

from autonomy import Context, Unreachable, open_node


class Notebook:
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.notes.append(message)
        await context.reply(f"{context.name}@{context.node.name} has {', '.join(self.notes)}")


async def main() -> None:
    async with open_node("left") as left, open_node("right") as right:
        await left.start_worker("notebook", Notebook())
        await right.start_worker("notebook", Notebook())  # the same name, elsewhere

        print(await left.send_and_receive("notebook", "apples", timeout=1))
        print(await right.send_and_receive("notebook", "pears", timeout=1))
        print(await left.send_and_receive("notebook@left", "plums", timeout=1))

        try:
            await left.send_message("notebook@right", "cherries")
        except Unreachable as error:
            print(error)


trio.run(main)

# prints:
#   notebook@left has apples
#   notebook@right has pears
#   notebook@left has apples, plums
#   node 'right' is not known to node 'left'
