"""One message, many replies: they arrive in a Mailbox, in order."""

import trio

from autonomy import Context, DeadlineExceeded, Node


class Search:
    async def handle_message(self, context: Context, message: str) -> None:
        for number in range(1, 4):
            await trio.sleep(0.01)
            await context.reply(f"hit {number} for {message!r}")
        await context.reply("end")


class Logbook:
    """Sends to whatever address it is told; it knows nothing of mailboxes."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.send_message(message, f"written by {context.name}")


async def main(node: Node) -> None:
    await node.start_worker("search", Search())
    await node.start_worker("logbook", Logbook())

    async with await node.send("search", "needle") as mailbox:
        async for reply in mailbox:
            if reply == "end":
                break
            print(reply)

    async with await node.create_mailbox("desk") as mailbox:
        await node.send_message("logbook", mailbox.address)
        print(await mailbox.receive(timeout=1))
        try:
            await mailbox.receive(timeout=0.05)
        except DeadlineExceeded:
            print("nothing more came")


Node.start(main)

# prints:
#   hit 1 for 'needle'
#   hit 2 for 'needle'
#   hit 3 for 'needle'
#   written by logbook
#   nothing more came
