"""One worker, one question, one answer."""

from autonomy import Context, Node


class Greeter:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"Hello, {message}!")


async def main(node: Node) -> None:
    await node.start_worker("greeter", Greeter())
    print(await node.send_and_receive("greeter", "Alice", timeout=10))


Node.start(main)

# prints:
#   Hello, Alice!
