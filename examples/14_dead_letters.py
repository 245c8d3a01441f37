"""Messages that were accepted and will not be handled are reported, never dropped in silence."""

import trio

from autonomy import Context, DeadLetter, Node, WorkerStopped, gather


class Slow:
    def __init__(self) -> None:
        self.began = trio.Event()

    async def handle_message(self, context: Context, message: str) -> None:
        self.began.set()
        await trio.sleep(0.1)
        print("handled", message)


def report(letter: DeadLetter) -> None:
    print(f"lost {letter.message!r} for {letter.to.partition('@')[0]}: {letter.reason.partition(' on node')[0]}")


async def main(node: Node) -> None:
    node.on_dead_letter = report

    slow = Slow()
    await node.start_worker("slow", slow)
    for message in ("one", "two"):
        await node.send_message("slow", message)

    async def ask() -> None:
        try:
            await node.send_and_receive("slow", "three", timeout=10)
        except WorkerStopped as error:  # who waits for a reply gets an error instead of a dead letter
            print(f"three: {type(error).__name__}, {error.outcome}")

    async def stop() -> None:
        await slow.began.wait()
        await node.stop_worker("slow")  # it finishes the message at hand

    await gather(ask(), stop())

    node.send_after(0, "nobody", "hello?")
    await trio.sleep(0.05)
    print("dead letters:", node.statistics().dead_letters)


Node.start(main)

# prints:
#   handled one
#   lost 'two' for slow: the worker stopped before it handled the message
#   three: WorkerStopped, not_sent
#   lost 'hello?' for nobody: no worker 'nobody'
#   dead letters: 2
