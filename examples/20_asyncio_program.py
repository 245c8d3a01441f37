"""A node inside an asyncio program: `autonomy.aio` has the same names for it."""

import asyncio

from autonomy import Context, WorkerFailed, aio


class Oven:
    """Bakes one thing at a time. What it awaits may be asyncio's."""

    def __init__(self) -> None:
        self.baked = 0

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "snowball":
            raise ValueError("it melts")
        await asyncio.sleep(0.05)
        self.baked += 1
        await context.reply(f"{message} is number {self.baked}")

    async def on_stop(self, context: Context) -> None:
        print("the oven is off")


async def main() -> None:
    async with aio.open_node() as node:
        await node.start_worker("oven", Oven())

        async with asyncio.TaskGroup() as tasks:
            bread = tasks.create_task(node.send_and_receive("oven", "bread", timeout=5))
            cake = tasks.create_task(node.send_and_receive("oven", "cake", timeout=5))
        print(bread.result())
        print(cake.result())

        try:
            await node.send_and_receive("oven", "snowball", timeout=5)
        except WorkerFailed as error:
            print("failed:", error.remote_message)
    print("the node has ended")


asyncio.run(main())

# prints:
#   bread is number 1
#   cake is number 2
#   failed: it melts
#   the oven is off
#   the node has ended
