"""A worker may keep its context, and reply after its handler has returned."""

from autonomy import Context, DeadlineExceeded, Node, gather


class Table:
    """Seats three guests at a time: the first two wait for the third."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Context]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.waiting.append((message, context))
        if len(self.waiting) == 3:
            company = ", ".join(sorted(name for name, _ in self.waiting))
            for _, guest in self.waiting:
                await guest.reply(f"seated: {company}")
            self.waiting.clear()


async def main(node: Node) -> None:
    await node.start_worker("table", Table())

    async def arrive(name: str) -> str:
        return f"{name} is " + await node.send_and_receive("table", name, timeout=5)

    for line in await gather(arrive("Ann"), arrive("Bob"), arrive("Cem")):
        print(line)

    try:
        await node.send_and_receive("table", "Dee", timeout=0.1)
    except DeadlineExceeded as error:
        print(error)


Node.start(main)

# prints:
#   Ann is seated: Ann, Bob, Cem
#   Bob is seated: Ann, Bob, Cem
#   Cem is seated: Ann, Bob, Cem
#   no reply from 'table@node' before timeout=0.1s: the worker has begun to handle the message, and may yet end
