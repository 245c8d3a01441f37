"""A full mailbox makes its senders wait, for as long as they say, or tells them at once."""

import trio

from autonomy import Context, MailboxFull, Node


class Slow:
    def __init__(self) -> None:
        self.handled: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(0.16)
        self.handled.append(message)
        await context.reply(" ".join(self.handled))


async def main(node: Node) -> None:
    await node.start_worker("slow", Slow(), mailbox_capacity=2)

    node.send_nowait("slow", "a")
    node.send_nowait("slow", "b")
    try:
        node.send_nowait("slow", "c")
    except MailboxFull as error:
        print("c not sent:", error)

    await node.send_message("slow", "d")  # there is room as soon as the worker takes `a`
    print("d sent")

    try:
        await node.send_message("slow", "e", timeout=0.02)
    except MailboxFull as error:
        print("e not sent:", error)

    await node.send_message("slow", "f")  # waits up to 30 s, as no timeout is given
    print("f sent, after a wait")

    print("handled", await node.send_and_receive("slow", "g", timeout=10))


Node.start(main)

# prints:
#   c not sent: mailbox of 'slow' on node 'node' is full
#   d sent
#   e not sent: mailbox of 'slow' on node 'node' stayed full for 0.02 s
#   f sent, after a wait
#   handled a b d f g
