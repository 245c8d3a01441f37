"""Handlers, hooks and `main` may await asyncio things: what is written for asyncio works in them as it is."""

import asyncio
import statistics

import trio

from autonomy import Context, Node

DELAYS = {"harbour": 0.02, "hill": 0.01, "moon": 3600.0}


async def measure(place: str) -> float:
    """Stands for a call of a library that is written for asyncio."""
    await asyncio.sleep(DELAYS[place])
    return float(len(place))


class Weather:
    """Measures at several places at once, and gives them 0.2 s together."""

    async def on_start(self, context: Context) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.log = asyncio.create_task(self.keep_log())  # cancelled when the worker ends

    async def keep_log(self) -> None:
        while True:
            print("asked for:", await self.asked.get())

    async def handle_message(self, context: Context, message: str) -> None:
        await self.asked.put(message)
        try:
            async with asyncio.timeout(0.2):
                figures = await asyncio.gather(*(measure(place) for place in message.split()))
        except TimeoutError:
            await context.reply("no figures in time")
        else:
            await context.reply(f"{await asyncio.to_thread(statistics.fmean, figures)} degrees")


async def main(node: Node) -> None:
    await node.start_worker("weather", Weather())
    asked = (node.send_and_receive("weather", places, timeout=5) for places in ("harbour hill", "hill moon"))
    for answer in await asyncio.gather(*asked):
        print("answer:", answer)

    with trio.move_on_after(0.1) as scope:  # Trio's own things go on working, around asyncio's too
        await measure("moon")
    print("gave up on the moon:", scope.cancelled_caught)


Node.start(main)

# prints:
#   asked for: harbour hill
#   asked for: hill moon
#   answer: 5.5 degrees
#   answer: no figures in time
#   gave up on the moon: True
