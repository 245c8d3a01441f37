"""The runner: a node whose worker greets whoever writes to it."""

import trio

from autonomy import Context, Node, info


class Greeter:
    """Answers with a greeting, and counts."""

    def __init__(self) -> None:
        self.greeted = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self.greeted += 1
        info(f"heard {message!r} from {context.sender}")
        await trio.sleep(0.05)  # to think of an answer
        await context.reply(f"Hello, guest {self.greeted}! You said: {message}")


async def main(node: Node) -> None:
    await node.start_worker("greeter", Greeter())
    info("the greeter is here")


Node.start(main)
