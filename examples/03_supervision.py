"""A worker that fails: its caller is told at once, and supervision says what becomes of the worker."""

from autonomy import Backoff, Context, Node, NoReply, Restart


class Total:
    """Adds up numbers, and fails at what is none."""

    def __init__(self) -> None:
        self.total = 0

    async def handle_message(self, context: Context, message: str) -> None:
        if not message.isdigit():
            raise ValueError(f"{message} is no number")
        self.total += int(message)
        await context.reply(f"total {self.total}")


async def ask(node: Node, name: str, *messages: str) -> None:
    for message in messages:
        try:
            print(f"  {message}:", await node.send_and_receive(name, message, timeout=5))
        except NoReply as error:
            print(f"  {message}: {type(error).__name__}: {error}")


async def main(node: Node) -> None:
    print("Resume, the default: the message fails, the worker goes on with its state.")
    await node.start_worker("resumed", Total())
    await ask(node, "resumed", "40", "two", "2")

    print("Restart: a fresh object takes the failed one's place. It gets the class, not an object.")
    await node.start_worker("renewed", Total, supervision=Restart())
    await ask(node, "renewed", "40", "two", "2")

    print("Restart, once in 10 s at most: at the next failure the worker stops. The node stays up.")
    once = Restart(max_restarts=1, within=10, backoff=Backoff(0))
    await node.start_worker("limited", Total, supervision=once)
    async with node.watch("limited") as watch:
        await ask(node, "limited", "one", "two")
        print("  gone:", (await watch.down()).reason)
    await ask(node, "limited", "3")


Node.start(main)

# prints:
#   Resume, the default: the message fails, the worker goes on with its state.
#     40: total 40
#     two: WorkerFailed: no reply from 'resumed@node' before timeout=5s: the worker raised ValueError: two is no number
#     2: total 42
#   Restart: a fresh object takes the failed one's place. It gets the class, not an object.
#     40: total 40
#     two: WorkerFailed: no reply from 'renewed@node' before timeout=5s: the worker raised ValueError: two is no number
#     2: total 2
#   Restart, once in 10 s at most: at the next failure the worker stops. The node stays up.
#     one: WorkerFailed: no reply from 'limited@node' before timeout=5s: the worker raised ValueError: one is no number
#     two: WorkerFailed: no reply from 'limited@node' before timeout=5s: the worker raised ValueError: two is no number
#     gone: restart limit reached: more than 1 restarts within 10 s; last failure: ValueError: two is no number
#     3: WorkerNotFound: no reply from 'limited@node' before timeout=5s: no worker 'limited' on node 'node'
