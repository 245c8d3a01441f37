"""Code that blocks belongs in a plain `def` handler: it runs in a thread, and the node goes on."""

import threading
import time

from autonomy import Context, Node, ThreadContext, gather


class Blocking:
    """A handler without `async`. Its context has plain methods too: no `await` here."""

    def handle_message(self, context: ThreadContext, message: str) -> None:
        time.sleep(0.2)  # a database driver, a long computation, a file
        where = "the main thread" if threading.current_thread() is threading.main_thread() else "a thread"
        context.reply(f"{message} done in {where}")


class Quick:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{message} done")


async def main(node: Node) -> None:
    await node.start_worker("blocking", Blocking())
    await node.start_worker("quick", Quick())

    async def ask(name: str, message: str) -> None:
        print(await node.send_and_receive(name, message, timeout=10))

    await gather(
        ask("blocking", "long job"),
        ask("quick", "short job"),
    )


Node.start(main)

# prints:
#   short job done
#   long job done in a thread
