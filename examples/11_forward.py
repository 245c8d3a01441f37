"""A worker that hands requests on; the time limit that travels with them; and requests that would bite their tail."""

import trio

from autonomy import CallCycle, Context, Node


class Router:
    """Forwards to the worker that the first word names. The reply goes to whoever asked the router."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.forward(message.partition(" ")[0])


class Shout:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{message.upper()}! (passed on by {context.sender.partition('@')[0]})")


class Patient:
    """Would give the clock 60 s, but its own caller waits for 2 s at most."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(await context.send_and_receive("clock", "how long?", timeout=60))


class Clock:
    async def handle_message(self, context: Context, message: str) -> None:
        left = context.deadline - trio.current_time()
        await context.reply(f"less than 2 s left: {left < 2}")


class Caller:
    """Asks the worker that it is named for, which asks it back."""

    async def handle_message(self, context: Context, message: str) -> None:
        other = {"ping": "pong", "pong": "ping"}[context.name]
        try:
            await context.reply(await context.send_and_receive(other, message, timeout=10))
        except CallCycle as error:
            await context.reply(f"{context.name}: {str(error).partition(': ')[2]}")


async def main(node: Node) -> None:
    workers = {"router": Router(), "shout": Shout(), "patient": Patient(), "clock": Clock()}
    for name, worker in {**workers, "ping": Caller(), "pong": Caller()}.items():
        await node.start_worker(name, worker)

    print(await node.send_and_receive("router", "shout hello", timeout=2))
    print(await node.send_and_receive("patient", "ask", timeout=2))
    print(await node.send_and_receive("ping", "ball", timeout=2))


Node.start(main)

# prints:
#   SHOUT HELLO! (passed on by router)
#   less than 2 s left: True
#   pong: it waits for this very request itself, through ping@node → pong@node → ping@node
