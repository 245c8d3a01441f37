"""Learn of a worker's end: one `Down` a watch, also if there was no such worker."""

from autonomy import Context, Node, Restart, Stop


class Fragile:
    async def handle_message(self, context: Context, message: str) -> None:
        raise ValueError(message)


async def main(node: Node) -> None:
    await node.start_worker("one", Fragile())
    async with node.watch("one") as watch:
        await node.stop_worker("one")
        print((await watch.down()).reason)

    await node.start_worker("two", Fragile(), supervision=Stop())
    async with node.watch("two") as watch:
        await node.send_message("two", "out of paper")
        print((await watch.down()).reason)

    await node.start_worker("three", Fragile, supervision=Restart(max_restarts=1, within=10))
    async with node.watch("three") as watch:
        await node.send_message("three", "once")  # restarted: that is no end
        await node.send_message("three", "twice")
        print((await watch.down()).reason)

    async with node.watch("four") as watch:
        down = await watch.down()
        print(down.name, down.reason)


Node.start(main)

# prints:
#   stopped
#   failed: ValueError: out of paper
#   restart limit reached: more than 1 restarts within 10 s; last failure: ValueError: twice
#   four@node not found
