"""Workers keep state between messages, each its own."""

from autonomy import Context, Node


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "increment":
            self.count += 1
        await context.reply(f"Count: {self.count}")


async def main(node: Node) -> None:
    await node.start_worker("visitors", Counter())
    await node.start_worker("orders", Counter())

    for _ in range(3):
        print("visitors", await node.send_and_receive("visitors", "increment", timeout=10))
    print("orders", await node.send_and_receive("orders", "increment", timeout=10))

    for worker in await node.list_workers():
        print(worker, "has handled", worker["handled"])


Node.start(main)

# prints:
#   visitors Count: 1
#   visitors Count: 2
#   visitors Count: 3
#   orders Count: 1
#   orders has handled 1
#   visitors has handled 3
